"""The family of metrics of a confusion matrix of classes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from transforms.metrics import certain_values
from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.effective_clusters import effective_clusters
from transforms.metrics.estimates import Estimates
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.fixed_point import to_words
from transforms.metrics.fixed_sums import FixedSums
from transforms.metrics.jackknife import jackknifed_columns
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.metric_column import MetricColumn, in_chunks
from transforms.metrics.metric_family import States
from transforms.metrics.multiclass import CLASS_METRICS, MATRIX_METRICS, MatrixMetric
from transforms.metrics.ratios import ratio
from transforms.metrics.slice_sums import Additions, sum_slices

_SUMS = ("weight",)
# As many rows beside the others, all wrong or all right, move a share as far as its 95 % interval reaches.
_MORE_ROWS = 4.0
# A matrix for each block would be too large beyond; there are no intervals then.
_MAX_CLASSES_WITH_BLOCKS = 128
# Cells that are looked at together.
_MAX_CELLS = 1 << 20


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

    def finalise_slices(
        self, states: Mapping[str, Any], slice_ids: Integers
    ) -> Iterator[MetricColumn]:
        """Yields the metrics of matrices and of their classes, and cells; see `ColumnarFamily`."""
        for some in in_chunks(slice_ids, max(1, _MAX_CELLS // self.layout.cells)):
            yield from self._finalised(states[self.name].of_slices(some)[..., 0], some)

    def _finalised(self, blocks: Floats, slice_ids: Integers) -> Iterator[MetricColumn]:
        """Yields the metrics of matrices, [slices, blocks, versions, labels, decisions]."""
        total = blocks.sum(axis=1)
        others = total[:, None] - blocks
        block_weights = blocks.sum(axis=(2, 3, 4))
        for name, metric in MATRIX_METRICS.items():
            found = jackknifed_columns(
                name, slice_ids, metric(total), metric(others), block_weights
            )
            yield from certain_values.with_doubt(found, partial(_as_few_more, blocks, metric))
        for name, metric in CLASS_METRICS.items():
            values, without = metric(total), metric(others)
            for each in range(self.num_classes):
                found = jackknifed_columns(
                    f"class_{name}",
                    slice_ids,
                    values[..., each],
                    without[..., each],
                    block_weights,
                    sub_key=f"class={each}",
                )
                yield from certain_values.with_doubt(found, partial(_of_class, blocks, each, name))
        for version, label, decision in np.argwhere(total.any(axis=0)).tolist():
            weights = total[:, version, label, decision]
            column = MetricColumn(
                metric="confusion",
                slice_ids=slice_ids,
                version=version,
                sub_key=f"label={label},decision={decision}",
                estimates=Estimates.of(weights),
            )
            yield column.where(weights != 0)


def _as_few_more(blocks: Floats, metric: MatrixMetric, found: MetricColumn) -> Estimates:
    """Returns a metric that reaches as far as a few more rows, all wrong or all right, move it.

    Args:
        blocks: [slices, blocks, versions, labels, decisions].
        metric: The metric.
        found: What it is of a version.
    """
    own = blocks[:, :, found.version]
    matrix, rows = own.sum(axis=1), effective_clusters(own.sum(axis=(2, 3)))
    added = _MORE_ROWS * ratio(matrix.sum(axis=(1, 2)), rows, default=0)[:, None, None]
    is_right = np.eye(matrix.shape[-1], dtype=bool)
    reaches = [
        np.abs(metric(matrix + added * some / some.sum()) - found.estimates.value)
        for some in (is_right, ~is_right)
    ]
    return certain_values.within(found.estimates, np.maximum(*reaches))


def _of_class(blocks: Floats, index: int, metric: str, found: MetricColumn) -> Estimates:
    """Returns a metric of a class, as sure as the rows that it is a share of are many."""
    own = blocks[:, :, found.version]
    labelled = effective_clusters(own[:, :, index].sum(axis=-1))
    decided = effective_clusters(own[..., index].sum(axis=-1))
    rows = {"recall": labelled, "precision": decided, "f1": (labelled + decided) / 2}
    return certain_values.shares(found.estimates, rows[metric])
