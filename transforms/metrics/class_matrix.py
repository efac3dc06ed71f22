"""The family of metrics of a confusion matrix of classes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.metrics.estimate import Estimate
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.fixed_point import to_words
from transforms.metrics.fixed_sums import FixedSums
from transforms.metrics.jackknife import jackknifed_values
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.metric_family import MetricValue, States
from transforms.metrics.multiclass import CLASS_METRICS, MATRIX_METRICS
from transforms.metrics.slice_sums import Additions, sum_slices

_SUMS = ("weight",)
# A matrix for each block would be too large beyond; there are no intervals then.
_MAX_CLASSES_WITH_BLOCKS = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMatrix:
    """A family of metrics of the classes with the highest scores.

    Attributes:
        name: Of the state.
        num_versions: Versions.
        num_classes: Classes; labels are below it.
        num_blocks: Blocks of the jackknife.
    """

    name: str
    num_versions: int
    num_classes: int
    num_blocks: int

    @property
    def _blocks(self) -> int:
        return self.num_blocks if self.num_classes <= _MAX_CLASSES_WITH_BLOCKS else 1

    @property
    def layout(self) -> KeyLayout:
        """The cells of the matrices."""
        return KeyLayout(
            names=("slice", "block", "version", "label", "decision"),
            sizes=(self._blocks, self.num_versions, self.num_classes, self.num_classes),
        )

    def create(self) -> States:
        """Returns the matrices of no rows."""
        return {self.name: FixedSums.empty(self.layout, _SUMS)}

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the matrices of the rows of a batch."""
        return {self.name: sum_slices(self.layout, _SUMS, batch.slices, self._additions(batch))}

    def _additions(self, batch: EvaluationBatch) -> Iterator[Additions]:
        for start, chunk in batch.chunks():
            blocks = chunk.blocks % self._blocks
            labels = chunk.known_labels().astype(np.int64)
            words = [to_words(chunk.row_weights())]
            for version, predictions in enumerate(chunk.predictions):
                cells = blocks * self.num_versions + version
                cells = (cells * self.num_classes + labels) * self.num_classes
                yield Additions(start, cells + predictions.argmax(axis=1), words)

    def finalise(self, states: Mapping[str, Any], slice_id: int) -> Iterator[MetricValue]:
        """Yields the metrics of the matrix and of its classes, and its cells."""
        blocks = states[self.name].dense(slice_id)[..., 0]
        total = blocks.sum(axis=0)
        others = total - blocks
        block_weights = blocks.sum(axis=(1, 2, 3))
        for name, metric in MATRIX_METRICS.items():
            yield from jackknifed_values(
                name, slice_id, metric(total), metric(others), block_weights
            )
        for name, metric in CLASS_METRICS.items():
            values, without = metric(total), metric(others)
            for each in range(self.num_classes):
                yield from jackknifed_values(
                    f"class_{name}",
                    slice_id,
                    values[:, each],
                    without[:, :, each],
                    block_weights,
                    sub_key=f"class={each}",
                )
        for version, label, decision in np.argwhere(total):
            yield MetricValue(
                metric="confusion",
                slice_id=slice_id,
                version=int(version),
                sub_key=f"label={label},decision={decision}",
                estimate=Estimate(value=float(total[version, label, decision])),
            )
