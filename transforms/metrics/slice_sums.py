"""Sums over the rows of slices, by the cells of a layout."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from transforms.metrics import fixed_point
from transforms.metrics.array_types import Integers
from transforms.metrics.fixed_point import Words
from transforms.metrics.fixed_sums import FixedSums
from transforms.metrics.grouping import group
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.narrow_numbers import narrowed
from transforms.metrics.slice_columns import CountedColumn, SliceColumn, SliceColumns
from transforms.metrics.sum_table import SumTable

# A table of all cells is quickest, but takes memory where most of them have no rows.
_DENSE_CELLS = 1 << 18
_DENSE_CELLS_PER_ROW = 4


class Additions(NamedTuple):
    """What some rows add.

    Attributes:
        start: The first of the rows, which follow one another.
        cells: For each row, which of its slice's cells it adds to.
        words: For each name, what it adds, as `fixed_point.to_words` spells it. Taken once, each
            while it is still in the processor's cache.
    """

    start: int
    cells: Integers
    words: Iterable[list[Words]]


def sum_slices(
    layout: KeyLayout,
    names: tuple[str, ...],
    columns: SliceColumns,
    additions: Iterable[Additions],
) -> FixedSums:
    """Returns the sums over the rows of all slices.

    Args:
        layout: What the cells are.
        names: Of the sums.
        columns: The slices of all rows.
        additions: What rows add; the same rows may come several times. Held one at a time.
    """
    counted = _counted(layout, columns)
    sums = [_ColumnSums(layout, names, each.column) for each in counted]
    for each in additions:
        targets = [of_column.target(each) for of_column in sums]
        for place, (_, words) in enumerate(zip(names, each.words, strict=True)):
            for target in targets:
                target.tables[place].add(target.cells, words, target.rows)
        for of_column, target in zip(sums, targets, strict=True):
            of_column.keep(target)
    parts = [
        of_column.finish() if parents is None else of_column.of_parents(column, parents)
        for of_column, each in zip(sums, counted, strict=True)
        for column, parents in each.derived
    ]
    return FixedSums.merge([FixedSums.empty(layout, names), *parts])


def _counted(layout: KeyLayout, columns: SliceColumns) -> tuple[CountedColumn, ...]:
    """Returns the columns to add up by: crosses cost less, but only in a table of all cells."""
    is_dense = all(_is_dense(layout, each.column) for each in columns.crossed)
    return columns.crossed if is_dense else columns.counted


def _is_dense(layout: KeyLayout, column: SliceColumn) -> bool:
    most = max(_DENSE_CELLS, _DENSE_CELLS_PER_ROW * column.places.size)
    return column.ids.size * layout.cells <= most


class _Target(NamedTuple):
    """Where some rows are added to.

    Attributes:
        tables: For each name.
        cells: Of the tables, for each of the rows.
        rows: Which of those that are added.
        keys: Of the tables' cells, if they are these rows' alone.
    """

    tables: list[SumTable]
    cells: Integers
    rows: slice | Integers
    keys: Integers | None


class _ColumnSums:
    """The sums over the slices of one column."""

    def __init__(self, layout: KeyLayout, names: tuple[str, ...], column: SliceColumn) -> None:
        self._layout, self._names, self._column = layout, names, column
        self._parts: list[FixedSums] = []
        num_cells = column.ids.size * layout.cells
        self._tables = _tables(names, num_cells) if _is_dense(layout, column) else None

    def target(self, added: Additions) -> _Target:
        """Returns where rows are added to."""
        rows, places = self._column.within(added.start, added.start + added.cells.size)
        cells = np.multiply(places, self._layout.cells, dtype=np.int64)
        cells += added.cells[rows]
        if self._tables is not None:
            return _Target(self._tables, cells, rows, None)
        groups = group(cells)
        tables = _tables(self._names, groups.keys.size)
        return _Target(tables, groups.positions, rows, groups.keys)

    def keep(self, target: _Target) -> None:
        """Keeps what was added, unless it is in a table of all cells anyway."""
        if target.keys is not None:
            places, cells = np.divmod(target.keys, self._layout.cells)
            keys = self._layout.keys_of_cells(self._column.ids[places], cells)
            self._parts.append(_sums(self._layout, self._names, target.tables, keys))

    def of_parents(self, column: SliceColumn, parents: Integers) -> FixedSums:
        """Returns the sums over slices that are made of the column's.

        Args:
            column: The slices.
            parents: For each of the column's slices, the place of the slice that it is part of.
        """
        if self._tables is None:
            return self._of_sparse_parents(column, parents)
        tables = [each.grouped(parents, column.ids.size) for each in self._tables]
        return _sums(self._layout, self._names, tables, self._all_keys(column))

    def _of_sparse_parents(self, column: SliceColumn, parents: Integers) -> FixedSums:
        sums = self.finish()
        slices, cells = np.divmod(sums.keys, self._layout.cells)
        places = parents[np.searchsorted(self._column.ids, slices)]
        keys = self._layout.keys_of_cells(column.ids[places], cells)
        words = fixed_point.spread(sums.words)
        return FixedSums.of_words(self._layout, self._names, keys, words)

    def finish(self) -> FixedSums:
        """Returns the sums."""
        if self._tables is not None:
            tables, self._tables = self._tables, None  # which take much memory
            self._parts = [_sums(self._layout, self._names, tables, self._all_keys(self._column))]
        return FixedSums.merge([FixedSums.empty(self._layout, self._names), *self._parts])

    def _all_keys(self, column: SliceColumn) -> Integers:
        slices = np.repeat(column.ids, self._layout.cells)
        cells = np.tile(np.arange(self._layout.cells), column.ids.size)
        return self._layout.keys_of_cells(slices, cells)


def _sums(
    layout: KeyLayout, names: tuple[str, ...], tables: list[SumTable], keys: Integers
) -> FixedSums:
    """Returns the sums of tables of the cells that `keys` name, in ascending order."""
    used: Integers = np.flatnonzero(np.logical_or.reduce([each.is_used() for each in tables]))
    columns = (narrowed(each.words(used)) for each in tables)
    return FixedSums.of_columns(layout, names, keys[used], columns)


def _tables(names: tuple[str, ...], num_cells: int) -> list[SumTable]:
    return [SumTable(num_cells) for _ in names]
