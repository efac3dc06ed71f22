"""The family of calibration errors, from sums over equal bins of the score."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.calibration import expected_calibration_error, max_calibration_error
from transforms.metrics.estimates import Estimates
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.fixed_point import Words, to_words, words_of
from transforms.metrics.fixed_sums import FixedSums
from transforms.metrics.jackknife import jackknifed_columns
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.metric_column import MetricColumn, in_chunks
from transforms.metrics.metric_family import States
from transforms.metrics.narrow_numbers import narrowed_whole, widened
from transforms.metrics.ratios import ratio
from transforms.metrics.slice_sums import Additions, sum_slices

_SUMS = ("weight", "label", "score")
# Slices whose bins are looked at together.
_MAX_SLICES = 128
# Without weights, rows and those of them with a label are counted in one word: half the work.
_COUNTED = ("rows_and_labels", "score")
_MAX_SCORE = 1.0  # a probability
_HIT_BITS = 31
_HIT = 1 << _HIT_BITS


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationBins:
    """A family of calibration errors; `score` and `hit` of a row come from its prediction.

    Attributes:
        name: Of the state.
        num_versions: Versions.
        num_blocks: Blocks of the jackknife.
        num_bins: Bins of equal width between 0 and 1; a score on an edge is in the upper one.
    """

    name: str
    num_versions: int
    num_blocks: int
    num_bins: int = 15

    @property
    def layout(self) -> KeyLayout:
        """The cells of the sums."""
        return KeyLayout(
            names=("slice", "block", "version", "bin"),
            sizes=(self.num_blocks, self.num_versions, self.num_bins),
        )

    def create(self) -> States:
        """Returns the sums over no rows."""
        return {self.name: FixedSums.empty(self.layout, _SUMS)}

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the sums over the rows of a batch."""
        if batch.weights is not None:
            sums = sum_slices(self.layout, _SUMS, batch.slices, self._additions(batch))
            return {self.name: sums}
        counted = sum_slices(self.layout, _COUNTED, batch.slices, self._additions(batch))
        return {self.name: _unpacked(counted)}

    def _additions(self, batch: EvaluationBatch) -> Iterator[Additions]:
        for start, chunk in batch.chunks():
            scores, hits = _scores_and_hits(chunk)
            cells = (scores * self.num_bins).astype(np.int64)
            np.minimum(cells, self.num_bins - 1, out=cells)
            cells += chunk.blocks * (self.num_versions * self.num_bins)
            cells += np.arange(self.num_versions)[:, None] * self.num_bins
            words = _words(chunk.weights, scores, hits)
            for version, of_version in enumerate(cells):
                yield Additions(start, of_version, [words_of(each, version) for each in words])

    def finalise_slices(
        self, states: Mapping[str, Any], slice_ids: Integers
    ) -> Iterator[MetricColumn]:
        """Yields the errors, and the points of the reliability diagram; see `ColumnarFamily`."""
        for some in in_chunks(slice_ids, _MAX_SLICES):
            # [sums, slices, blocks, versions, bins], each sum in one piece
            blocks = np.ascontiguousarray(np.moveaxis(states[self.name].of_slices(some), -1, 0))
            yield from self._finalised(blocks, some)

    def _finalised(self, blocks: Floats, slice_ids: Integers) -> Iterator[MetricColumn]:
        total = blocks.sum(axis=2)
        others = total[:, :, None] - blocks
        block_weights = blocks[0].sum(axis=(2, 3))
        for name, metric in (
            ("expected_calibration_error", expected_calibration_error),
            ("max_calibration_error", max_calibration_error),
        ):
            yield from jackknifed_columns(
                name, slice_ids, metric(*total), metric(*others), block_weights
            )
        yield from self._diagram(slice_ids, total)

    def _diagram(self, slice_ids: Integers, total: Floats) -> Iterator[MetricColumn]:
        weights, labels, scores = total
        points = {
            "reliability_weight": weights,
            "reliability_label": ratio(labels, weights),
            "reliability_score": ratio(scores, weights),
        }
        used = np.argwhere((weights > 0).any(axis=0))
        for name, values in points.items():
            for version, of_bin in used.tolist():
                column = MetricColumn(
                    metric=name,
                    slice_ids=slice_ids,
                    version=version,
                    sub_key=f"bin={of_bin}",
                    estimates=Estimates.of(values[:, version, of_bin]),
                )
                yield column.where(weights[:, version, of_bin] > 0)


def _words(weights: Floats | None, scores: Floats, hits: Floats) -> list[list[Words]]:
    """Returns what rows add: to `_SUMS`, or to `_COUNTED` if they have no weights."""
    if weights is not None:
        weights = np.broadcast_to(weights.astype(np.float64), scores.shape)
        return [to_words(each) for each in (weights, weights * hits, weights * scores)]
    packed = (hits * _HIT + 1).astype(np.int64)  # floats are multiplied in less time
    size = float(_HIT + 1) * packed.shape[-1]
    return [[Words(np.broadcast_to(packed, scores.shape), size)], to_words(scores, _MAX_SCORE)]


def _unpacked(counted: FixedSums) -> FixedSums:
    """Returns the sums of `_SUMS` from those of `_COUNTED`."""
    packed_column, scores = counted.columns
    packed = widened(packed_column)[:, 0]
    counts = (packed & (_HIT - 1), packed >> _HIT_BITS)
    columns = (*(narrowed_whole(each) for each in counts), scores)
    return replace(counted, names=_SUMS, columns=columns)


def _scores_and_hits(batch: EvaluationBatch) -> tuple[Floats, Floats]:
    """Returns the scores of the positive class and the labels, [versions, rows].

    Of several classes, the score of the top one and whether it is right. Labels, which are all
    versions', come once: [1, rows].
    """
    labels, predictions = batch.known_labels(), batch.predictions
    if predictions.ndim == 2:
        return predictions.astype(np.float64), labels.astype(np.float64)[None]
    is_right = predictions.argmax(axis=2) == labels
    return predictions.max(axis=2).astype(np.float64), is_right.astype(np.float64)
