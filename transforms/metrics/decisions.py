"""Metrics of the decisions of two versions on the same rows, from tables of eight cells."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from transforms.metrics import agreement, confusion, delta_method
from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.confusion import Cells
from transforms.metrics.delta_method import CellMetric
from transforms.metrics.estimate import Estimate, Method
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.fixed_point import to_words, whole_words
from transforms.metrics.fixed_sums import FixedSums
from transforms.metrics.jackknife import jackknife
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.metric_family import MetricValue, States
from transforms.metrics.ratios import ratio
from transforms.metrics.slice_sums import Additions, sum_slices

_CELLS = 8
_PSEUDO_ROWS = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TableMetrics:
    """What is said of a table.

    Attributes:
        own: Metrics of the version itself.
        changes: Metrics of the version less the same of the baseline.
        paired: Metrics of how the two differ.
        shares: Names of metrics that are shares of all rows.
        agreement: Gives the table of agreement.
        of_baseline: From a table's cells to those that compare the baseline with itself.
    """

    own: Mapping[str, CellMetric]
    changes: Mapping[str, CellMetric]
    paired: Mapping[str, CellMetric]
    shares: frozenset[str]
    agreement: Callable[[Cells], Cells]
    of_baseline: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Decisions:
    """A family of metrics of decisions.

    Attributes:
        name: Of the state.
        cells: Gives the cell of each row, [versions, tables, rows].
        sub_keys: Of the tables, as thresholds.
        metrics: What is said of them.
        num_versions: Versions.
        num_blocks: Blocks of the jackknife.
        is_weighted: Whether rows have weights.
        is_clustered: Whether rows are dependent, so that only the jackknife is right.
    """

    name: str
    cells: Callable[[EvaluationBatch], Integers]
    sub_keys: tuple[str, ...]
    metrics: TableMetrics
    num_versions: int
    num_blocks: int
    is_weighted: bool = False
    is_clustered: bool = False

    @property
    def layout(self) -> KeyLayout:
        """The cells of the sums."""
        return KeyLayout(
            names=("slice", "block", "version", "table", "cell"),
            sizes=(self.num_blocks, len(self._held), len(self.sub_keys), _CELLS),
        )

    @property
    def _held(self) -> range:
        """Versions whose tables are held: the baseline's own follows from any other's."""
        return range(min(1, self.num_versions - 1), self.num_versions)

    @property
    def _sums(self) -> tuple[str, ...]:
        """Names of the sums; unweighted, all are the rows."""
        return ("rows", "weight", "squared_weight") if self.is_weighted else ("rows",)

    def create(self) -> States:
        """Returns the tables of no rows."""
        return {self.name: FixedSums.empty(self.layout, self._sums)}

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the tables of the rows of a batch."""
        return {
            self.name: sum_slices(self.layout, self._sums, batch.slices, self._additions(batch))
        }

    def _additions(self, batch: EvaluationBatch) -> Iterator[Additions]:
        for start, chunk in batch.chunks():
            weights = chunk.row_weights()
            words = [whole_words((weights > 0).astype(np.int64))]
            if self.is_weighted:
                words += [to_words(weights), to_words(weights * weights)]
            cells = self.cells(chunk)[self._held.start :]
            places = chunk.blocks * self._held_tables
            for table in np.ndindex(cells.shape[:2]):
                place = np.ravel_multi_index(table, cells.shape[:2])
                yield Additions(start, (places + place) * _CELLS + cells[table], words)

    @property
    def _held_tables(self) -> int:
        return len(self._held) * len(self.sub_keys)

    def finalise(self, states: Mapping[str, Any], slice_id: int) -> Iterator[MetricValue]:
        """Yields the metrics of each version and table."""
        sums = states[self.name].dense(slice_id)
        for version in range(self.num_versions):
            held = sums[:, max(version - self._held.start, 0)]
            if version < self._held.start:
                held = np.moveaxis(np.moveaxis(held, 2, -1) @ self.metrics.of_baseline, -1, 2)
            for table, sub_key in enumerate(self.sub_keys):
                found = _Table(held[:, table])
                for name, is_difference, estimate in self._estimates(found, version):
                    yield MetricValue(
                        metric=name,
                        slice_id=slice_id,
                        version=version,
                        sub_key=sub_key,
                        is_difference=is_difference,
                        estimate=estimate,
                    )

    def _estimates(self, table: "_Table", version: int) -> Iterator[tuple[str, bool, Estimate]]:
        for name, metric in self.metrics.own.items():
            yield name, False, self._estimate(table, name, metric)
        if not version:
            return
        for name, metric in self.metrics.changes.items():
            yield name, True, self._estimate(table, "", metric)
        for name, metric in self.metrics.paired.items():
            yield name, True, self._estimate(table, name, metric)
        for name, number in self._win_loss(table).items():
            yield name, True, Estimate(value=float(number))

    def _estimate(self, table: "_Table", name: str, metric: CellMetric) -> Estimate:
        if self.is_clustered:
            others = metric(table.leave_one_out()).real
            return jackknife(float(metric(table.weights).real), others, table.block_weights())
        found = delta_method.estimate(
            metric, table.weights, table.squared_weights, pseudo_rows=_PSEUDO_ROWS
        )
        if name in self.metrics.shares and not math.isnan(found.value):
            return replace(found, method=Method.WILSON, effective_rows=table.effective_rows())
        return found

    def _win_loss(self, table: "_Table") -> dict[str, float]:
        """Returns McNemar's test; it counts rows, whatever their weights."""
        cells = self.metrics.agreement(table.rows)
        won, lost = (
            round(float(agreement.wins(cells).real)),
            round(float(agreement.losses(cells).real)),
        )
        test = agreement.mcnemar(won, lost)
        return {
            "wins": won,
            "losses": lost,
            **{f"mcnemar_{k}": v for k, v in test._asdict().items()},
        }


class _Table:
    """The sums of one table, [blocks, cells, sums]; of rows alone if these have no weights."""

    def __init__(self, sums: Floats) -> None:
        first, last = min(1, sums.shape[-1] - 1), sums.shape[-1] - 1
        self._blocks = sums[..., first]
        total = sums.sum(axis=0)
        self.rows, self.weights, self.squared_weights = total[:, [0, first, last]].T

    def leave_one_out(self) -> Floats:
        return self.weights - self._blocks

    def block_weights(self) -> Floats:
        return self._blocks.sum(axis=1)

    def effective_rows(self) -> float:
        return float(ratio(self.weights.sum() ** 2, self.squared_weights.sum()))


def _of_candidate(metric: Callable[[confusion.Confusion], Cells]) -> CellMetric:
    return lambda cells: metric(confusion.confusion_of_candidate(cells))


def _change(metric: Callable[[confusion.Confusion], Cells]) -> CellMetric:
    return lambda cells: (
        metric(confusion.confusion_of_candidate(cells))
        - metric(confusion.confusion_of_baseline(cells))
    )


def _of_agreement(metric: CellMetric) -> CellMetric:
    return lambda cells: metric(agreement.of_decisions(cells))


BINARY_TABLES = TableMetrics(
    own={name: _of_candidate(each) for name, each in confusion.CONFUSION_METRICS.items()},
    changes={name: _change(each) for name, each in confusion.CONFUSION_METRICS.items()},
    paired={
        **confusion.FLIP_METRICS,
        **{name: _of_agreement(each) for name, each in agreement.AGREEMENT_METRICS.items()},
    },
    shares=confusion.CONFUSION_SHARES | confusion.FLIP_SHARES | agreement.AGREEMENT_SHARES,
    agreement=agreement.of_decisions,
    of_baseline=np.eye(_CELLS)[[0, 0, 3, 3, 4, 4, 7, 7]],
)
AGREEMENT_TABLES = TableMetrics(
    own={"accuracy": lambda cells: ratio(cells[..., [2, 3, 6, 7]].sum(-1), cells.sum(-1))},
    changes={
        "accuracy": lambda cells: ratio(
            agreement.wins(cells) - agreement.losses(cells), cells.sum(-1)
        )
    },
    paired=agreement.AGREEMENT_METRICS,
    shares=agreement.AGREEMENT_SHARES | {"accuracy"},
    agreement=lambda cells: cells,
    of_baseline=np.eye(_CELLS)[[0, 0, 0, 0, 6, 6, 6, 6]],
)


def threshold_cells(thresholds: tuple[float, ...]) -> Callable[[EvaluationBatch], Integers]:
    """Returns the cells of binary decisions: positive where the score is at least a threshold.

    They are compared as numbers of the score's own type, so a float32 score of 0.7 reaches 0.7.
    """

    def cells(batch: EvaluationBatch) -> Integers:
        scores = batch.predictions[:, None]
        least = np.array(thresholds, dtype=scores.dtype)[:, None]
        decided = (scores >= least).astype(np.int64)
        labels = batch.known_labels().astype(np.int64)
        return 4 * labels + 2 * decided[:1] + decided

    return cells


def class_cells(batch: EvaluationBatch) -> Integers:
    """Returns the cells of agreement of the classes with the highest scores."""
    decided = batch.predictions.argmax(axis=2)
    is_right = (decided == batch.known_labels()).astype(np.int64)
    changed = (decided != decided[:1]).astype(np.int64)
    return (4 * is_right[:1] + 2 * is_right + changed)[:, None]
