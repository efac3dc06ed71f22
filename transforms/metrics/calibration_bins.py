"""The family of calibration errors, from sums over equal bins of the score."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
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
from transforms.metrics.packed_counts import PackedCounts
from transforms.metrics.ratios import ratio
from transforms.metrics.slice_sums import Additions, sum_slices

_SUMS = ("weight", "label", "score")
# Slices whose bins are looked at together.
_MAX_SLICES = 128
_MAX_SCORE = 1.0  # a probability


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
            added = self._additions(batch, _weighted_words)
            return {self.name: sum_slices(self.layout, _SUMS, batch.slices, added)}
        counts = PackedCounts(_SUMS[:2], batch.num_rows)
        added = self._additions(batch, partial(_counted_words, counts))
        sums = sum_slices(self.layout, (*counts.packed_names, "score"), batch.slices, added)
        *packed, scores = sums.columns
        columns = (*counts.unpacked(packed).values(), scores)
        return {self.name: replace(sums, names=_SUMS, columns=columns)}

    def _additions(
        self,
        batch: EvaluationBatch,
        words_of_rows: Callable[[EvaluationBatch, Floats, Floats], list[list[Words]]],
    ) -> Iterator[Additions]:
        for start, chunk in batch.chunks():
            scores, hits = _scores_and_hits(chunk)
            cells = (scores * self.num_bins).astype(np.int64)
            np.minimum(cells, self.num_bins - 1, out=cells)
            cells += chunk.blocks * (self.num_versions * self.num_bins)
            cells += np.arange(self.num_versions)[:, None] * self.num_bins
            words = words_of_rows(chunk, scores, hits)
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


def _weighted_words(batch: EvaluationBatch, scores: Floats, hits: Floats) -> list[list[Words]]:
    """Returns what rows with weights add to `_SUMS`."""
    weights = np.broadcast_to(batch.row_weights(), scores.shape)
    return [to_words(each) for each in (weights, weights * hits, weights * scores)]


def _counted_words(
    counts: PackedCounts,
    batch: EvaluationBatch,  # noqa: ARG001 - one shape for both kinds
    scores: Floats,
    hits: Floats,
) -> list[list[Words]]:
    """Returns what rows add to the counts of them and of those with a label, and to their scores."""
    packed = [
        [Words(np.broadcast_to(each.values, scores.shape), each.size) for each in words]
        for words in counts.words([np.ones(hits.shape), hits])
    ]
    return [*packed, to_words(scores, _MAX_SCORE)]


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
