"""Which slices the rows of a batch are in: found once, for all states that need it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from transforms.metrics.array_types import Booleans, Integers
from transforms.metrics.grouping import group

NO_SLICE = -1
# So many rows tell whether it is worth looking at all of them.
_FEW_ROWS = 4096


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SliceColumn:
    """One slice of some rows each.

    Attributes:
        rows: Which rows, in order; all of them as `slice(None)`, which indexes without a copy.
        ids: The slices that occur, in order.
        places: For each of the rows, where its slice is in `ids`.
    """

    rows: slice | Integers
    ids: Integers
    places: Integers

    def within(self, start: int, stop: int) -> tuple[slice | Integers, Integers]:
        """Returns which of the rows from `start` to `stop` it has, and their places."""
        if isinstance(self.rows, slice):
            return self.rows, self.places[start:stop]
        first, last = np.searchsorted(self.rows, [start, stop])
        return self.rows[first:last] - start, self.places[first:last]

    def where(self, is_kept: Booleans) -> "SliceColumn":
        """Returns the column of some of its rows, and of their slices alone."""
        rows = np.flatnonzero(is_kept)
        used = np.zeros(self.ids.size, dtype=bool)
        used[self.places[rows]] = True
        return SliceColumn(
            rows=rows if isinstance(self.rows, slice) else self.rows[rows],
            ids=self.ids[used],
            places=(np.cumsum(used) - 1)[self.places[rows]],
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SliceColumns:
    """All slices of rows; a row is in one of each column at most.

    What is added up over the rows of `counted` columns need not be over those of `implied` ones,
    as of a country, where there is a cross of countries and devices: it is the sum of some sums.

    Attributes:
        counted: Columns that do not follow from the first of them, which has the most slices.
        implied: Columns that do.
        parents: For each implied column, the place of the slice for each place of the first.
    """

    counted: tuple[SliceColumn, ...]
    implied: tuple[SliceColumn, ...]
    parents: tuple[Integers, ...]

    def __iter__(self) -> Iterator[SliceColumn]:
        """Yields all columns."""
        return iter((*self.implied, *self.counted))


def slice_columns(slice_ids: Integers) -> SliceColumns:
    """Returns the columns of [rows, slices of a row], in which `NO_SLICE` stands for none."""
    in_columns = np.ascontiguousarray(slice_ids.T, dtype=np.int64)
    columns = [column for each in in_columns if (column := _column(each)) is not None]
    complete = [each for each in columns if isinstance(each.rows, slice)]
    if not complete:
        return SliceColumns(counted=tuple(columns), implied=(), parents=())
    finest = max(complete, key=lambda each: each.ids.size)
    implied = {
        i: parents
        for i, each in enumerate(columns)
        if each is not finest and (parents := _parents(finest, each)) is not None
    }
    return SliceColumns(
        counted=(
            finest,
            *(e for i, e in enumerate(columns) if e is not finest and i not in implied),
        ),
        implied=tuple(columns[i] for i in implied),
        parents=tuple(implied.values()),
    )


def _column(slice_ids: Integers) -> SliceColumn | None:
    rows: slice | Integers = slice(None)
    if slice_ids.size and slice_ids.min() == NO_SLICE:
        rows = np.flatnonzero(slice_ids != NO_SLICE)
        slice_ids = slice_ids[rows]
    if not slice_ids.size:
        return None
    groups = group(slice_ids)
    return SliceColumn(rows=rows, ids=groups.keys, places=groups.positions)


def _parents(finest: SliceColumn, column: SliceColumn) -> Integers | None:
    """Returns the place in `column` for each place in `finest`, None if it does not follow."""
    if not isinstance(column.rows, slice):
        return None
    parents = np.zeros(finest.ids.size, dtype=np.int64)
    for rows in (slice(_FEW_ROWS), slice(None)):
        parents[finest.places[rows]] = column.places[rows]
        if (parents[finest.places[rows]] != column.places[rows]).any():
            return None
    return parents
