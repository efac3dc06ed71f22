"""Metrics of the decisions of two versions on the same rows, from tables of eight cells."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from transforms.metrics import agreement, certain_values, confusion, delta_method
from transforms.metrics.array_types import Floats, Integers, RowCells
from transforms.metrics.confusion import Cells
from transforms.metrics.delta_method import CellMetric
from transforms.metrics.effective_clusters import clustered_shares, effective_clusters
from transforms.metrics.estimate import Method
from transforms.metrics.estimates import Estimates, method_places
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.fixed_point import Words, to_words, words_of_ones
from transforms.metrics.fixed_sums import FixedSums
from transforms.metrics.jackknife import jackknife
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.metric_column import MetricColumn, in_chunks
from transforms.metrics.metric_family import States
from transforms.metrics.ratios import ratio
from transforms.metrics.slice_sums import Additions, sum_slices

_CELLS = 8
_PSEUDO_ROWS = 2.0
# Slices whose tables are looked at together.
_MAX_SLICES = 256


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
    cells: Callable[[EvaluationBatch], RowCells]
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
            words = _words(chunk)
            cells = self.cells(chunk)[self._held.start :]
            places = chunk.blocks * self._held_tables
            for table in np.ndindex(cells.shape[:2]):
                place = np.ravel_multi_index(table, cells.shape[:2])
                yield Additions(start, (places + place) * _CELLS + cells[table], words)

    @property
    def _held_tables(self) -> int:
        return len(self._held) * len(self.sub_keys)

    def finalise_slices(
        self, states: Mapping[str, Any], slice_ids: Integers
    ) -> Iterator[MetricColumn]:
        """Yields the metrics of each version and table; see `ColumnarFamily`."""
        for some in in_chunks(slice_ids, _MAX_SLICES):
            sums = states[self.name].of_slices(some)
            for version in range(self.num_versions):
                held = sums[:, :, max(version - self._held.start, 0)]
                if version < self._held.start:
                    held = np.moveaxis(np.moveaxis(held, -2, -1) @ self.metrics.of_baseline, -1, -2)
                for table, sub_key in enumerate(self.sub_keys):
                    found = _Tables(held[:, :, table])
                    for name, is_difference, estimates in self._estimates(found, version):
                        yield MetricColumn(
                            metric=name,
                            slice_ids=some,
                            version=version,
                            sub_key=sub_key,
                            is_difference=is_difference,
                            estimates=estimates,
                        )

    def _estimates(self, tables: "_Tables", version: int) -> Iterator[tuple[str, bool, Estimates]]:
        for name, metric in self.metrics.own.items():
            yield name, False, self._estimate(tables, name, metric)
        if not version:
            return
        for name, metric in self.metrics.changes.items():
            yield name, True, self._estimate(tables, "", metric)
        for name, metric in self.metrics.paired.items():
            yield name, True, self._estimate(tables, name, metric)
        for name, numbers in self._win_loss(tables).items():
            yield name, True, Estimates.of(numbers)

    def _estimate(self, tables: "_Tables", name: str, metric: CellMetric) -> Estimates:
        if self.is_clustered:
            return self._of_clusters(tables, name, metric)
        found = delta_method.estimates(
            metric, tables.weights, tables.squared_weights, pseudo_rows=_PSEUDO_ROWS
        )
        if name not in self.metrics.shares:
            return found
        is_known = ~np.isnan(found.value)
        return replace(
            found,
            methods=method_places(is_known, Method.WILSON),
            effective_rows=np.where(is_known, tables.effective_rows(), np.nan),
        )

    def _of_clusters(self, tables: "_Tables", name: str, metric: CellMetric) -> Estimates:
        """Returns a metric of dependent rows."""
        others, block_weights = metric(tables.leave_one_out()).real, tables.block_weights()
        found = jackknife(metric(tables.weights).real, others, block_weights)
        if name in self.metrics.shares:
            return clustered_shares(found, block_weights, tables.effective_rows())
        is_certain = certain_values.are_certain(found)
        if not is_certain.any():
            return found
        # No block tells otherwise: as if the rows of each cluster were one.
        clusters = np.minimum(effective_clusters(block_weights), tables.effective_rows())
        scale = ratio(clusters, tables.weights.sum(axis=-1), default=0)[:, None]
        weights = tables.weights * scale
        bounded = delta_method.estimates(metric, weights, weights, pseudo_rows=_PSEUDO_ROWS)
        return bounded.where(is_certain, found)

    def _win_loss(self, tables: "_Tables") -> dict[str, Floats]:
        """Returns McNemar's tests; they count rows, whatever their weights."""
        cells = self.metrics.agreement(tables.rows)
        won, lost = (np.rint(each(cells).real) for each in (agreement.wins, agreement.losses))
        tests = agreement.mcnemar_tests(won.astype(np.int64), lost.astype(np.int64))
        return {"wins": won, "losses": lost, **{f"mcnemar_{k}": v for k, v in tests.items()}}


def _words(batch: EvaluationBatch) -> list[list[Words]]:
    """Returns what rows add to each sum."""
    if batch.weights is None:
        return [words_of_ones(batch.num_rows)]
    weights = batch.row_weights()
    has_weight = (weights > 0).astype(np.float64)
    return [to_words(each) for each in (has_weight, weights, weights * weights)]


class _Tables:
    """The sums of tables, [slices, blocks, cells, sums]; of rows alone if these have no weights."""

    def __init__(self, sums: Floats) -> None:
        first, last = min(1, sums.shape[-1] - 1), sums.shape[-1] - 1
        self._blocks = sums[..., first]
        total = sums.sum(axis=1)
        self.rows, self.weights, self.squared_weights = (total[..., i] for i in (0, first, last))

    def leave_one_out(self) -> Floats:
        return self.weights[:, None] - self._blocks

    def block_weights(self) -> Floats:
        found: Floats = self._blocks.sum(axis=-1)
        return found

    def effective_rows(self) -> Floats:
        return ratio(self.weights.sum(axis=-1) ** 2, self.squared_weights.sum(axis=-1))


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


def threshold_cells(thresholds: tuple[float, ...]) -> Callable[[EvaluationBatch], RowCells]:
    """Returns the cells of binary decisions: positive where the score is at least a threshold.

    They are compared as numbers of the score's own type, so a float32 score of 0.7 reaches 0.7.
    """

    def cells(batch: EvaluationBatch) -> RowCells:
        scores = batch.predictions[:, None]
        least = np.array(thresholds, dtype=scores.dtype)[:, None]
        decided = (scores >= least).view(np.uint8)
        decided = 2 * decided[:1] + decided
        decided += 4 * batch.known_labels().astype(np.uint8)
        return decided

    return cells


def class_cells(batch: EvaluationBatch) -> RowCells:
    """Returns the cells of agreement of the classes with the highest scores."""
    decided = batch.predictions.argmax(axis=2)
    is_right = (decided == batch.known_labels()).astype(np.int64)
    changed = (decided != decided[:1]).astype(np.int64)
    return (4 * is_right[:1] + 2 * is_right + changed)[:, None]
