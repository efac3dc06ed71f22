"""The rows on which versions differ most, with their keys."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from transforms.metrics import float_bins, state
from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.float_bins import Bits
from transforms.metrics.grouping import run_starts
from transforms.metrics.metric_column import MetricColumn
from transforms.metrics.metric_family import States
from transforms.metrics.slice_columns import Places, SliceColumn

_SCHEMA = pa.schema(
    [
        ("slice", pa.int64()),
        ("version", pa.int64()),
        ("difference", pa.float64()),
        ("key", pa.string()),
        ("label", pa.float64()),
        ("baseline", pa.float64()),
        ("prediction", pa.float64()),
    ]
)
# So many rows tell how large the largest differences of a slice are about.
_FEW_ROWS = 1 << 15
_NO_DIFFERENCE = float_bins.to_ordered_bits(np.zeros(1))[0]
# The name of the state.
MOST_DIFFERENT = "most_different"
# Every column takes part, so equal rows are interchangeable and the order is one.
_ORDER = [(name, "descending" if name == "difference" else "ascending") for name in _SCHEMA.names]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TopRows:
    """The rows with the largest differences, for each slice and version.

    Attributes:
        max_rows: How many are kept of each.
        rows: Sorted: by slice, version, and the largest difference first; then by key.
    """

    max_rows: int
    rows: pa.Table

    @classmethod
    def of_rows(cls, max_rows: int, rows: pa.Table) -> Self:
        """Returns the first of `rows` for each slice and version."""
        in_order = rows.sort_by(_ORDER).combine_chunks()
        groups = np.stack([in_order["slice"].to_numpy(), in_order["version"].to_numpy()])
        is_first = np.r_[True, (groups[:, 1:] != groups[:, :-1]).any(axis=0)][: len(in_order)]
        places = np.arange(len(in_order))
        starts = np.maximum.accumulate(np.where(is_first, places, 0))
        return cls(max_rows=max_rows, rows=in_order.filter(pa.array(places - starts < max_rows)))

    @classmethod
    def empty(cls, max_rows: int) -> Self:
        """Returns none of no rows."""
        return cls(max_rows=max_rows, rows=_SCHEMA.empty_table())

    @classmethod
    def merge(cls, states: Iterable[Self]) -> Self:
        """Returns the first of the rows of all states; see `State`."""
        found = state.at_least_one(states)
        max_rows = state.only((each.max_rows for each in found), "number of rows")
        return cls.of_rows(max_rows, pa.concat_tables([each.rows for each in found]))

    @property
    def nbytes(self) -> int:
        """Bytes that the state holds."""
        return int(self.rows.nbytes)

    def to_table(self) -> pa.Table:
        """Returns the state as a table; equal states give equal tables."""
        said = {state.VERSION_KEY: str(state.SCHEMA_VERSION), "kind": "top_rows"}
        return state.redescribed(self.rows, {**said, "max_rows": str(self.max_rows)})

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Returns the state of which `table` was made.

        Raises:
            DataLossError: It was made of no such state.
        """
        said = state.described(table, "top_rows")
        return cls.of_rows(int(said["max_rows"]), table.replace_schema_metadata(None))


@dataclass(frozen=True, kw_only=True, slots=True)
class MostDifferent:
    """A family that keeps the rows whose predictions differ most from the baseline's, if at all.

    Attributes:
        name: Of the state, whose rows the report shows; there are no metrics.
        max_rows: Rows for each slice and version.
    """

    name: str
    max_rows: int = 20

    def create(self) -> States:
        """Returns none of no rows."""
        return {self.name: TopRows.empty(self.max_rows)}

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the rows of a batch that differ most."""
        found = []
        for version in range(1, batch.num_versions):
            sizes = batch.ordered_differences[version - 1]
            for counted in batch.slices.counted:
                chosen = self._chosen(counted.column, sizes)
                for column, parents in counted.derived:
                    # The largest of a slice are among the largest of its parts.
                    some = chosen if parents is None else self._largest(column, chosen, sizes)
                    found.append(_table(batch, version, column, some))
        everything = pa.concat_tables([_SCHEMA.empty_table(), *found])
        return {self.name: TopRows.of_rows(self.max_rows, everything)}

    def _chosen(self, column: SliceColumn, sizes: Bits) -> Integers:
        """Returns which rows of a column have the largest sizes, and all that tie with the last.

        Some rows tell how large a size must be at least; few of the others are as large.
        """
        of_column = sizes[column.rows]
        few = slice(_FEW_ROWS)
        least = np.maximum(
            _least(column.places[few], of_column[few], self.max_rows, column.ids.size),
            _NO_DIFFERENCE + 1,
        )
        rows = np.concatenate(
            [
                start + _reaching(least, of_column[start:][few], column.places[start:][few])
                for start in range(0, max(1, of_column.size), _FEW_ROWS)
            ]
        )
        return self._largest(column, rows, of_column)

    def _largest(self, column: SliceColumn, rows: Integers, sizes: Bits) -> Integers:
        """Returns which of some rows of a column have the largest sizes, with all that tie."""
        groups, large = column.places[rows], sizes[rows]
        least = _least(groups, large, self.max_rows, column.ids.size)
        return rows[large >= least[groups]]

    def finalise_slices(
        self,
        states: Mapping[str, Any],  # noqa: ARG002 - part of the protocol
        slice_ids: Integers,  # noqa: ARG002 - part of the protocol
    ) -> Iterator[MetricColumn]:
        """Yields nothing: the rows are the result."""
        return iter(())


def _table(batch: EvaluationBatch, version: int, column: SliceColumn, chosen: Integers) -> pa.Table:
    """Returns the chosen rows of a column."""
    rows = chosen if isinstance(column.rows, slice) else column.rows[chosen]
    of_rows = batch.at(rows)
    keys, labels = of_rows.example_keys, of_rows.labels
    columns = [
        column.ids[column.places[chosen]],
        np.full(rows.size, version),
        of_rows.absolute_differences(version),
        pa.nulls(rows.size, pa.string()) if keys is None else keys.cast(pa.string()),
        np.full(rows.size, np.nan) if labels is None else _with_one_zero(labels),
        headline_numbers(of_rows.predictions[0]),
        headline_numbers(of_rows.predictions[version]),
    ]
    return pa.table(columns, schema=_SCHEMA)


def _reaching(least: Bits, sizes: Bits, places: Places) -> Integers:
    """Returns which rows reach the least of their place; most are below the least of all places."""
    rows = np.flatnonzero(sizes >= least.min())
    return rows[sizes[rows] >= least[places[rows]]]


def _least(groups: Places, sizes: Bits, max_rows: int, num_groups: int) -> Bits:
    """Returns the least of the `max_rows` largest sizes of each group; 0 where there are fewer."""
    keys = groups.astype(np.uint64) << np.uint64(32) | ~sizes
    keys.sort()
    in_order = (keys >> np.uint64(32)).astype(np.int64)
    starts = run_starts(in_order)
    lasts = starts + max_rows - 1
    is_full = lasts < np.append(starts[1:], keys.size)
    found = np.zeros(num_groups, dtype=np.uint32)
    found[in_order[starts[is_full]]] = ~keys[lasts[is_full]].astype(np.uint32)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class TopRow:
    """A row whose prediction differs much from the baseline's.

    Attributes:
        key: Its name; None where rows have none.
        difference: The absolute difference of the predictions; of the most different class.
        label: NaN where there is none.
        baseline: The baseline's prediction; of several classes, the one with the highest score.
        candidate: The version's.
    """

    key: str | None
    difference: float
    label: float
    baseline: float
    candidate: float


def top_rows(states: Mapping[str, Any], slice_id: int, version: int) -> tuple[TopRow, ...]:
    """Returns the rows of a slice on which a version differs most, the most different first."""
    kept: TopRows = states[MOST_DIFFERENT]
    is_asked = pc.and_(
        pc.equal(kept.rows["slice"], slice_id), pc.equal(kept.rows["version"], version)
    )
    return tuple(
        TopRow(
            key=row["key"],
            difference=row["difference"],
            label=row["label"],
            baseline=row["baseline"],
            candidate=row["prediction"],
        )
        for row in kept.rows.filter(is_asked).to_pylist()
    )


def headline_numbers(predictions: Floats) -> Floats:
    """Returns the one number of each prediction: itself, or the class with the highest score."""
    found = predictions if predictions.ndim == 1 else predictions.argmax(axis=1)
    return _with_one_zero(found)


def _with_one_zero(numbers: NDArray[Any]) -> Floats:
    """Returns numbers without -0, which is sorted as 0 and would make ties of rows that differ."""
    return numbers.astype(np.float64) + 0.0
