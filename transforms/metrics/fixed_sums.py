"""Sums of real numbers that do not depend on the order of the rows."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pyarrow as pa

from transforms.metrics import fixed_point, state
from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.grouping import sum_columns
from transforms.metrics.key_layout import KeyLayout

# Numbers that are merged at a time, in all states together.
_MAX_MERGED = 1 << 22
_MAX_KEY = 2**63 - 1


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
    def of_cells(
        cls, layout: KeyLayout, names: tuple[str, ...], keys: Integers, words: Integers
    ) -> Self:
        """Returns the sums that words spell.

        Args:
            layout: What the cells are.
            names: Of the sums.
            keys: Cells, distinct and in ascending order.
            words: [cells, names, words], of any spelling.
        """
        is_used = words.any(axis=(1, 2))
        if not is_used.all():
            keys, words = keys[is_used], words[is_used]
        return cls(layout=layout, names=names, keys=keys, words=fixed_point.normalise(words))

    @classmethod
    def of_words(
        cls, layout: KeyLayout, names: tuple[str, ...], keys: Integers, words: Integers
    ) -> Self:
        """Returns the sums of words, [rows, names, words], over rows with equal keys.

        The words must be spelled so that they can be added.
        """
        keys, flat = sum_columns(keys, words.reshape(keys.size, math.prod(words.shape[1:])))
        return cls.of_cells(layout, names, keys, flat.reshape(keys.size, *words.shape[1:]))

    @classmethod
    def empty(cls, layout: KeyLayout, names: tuple[str, ...]) -> Self:
        """Returns the sums over no rows."""
        none = np.zeros(0, dtype=np.int64)
        return cls.of_cells(layout, names, none, np.zeros((0, len(names), 1), dtype=np.int64))

    @classmethod
    def merge(cls, states: Iterable[Self]) -> Self:
        """Returns the sums over the rows of all states; see `State`."""
        found = state.at_least_one(states)
        layout = state.only((each.layout for each in found), "layout")
        names = state.only((each.names for each in found), "list of sums")
        parts = (
            cls._merged(layout, names, [each.within(start, stop) for each in found])
            for start, stop in _ranges(found)
        )
        most = sum(each.keys.size for each in found)
        return cls._joined(layout, names, parts, most)

    @classmethod
    def _joined(
        cls, layout: KeyLayout, names: tuple[str, ...], parts: Iterable[Self], most_cells: int
    ) -> Self:
        """Returns parts with ascending keys as one, which never takes twice its memory.

        Pages of an array that are never written take no memory.
        """
        keys = np.empty(most_cells, dtype=np.int64)
        words = np.empty((most_cells, len(names), 1), dtype=np.int64)
        end = 0
        for each in parts:
            start, end = end, end + each.keys.size
            if each.words.shape[-1] > words.shape[-1]:
                wider = np.empty((most_cells, *each.words.shape[1:]), dtype=np.int64)
                wider[:start] = fixed_point.normalise(words[:start], wider.shape[-1])
                words = wider
            keys[start:end] = each.keys
            words[start:end] = fixed_point.normalise(each.words, words.shape[-1])
        keys.resize(end, refcheck=False)
        words.resize((end, *words.shape[1:]), refcheck=False)
        return cls(layout=layout, names=names, keys=keys, words=words)

    @classmethod
    def _merged(cls, layout: KeyLayout, names: tuple[str, ...], states: list[Self]) -> Self:
        keys = np.concatenate([each.keys for each in states])
        words = fixed_point.addable([each.words for each in states])
        return cls.of_words(layout, names, keys, words)

    def within(self, start: int, stop: int) -> Self:
        """Returns the sums of the cells from key `start` to `stop`; a view."""
        first, last = np.searchsorted(self.keys, [start, stop])
        return replace(self, keys=self.keys[first:last], words=self.words[first:last])

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
        keys = state.keys_of(table, layout)
        return cls.of_cells(layout, names, keys, words.reshape(shape))


def _ranges(sums: Sequence[FixedSums]) -> list[tuple[int, int]]:
    """Returns ranges of keys with so few cells each that merging them takes little memory."""
    largest = max((each.keys for each in sums), key=len)
    cells = sum(each.keys.size for each in sums) * len(sums[0].names)
    edges = largest[:: max(1, largest.size // (cells // _MAX_MERGED + 1) + 1)][1:].tolist()
    return list(zip([0, *edges], [*edges, _MAX_KEY], strict=True))
