"""Which slices the rows of a batch are in: found once, for all states that need it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from transforms.metrics.array_types import Booleans, Integers
from transforms.metrics.grouping import group

Places: TypeAlias = NDArray[np.unsignedinteger[Any]]
NO_SLICE = -1
# Rows that stay in the processor's cache from one step to the next.
_CHUNK_ROWS = 1 << 15
# A cross of columns has at most so many slices, and so many rows for each of them: a table of its
# sums takes time to make, too, and should stay in the processor's cache.
_MAX_CROSSED = 128
_ROWS_PER_CROSSED = 2048


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SliceColumn:
    """One slice of some rows each.

    Attributes:
        rows: Which rows, in order; all of them as `slice(None)`, which indexes without a copy.
        ids: The slices that occur, in order.
        places: For each of the rows, where its slice is in `ids`; in a type as narrow as they allow.
        sizes: How many rows each of the slices has.
        position: Which of a row's slices they are.
    """

    rows: slice | Integers
    ids: Integers
    places: Places
    sizes: Integers
    position: int

    def within(self, start: int, stop: int) -> tuple[slice | Integers, Places]:
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
        kept = int(np.count_nonzero(used))
        places = (np.cumsum(used) - 1).astype(place_type(kept))[self.places[rows]]
        return replace(
            self,
            rows=rows if isinstance(self.rows, slice) else self.rows[rows],
            ids=self.ids[used],
            places=places,
            sizes=np.bincount(places, minlength=kept),
        )


class Derived(NamedTuple):
    """A column whose sums follow from those of another one.

    Attributes:
        column: The column.
        parents: The place of its slice for each place of the other; None where they are the same.
    """

    column: SliceColumn
    parents: Integers | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CountedColumn:
    """A column by which rows are added up, for the sums of several.

    Attributes:
        column: One of slices, or a cross of several small ones, which nobody asked for.
        derived: What follows from it, as countries from a cross of countries and devices.
    """

    column: SliceColumn
    derived: tuple[Derived, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SliceColumns:
    """All slices of rows; a row is in one of each column at most.

    Attributes:
        columns: By their positions.
        counted: What sums over the rows of all columns follow from; fewer, so they cost less.
        crossed: The same with crosses of the small ones; fewer still, but with more slices.
    """

    columns: tuple[SliceColumn, ...]
    counted: tuple[CountedColumn, ...]
    crossed: tuple[CountedColumn, ...]

    def __iter__(self) -> Iterator[SliceColumn]:
        """Yields all columns."""
        return iter(self.columns)

    def arrays(self) -> Iterator[NDArray[Any]]:
        """Yields the arrays of rows, which are the large ones."""
        crosses = {*self.crossed} - {*self.counted}
        for each in (*self.columns, *(each.column for each in crosses)):
            yield each.places
            if not isinstance(each.rows, slice):
                yield each.rows


def slice_columns(slice_ids: Integers) -> SliceColumns:
    """Returns the columns of [rows, slices of a row], in which `NO_SLICE` stands for none."""
    columns = [
        column
        for position in range(slice_ids.shape[1])
        if (column := _column(slice_ids[:, position], position)) is not None
    ]
    counted = _counted(columns)
    most = min(_MAX_CROSSED, len(slice_ids) // _ROWS_PER_CROSSED)
    return SliceColumns(
        columns=tuple(columns), counted=tuple(counted), crossed=tuple(_crossed(counted, most))
    )


def _counted(columns: Sequence[SliceColumn]) -> list[CountedColumn]:
    """Returns the columns that follow from no other, the one with the most slices first.

    Of two that follow from each other the later one: crosses come after their columns.
    """
    found: list[CountedColumn] = []
    for each in sorted(columns, key=lambda each: (-each.ids.size, -each.position)):
        for place, finer in enumerate(found):
            parents = _parents(finer.column, each)
            if parents is not None:
                derived = (Derived(each, parents), *finer.derived)
                found[place] = replace(finer, derived=derived)
                break
        else:
            found.append(alone(each))
    return found


def alone(column: SliceColumn) -> CountedColumn:
    """Returns a column from which no other one follows."""
    return CountedColumn(column=column, derived=(Derived(column, None),))


def _crossed(counted: Sequence[CountedColumn], max_crossed: int) -> list[CountedColumn]:
    """Returns small columns as crosses of at most so many slices, the others as they are."""
    found: list[CountedColumn] = []
    for each in reversed(counted):
        if found and _can_cross(found[-1], each, max_crossed):
            found[-1] = _cross(found[-1], each)
        else:
            found.append(each)
    return found


def _can_cross(one: CountedColumn, other: CountedColumn, max_crossed: int) -> bool:
    have_all_rows = all(isinstance(each.column.rows, slice) for each in (one, other))
    return have_all_rows and one.column.ids.size * other.column.ids.size <= max_crossed


def _cross(one: CountedColumn, other: CountedColumn) -> CountedColumn:
    """Returns what has a place for each pair of places, whether there are rows of both or not."""
    sizes = one.column.ids.size, other.column.ids.size
    num_pairs = sizes[0] * sizes[1]
    places = one.column.places.astype(place_type(num_pairs))
    places *= places.dtype.type(sizes[1])
    places += other.column.places
    of_pairs = np.divmod(np.arange(num_pairs), sizes[1])
    return CountedColumn(
        column=replace(
            one.column,
            ids=np.arange(num_pairs),
            places=places,
            sizes=np.bincount(places, minlength=num_pairs),
        ),
        derived=tuple(
            Derived(column, of_pair if parents is None else parents[of_pair])
            for each, of_pair in zip((one, other), of_pairs, strict=True)
            for column, parents in each.derived
        ),
    )


def _column(slice_ids: Integers, position: int) -> SliceColumn | None:
    slice_ids = np.ascontiguousarray(slice_ids, dtype=np.int64)
    rows: slice | Integers = slice(None)
    if slice_ids.size and slice_ids.min() == NO_SLICE:
        rows = np.flatnonzero(slice_ids != NO_SLICE)
        slice_ids = slice_ids[rows]
    if not slice_ids.size:
        return None
    groups = group(slice_ids)
    return SliceColumn(
        rows=rows,
        ids=groups.keys,
        places=groups.positions.astype(place_type(groups.keys.size)),
        sizes=groups.sizes,
        position=position,
    )


def place_type(num_slices: int) -> np.dtype[Any]:
    """Returns the narrowest type for places among so many slices."""
    return np.min_scalar_type(max(num_slices - 1, 0))


def _parents(finest: SliceColumn, column: SliceColumn) -> Integers | None:
    """Returns the place in `column` for each place in `finest`, None if it does not follow."""
    if not (isinstance(finest.rows, slice) and isinstance(column.rows, slice)):
        return None
    if column.ids.size == 1:
        return np.zeros(finest.ids.size, dtype=np.int64)
    unknown = column.ids.size
    parents = np.full(finest.ids.size, unknown, dtype=place_type(unknown + 1))
    for start in range(0, finest.places.size, _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        of_finest, places = finest.places[rows], column.places[rows]
        others = np.flatnonzero(parents[of_finest] != places)
        if others.size:
            of_finest, places = of_finest[others], places[others]
            if (parents[of_finest] != unknown).any():
                return None
            parents[of_finest] = places
            if (parents[of_finest] != places).any():
                return None
    return parents.astype(np.int64)
