"""The family of calibration errors, from sums over equal bins of the score."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.metrics.array_types import Floats
from transforms.metrics.calibration import expected_calibration_error, max_calibration_error
from transforms.metrics.estimate import Estimate
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.fixed_point import to_words
from transforms.metrics.fixed_sums import FixedSums
from transforms.metrics.jackknife import jackknifed_values
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.metric_family import MetricValue, States
from transforms.metrics.ratios import ratio
from transforms.metrics.slice_sums import Additions, sum_slices

_SUMS = ("weight", "label", "score")


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
        return {self.name: sum_slices(self.layout, _SUMS, batch.slices, self._additions(batch))}

    def _additions(self, batch: EvaluationBatch) -> Iterator[Additions]:
        for start, chunk in batch.chunks():
            weights = chunk.row_weights()
            of_rows = to_words(weights)
            for version, (scores, hits) in enumerate(_scores_and_hits(chunk)):
                bins = np.minimum((scores * self.num_bins).astype(np.int64), self.num_bins - 1)
                cells = (chunk.blocks * self.num_versions + version) * self.num_bins + bins
                words = [of_rows, to_words(weights * hits), to_words(weights * scores)]
                yield Additions(start, cells, words)

    def finalise(self, states: Mapping[str, Any], slice_id: int) -> Iterator[MetricValue]:
        """Yields the errors, and the points of the reliability diagram."""
        blocks = np.moveaxis(states[self.name].dense(slice_id), -1, 0)
        total = blocks.sum(axis=1)
        others = total[:, None] - blocks
        block_weights = blocks[0].sum(axis=(1, 2))
        for name, metric in (
            ("expected_calibration_error", expected_calibration_error),
            ("max_calibration_error", max_calibration_error),
        ):
            yield from jackknifed_values(
                name, slice_id, metric(*total), metric(*others), block_weights
            )
        yield from self._diagram(slice_id, total)

    def _diagram(self, slice_id: int, total: Floats) -> Iterator[MetricValue]:
        weights, labels, scores = total
        points = {
            "reliability_weight": weights,
            "reliability_label": ratio(labels, weights),
            "reliability_score": ratio(scores, weights),
        }
        for name, values in points.items():
            for version, of_bin in np.argwhere(weights > 0):
                yield MetricValue(
                    metric=name,
                    slice_id=slice_id,
                    version=int(version),
                    sub_key=f"bin={of_bin}",
                    estimate=Estimate(value=float(values[version, of_bin])),
                )


def _scores_and_hits(batch: EvaluationBatch) -> Iterator[tuple[Floats, Floats]]:
    """Yields per version the score of the positive class and the label.

    Of several classes, the score of the top one and whether it is right.
    """
    labels = batch.known_labels()
    for predictions in batch.predictions:
        if predictions.ndim == 1:
            yield predictions.astype(np.float64), labels.astype(np.float64)
        else:
            is_right = predictions.argmax(axis=1) == labels
            yield predictions.max(axis=1).astype(np.float64), is_right.astype(np.float64)
