"""The slices of rows of several batches, as if these were one."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, TypeAlias

import numpy as np

from transforms.metrics.array_types import Integers
from transforms.metrics.slice_columns import (
    CountedColumn,
    Derived,
    SliceColumn,
    SliceColumns,
    place_type,
)

_UNKNOWN = -1


class _Relation(NamedTuple):
    """A column of one batch, and another one of which it follows there, or the same."""

    finest: SliceColumn
    derived: Derived


# By the positions of both.
_Relations: TypeAlias = dict[tuple[int, int], _Relation]


def join_columns(many: Sequence[tuple[SliceColumns, int]]) -> list[CountedColumn]:
    """Returns the columns of rows that follow one another, each with those that follow from it.

    A column follows from another one if it does so in each batch, and in all in the same way.

    Args:
        many: Columns of some rows each, and how many rows these are.
    """
    columns = _joined_columns(many)
    relations = [_relations(each) for each, _ in many]
    common = set(relations[0]).intersection(*relations[1:]) if relations else set()
    finer = {position: one for one, position in common if one != position}
    derived: dict[int, list[Derived]] = {position: [] for position in columns}
    for position, column in columns.items():
        finest, parents = finer.get(position, position), None
        if finest != position:
            of_batches = [each[finest, position] for each in relations]
            parents = _parents(columns[finest], column, of_batches)
            finest = position if parents is None else finest
        derived[finest].append(Derived(column, parents))
    return [
        CountedColumn(column=columns[position], derived=tuple(found))
        for position, found in derived.items()
        if found
    ]


def _relations(columns: SliceColumns) -> _Relations:
    return {
        (counted.column.position, derived.column.position): _Relation(counted.column, derived)
        for counted in columns.counted
        for derived in counted.derived
    }


def _parents(
    finest: SliceColumn, column: SliceColumn, of_batches: Sequence[_Relation]
) -> Integers | None:
    """Returns the place in `column` for each place in `finest`; None if batches disagree."""
    parents = np.full(finest.ids.size, _UNKNOWN, dtype=np.int64)
    for of_batch, derived in of_batches:
        places = np.searchsorted(finest.ids, of_batch.ids)
        found = np.searchsorted(column.ids, derived.column.ids)[derived.parents]
        if ((parents[places] != found) & (parents[places] != _UNKNOWN)).any():
            return None
        parents[places] = found
    return parents


def _joined_columns(many: Sequence[tuple[SliceColumns, int]]) -> dict[int, SliceColumn]:
    """Returns the columns of all rows, by position."""
    starts = accumulate((size for _, size in many), initial=0)
    found: dict[int, list[tuple[int, SliceColumn]]] = {}
    for start, (columns, _) in zip(starts, many, strict=False):
        for each in columns:
            found.setdefault(each.position, []).append((start, each))
    num_rows = sum(size for _, size in many)
    return {position: _joined(found[position], num_rows) for position in sorted(found)}


def _joined(parts: Sequence[tuple[int, SliceColumn]], num_rows: int) -> SliceColumn:
    """Returns one column; parts begin at some row of all `num_rows`."""
    columns = [each for _, each in parts]
    ids = np.unique(np.concatenate([each.ids for each in columns]))
    sizes = np.zeros(ids.size, dtype=np.int64)
    places = []
    for each in columns:
        of_ids = np.searchsorted(ids, each.ids)
        sizes[of_ids] += each.sizes
        if each.ids.size == ids.size:
            places.append(each.places)
        else:
            places.append(of_ids.astype(place_type(ids.size))[each.places])
    rows: slice | Integers = slice(None)
    if sizes.sum() < num_rows:
        rows = np.concatenate([_rows(*each) for each in parts])
    return SliceColumn(
        rows=rows,
        ids=ids,
        places=np.concatenate(places),
        sizes=sizes,
        position=columns[0].position,
    )


def _rows(start: int, column: SliceColumn) -> Integers:
    if isinstance(column.rows, slice):
        return np.arange(start, start + column.places.size)
    return column.rows + start
