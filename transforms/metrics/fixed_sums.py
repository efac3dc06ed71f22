"""Sums of real numbers that do not depend on the order of the rows."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from transforms.metrics import fixed_point, state
from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.grouping import group, sum_columns
from transforms.metrics.key_layout import KeyLayout


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FixedSums:
    """Sums under names, for each cell that has any that is not 0.

    Each added number is rounded to a multiple of 2^-44, so a mean is off by at most 2^-45; nothing
    else is ever rounded.

    Attributes:
        layout: What the cells are.
        names: Of the sums.
        keys: Cells, in ascending order.
        words: [cells, names, words], as `fixed_point` spells numbers.
    """

    layout: KeyLayout
    names: tuple[str, ...]
    keys: Integers
    words: Integers

    def __post_init__(self) -> None:
        state.freeze(self.keys, self.words)

    @classmethod
    def of_rows(
        cls,
        layout: KeyLayout,
        names: tuple[str, ...],
        keys: Integers,
        values: Floats,
        rows: Integers | None = None,
    ) -> Self:
        """Returns the sums of `values` over equal keys.

        Args:
            layout: What the cells are.
            names: Of the sums.
            keys: Of the additions, in any order.
            values: [names, rows].
            rows: For each key, the row that it adds; None where they are the same.

        Raises:
            InvalidArgumentError: A value is not finite, or too large to be summed.
        """
        groups = group(keys)
        added = np.arange(keys.size) if rows is None else rows
        sums = [fixed_point.sum_rows(groups, each, added) for each in values]
        words = np.stack(fixed_point.align(sums), axis=1)
        return cls._of_cells(layout, names, groups.keys, words)

    @classmethod
    def of_words(
        cls, layout: KeyLayout, names: tuple[str, ...], keys: Integers, words: Integers
    ) -> Self:
        """Returns the sums of words, [rows, names, words], over rows with equal keys."""
        keys, flat = sum_columns(keys, words.reshape(keys.size, math.prod(words.shape[1:])))
        cells = flat.reshape(keys.size, len(names), words.shape[-1])
        return cls._of_cells(layout, names, keys, cells)

    @classmethod
    def _of_cells(
        cls, layout: KeyLayout, names: tuple[str, ...], keys: Integers, words: Integers
    ) -> Self:
        words = fixed_point.normalise(words)
        is_used = words.any(axis=(1, 2))
        return cls(layout=layout, names=names, keys=keys[is_used], words=words[is_used])

    @classmethod
    def empty(cls, layout: KeyLayout, names: tuple[str, ...]) -> Self:
        """Returns the sums over no rows."""
        none = np.zeros(0, dtype=np.int64)
        return cls.of_words(layout, names, none, np.zeros((0, len(names), 1), dtype=np.int64))

    @classmethod
    def merge(cls, states: Iterable[Self]) -> Self:
        """Returns the sums over the rows of all states; see `State`."""
        found = state.at_least_one(states)
        return cls.of_words(
            state.only((each.layout for each in found), "layout"),
            state.only((each.names for each in found), "list of sums"),
            np.concatenate([each.keys for each in found]),
            np.concatenate(fixed_point.align([each.words for each in found])),
        )

    @property
    def nbytes(self) -> int:
        """Bytes that the state holds."""
        return self.keys.nbytes + self.words.nbytes

    def dense(self, slice_id: int) -> Floats:
        """Returns the sums of a slice, [sizes of the layout..., names]."""
        rows = self.layout.rows_of(self.keys, slice_id)
        found = np.zeros((self.layout.cells, len(self.names)))
        found[self.keys[rows] - slice_id * self.layout.cells] = fixed_point.to_floats(
            self.words[rows]
        )
        return found.reshape(*self.layout.sizes, len(self.names))

    def to_table(self) -> pa.Table:
        """Returns the state as a table; equal states give equal tables.

        Each sum is a column for each of its words, `name.0` the least.
        """
        columns = {
            f"{name}.{word}": self.words[:, i, word]
            for i, name in enumerate(self.names)
            for word in range(self.words.shape[-1])
        }
        return state.keyed_table(self.layout, self.keys, columns, {"kind": "fixed_sums"})

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Returns the state of which `table` was made.

        Raises:
            DataLossError: It was made of no such state.
        """
        layout = state.layout_of(table, state.described(table, "fixed_sums"))
        columns = table.column_names[len(layout.names) :]
        names = tuple(dict.fromkeys(each.rpartition(".")[0] for each in columns))
        words = np.stack([table[each].to_numpy() for each in columns], axis=1)
        shape = (table.num_rows, len(names), len(columns) // len(names))
        return cls.of_words(layout, names, state.keys_of(table, layout), words.reshape(shape))
