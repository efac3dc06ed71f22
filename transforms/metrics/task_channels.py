"""Which numbers of a task are held as distributions."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from transforms.metrics import row_values
from transforms.metrics.array_types import Labels
from transforms.metrics.channels import Channels
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.evaluation_options import EvaluationOptions, Task
from transforms.metrics.float_bins import Bits, Scale, to_ordered_bits
from transforms.metrics.histogram_options import HistogramOptions

# Numbers that are no probabilities get bins of the width of 2^-7 of themselves.
_REAL_MANTISSA_BITS = 7


def score_channels(options: EvaluationOptions) -> Channels:
    """Returns the distributions of scores, with labels where there are any."""
    if options.task is Task.MULTICLASS:
        names = tuple(f"class={each}" for each in range(options.num_classes))
        return _channels(
            options, "scores", names, _class_scores, Scale.PROBABILITY, labels=_class_labels
        )
    if options.task is Task.BINARY:
        return _channels(
            options, "scores", ("",), _only_score, Scale.PROBABILITY, labels=_binary_labels
        )
    return _channels(options, "scores", ("",), _only_score, Scale.REAL)


def difference_channels(options: EvaluationOptions) -> Channels:
    """Returns the distribution of absolute differences from the baseline."""
    held = _channels(options, "differences", ("",), _differences, Scale.REAL)
    return replace(held, is_paired=True)


def error_channels(options: EvaluationOptions) -> Channels:
    """Returns the distributions of errors, and of their absolute values."""
    return _channels(options, "errors", ("error", "absolute"), _errors, Scale.REAL)


def _channels(
    options: EvaluationOptions,
    name: str,
    sub_keys: tuple[str, ...],
    ordered: Callable[[EvaluationBatch], Bits],
    scale: Scale,
    *,
    labels: Callable[[EvaluationBatch], Labels] | None = None,
) -> Channels:
    held = HistogramOptions(
        scale=scale,
        num_channels=options.num_versions * len(sub_keys),
        num_blocks=options.num_blocks,
        is_weighted=options.is_weighted,
        max_distinct=options.max_distinct,
    )
    if scale is Scale.REAL:
        held = replace(
            held,
            overall_mantissa_bits=_REAL_MANTISSA_BITS,
            slice_mantissa_bits=_REAL_MANTISSA_BITS,
        )
    return Channels(
        name=name,
        sub_keys=sub_keys,
        ordered=ordered,
        labels=labels or (lambda batch: _no_labels(batch, len(sub_keys))),
        num_versions=options.num_versions,
        options=held,
    )


def _no_labels(batch: EvaluationBatch, distributions: int) -> Labels:
    return np.zeros((distributions, batch.num_rows), dtype=np.uint8)


def _binary_labels(batch: EvaluationBatch) -> Labels:
    if batch.labels is None:
        return _no_labels(batch, 1)
    return batch.labels.astype(np.uint8)[None]


def _class_labels(batch: EvaluationBatch) -> Labels:
    classes = batch.predictions.shape[2]
    if batch.labels is None:
        return _no_labels(batch, classes)
    return (batch.labels == np.arange(classes)[:, None]).view(np.uint8)


def _only_score(batch: EvaluationBatch) -> Bits:
    return batch.ordered_scores[:, None]


def _class_scores(batch: EvaluationBatch) -> Bits:
    found = np.empty(batch.predictions.transpose(0, 2, 1).shape, dtype=np.uint32)
    for start, chunk in batch.chunks():
        ordered = to_ordered_bits(chunk.predictions)
        found[:, :, start : start + chunk.num_rows] = ordered.transpose(0, 2, 1)
    return found


def _differences(batch: EvaluationBatch) -> Bits:
    return batch.ordered_differences[:, None]


def _errors(batch: EvaluationBatch) -> Bits:
    found = np.empty((batch.num_versions, 2, batch.num_rows), dtype=np.uint32)
    for start, chunk in batch.chunks():
        errors = row_values.error(chunk)
        both = to_ordered_bits(np.stack([errors, np.abs(errors)], axis=1))
        found[:, :, start : start + chunk.num_rows] = both
    return found
