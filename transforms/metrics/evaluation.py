"""Everything that is measured in one pass over the rows: families of metrics, together."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from servable_core.errors import DataLossError, InvalidArgumentError
from transforms.metrics.array_types import Integers
from transforms.metrics.columnar_family import ColumnarFamily
from transforms.metrics.counters import Counters
from transforms.metrics.estimates import Estimates
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.metric_column import MetricColumn, column_of
from transforms.metrics.metric_family import MetricFamily, MetricValue, States
from transforms.metrics.row_checks import ROW_COUNTS, RowChecks
from transforms.metrics.state import State

_ROWS = "rows"
_MAX_WAITING = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What is measured; the states are values beside it.

    Example use, of which a distributed run does the middle on many machines:

        evaluation = create_evaluation(options)
        states = evaluation.merge(evaluation.update(batch) for batch in batches)
        values = list(evaluation.finalise(states, slice_id=0))

    Attributes:
        checks: Which rows count.
        families: The metrics.
    """

    checks: RowChecks
    families: tuple[MetricFamily | ColumnarFamily, ...]

    def __post_init__(self) -> None:
        names = [_ROWS, *(name for each in self.families for name in each.create())]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise InvalidArgumentError(f"two families keep states named {sorted(twice)}")

    def create(self) -> States:
        """Returns the states of no rows."""
        empty: dict[str, State] = {_ROWS: self.checks.create()}
        for family in self.families:
            empty.update(family.create())
        return empty

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the states of the rows of a batch alone; `merge` adds them up.

        Batches of hundreds of thousands of rows cost least for each row.

        Raises:
            InvalidArgumentError: The batch does not fit, or a slice id is out of bounds.
        """
        valid, counts = self.checks.check(batch)
        found: dict[str, State] = {_ROWS: counts}
        for family in self.families:
            found.update(family.update(valid) if valid.num_rows else family.create())
        return found

    def merge(self, many: Iterable[States]) -> States:
        """Returns the states of the rows of all of `many`, in any order; of none, empty ones.

        It holds few of them at a time, so `many` may be a generator of any length.
        """
        waiting: list[States] = [self.create()]
        for states in many:
            waiting.append(states)
            if len(waiting) == _MAX_WAITING:
                waiting = [_merge_all(waiting)]
        return _merge_all(waiting)

    def add(self, states: States, some: States) -> States:
        """Returns states, to which those of some names are added; the others stay what they are."""
        together = {name: type(each).merge([states[name], each]) for name, each in some.items()}
        return {**states, **together}

    def to_tables(self, states: States) -> dict[str, pa.Table]:
        """Returns a table per state; equal rows give equal tables, however they were merged."""
        return {name: each.to_table() for name, each in states.items()}

    def from_tables(self, tables: Mapping[str, pa.Table]) -> States:
        """Returns the states of which `tables` were made.

        Raises:
            DataLossError: A table is missing, or is of another kind or release.
        """
        empty = self.create()
        missing = sorted(empty.keys() - tables.keys())
        if missing:
            raise DataLossError(f"no tables of {missing}; these states are of other metrics")
        return {name: type(each).from_table(tables[name]) for name, each in empty.items()}

    def slices(self, states: States) -> list[int]:
        """Returns the slices that have rows."""
        return _counters(states).slices()

    def row_counts(self, states: States, slice_id: int) -> list[dict[str, int]]:
        """Returns for each version the counts of the rows of a slice, by `ROW_COUNTS`."""
        counts = _counters(states).dense(slice_id)
        return [dict(zip(ROW_COUNTS, each.tolist(), strict=True)) for each in counts]

    def num_valid_rows(self, states: States, slice_id: int) -> int:
        """Returns the rows of a slice that were evaluated."""
        return self.row_counts(states, slice_id)[0]["valid_rows"]

    def finalise(self, states: States, slice_id: int) -> Iterator[MetricValue]:
        """Yields the counts and metrics of one slice."""
        for column in self.finalise_slices(states, np.array([slice_id])):
            yield from column.values()

    def finalise_slices(self, states: States, slice_ids: Integers) -> Iterator[MetricColumn]:
        """Yields the counts and metrics of slices as columns, each of a part of them.

        A metric comes in several columns, in any order of the slices, and no slice is in two.

        Args:
            states: Of all rows.
            slice_ids: The slices, ascending.
        """
        counts = _counters(states).of_slices(slice_ids)
        for version, name in np.ndindex(counts.shape[1:]):
            yield MetricColumn(
                metric=ROW_COUNTS[name],
                slice_ids=slice_ids,
                version=version,
                estimates=Estimates.of(counts[:, version, name]),
            )
        for family in self.families:
            if isinstance(family, ColumnarFamily):
                yield from family.finalise_slices(states, slice_ids)
            else:
                for slice_id in slice_ids.tolist():
                    yield from map(column_of, family.finalise(states, slice_id))


def _merge_all(many: list[States]) -> States:
    return {
        name: type(first).merge([states[name] for states in many])
        for name, first in many[0].items()
    }


def _counters(states: States) -> Counters:
    rows = states[_ROWS]
    assert isinstance(rows, Counters)  # noqa: S101 - made by `checks`
    return rows
