"""Sums of real numbers that do not depend on the order of the rows."""

import json
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
from transforms.metrics.narrow_numbers import Column, joined, narrowed, widened

# Numbers that are merged at a time, in all states together.
_MAX_MERGED = 1 << 19
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
        columns: For each name the sums; see `narrow_numbers`.
    """

    layout: KeyLayout
    names: tuple[str, ...]
    keys: Integers
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        state.freeze(self.keys, *self.columns)

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
        columns = tuple(narrowed(words[:, i]) for i in range(len(names)))
        return cls.of_columns(layout, names, keys, columns)

    @classmethod
    def of_columns(
        cls, layout: KeyLayout, names: tuple[str, ...], keys: Integers, columns: Iterable[Column]
    ) -> Self:
        """Returns the sums that columns hold, without the cells that have none.

        Zero has one spelling in a column only: words that were added may cancel out and not be 0.
        """
        columns = tuple(columns)
        is_used = np.zeros(keys.size, dtype=bool)
        for each in columns:
            is_used |= each != 0 if each.ndim == 1 else each.any(axis=1)
        if not is_used.all():
            keys, columns = keys[is_used], tuple(each[is_used] for each in columns)
        return cls(layout=layout, names=names, keys=keys, columns=columns)

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
        apart = cls._of_other_cells(found)
        if apart is not None:
            return apart
        parts = [
            cls._merged(layout, names, [each.within(start, stop) for each in found])
            for start, stop in _ranges(found)
        ]
        return cls(
            layout=layout,
            names=names,
            keys=np.concatenate([each.keys for each in parts]),
            columns=tuple(joined([each.columns[i] for each in parts]) for i in range(len(names))),
        )

    @classmethod
    def _of_other_cells(cls, states: list[Self]) -> Self | None:
        """Returns the sums of all states if none has a cell of another, None otherwise."""
        full = sorted((e for e in states if e.keys.size), key=lambda e: int(e.keys[0]))
        full = full or states[:1]
        keys = np.concatenate([each.keys for each in full])
        order: slice | Integers = slice(None)
        if (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys, kind="stable")
            keys = keys[order]
        if (keys[1:] == keys[:-1]).any():
            return None
        columns = zip(*(each.columns for each in full), strict=True)
        of_names = tuple(joined([*each])[order] for each in columns)
        return replace(states[0], keys=keys, columns=of_names)

    @classmethod
    def _merged(cls, layout: KeyLayout, names: tuple[str, ...], states: list[Self]) -> Self:
        words = fixed_point.addable([each.words for each in states])
        first, *others = (each.keys for each in states)
        if all(np.array_equal(first, each) for each in others):  # nothing to look for
            of_states = words.reshape(len(states), first.size, *words.shape[1:])
            return cls.of_cells(layout, names, first, of_states.sum(axis=0))
        keys = np.concatenate([first, *others])
        return cls.of_words(layout, names, keys, words)

    def within(self, start: int, stop: int) -> Self:
        """Returns the sums of the cells from key `start` to `stop`; a view."""
        first, last = np.searchsorted(self.keys, [start, stop])
        columns = tuple(each[first:last] for each in self.columns)
        return replace(self, keys=self.keys[first:last], columns=columns)

    @property
    def words(self) -> Integers:
        """The sums, [cells, names, words], as `fixed_point` spells numbers; made when asked for."""
        return fixed_point.stacked([widened(each) for each in self.columns])

    @property
    def nbytes(self) -> int:
        """Bytes that the state holds."""
        return self.keys.nbytes + sum(each.nbytes for each in self.columns)

    def dense(self, slice_id: int) -> Floats:
        """Returns the sums of a slice, [sizes of the layout..., names]."""
        found: Floats = self.of_slices(np.array([slice_id]))[0]
        return found

    def of_slices(self, slice_ids: Integers) -> Floats:
        """Returns the sums of slices, [slices, sizes of the layout..., names]."""
        rows, cells = self.layout.rows_of(self.keys, slice_ids)
        found = np.zeros((slice_ids.size * self.layout.cells, len(self.names)))
        for i, each in enumerate(self.columns):
            sums = each[rows]
            found[cells, i] = sums if sums.ndim == 1 else fixed_point.to_floats(sums)
        return found.reshape(slice_ids.size, *self.layout.sizes, len(self.names))

    def to_table(self) -> pa.Table:
        """Returns the state as a table; equal states give equal tables.

        Whole numbers are a column under their name. Other sums are a column for each of their
        words of 32 bits, `name.0` the least, in units of 2^-44.
        """
        columns = {}
        for name, each in zip(self.names, self.columns, strict=True):
            if each.ndim == 1:
                columns[name] = each
            else:
                columns |= {f"{name}.{i}": word for i, word in enumerate(each.T)}
        words = [each.shape[1] if each.ndim == 2 else 0 for each in self.columns]
        said = {"kind": "fixed_sums", "names": json.dumps([*zip(self.names, words, strict=True)])}
        return state.keyed_table(self.layout, self.keys, columns, said)

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Returns the state of which `table` was made.

        Raises:
            DataLossError: It was made of no such state.
        """
        metadata = state.described(table, "fixed_sums")
        layout = state.layout_of(table, metadata)
        columns: dict[str, Column] = {}
        for name, words in json.loads(metadata["names"]):
            of_words = [table[f"{name}.{i}"].to_numpy() for i in range(words)]
            columns[name] = np.stack(of_words, axis=1) if words else table[name].to_numpy()
        return cls(
            layout=layout,
            names=tuple(columns),
            keys=state.keys_of(table, layout),
            columns=tuple(columns.values()),
        )


def _ranges(sums: Sequence[FixedSums]) -> list[tuple[int, int]]:
    """Returns ranges of keys with so few cells each that merging them takes little memory."""
    largest = max((each.keys for each in sums), key=len)
    cells = sum(each.keys.size for each in sums) * len(sums[0].names)
    edges = largest[:: max(1, largest.size // (cells // _MAX_MERGED + 1) + 1)][1:].tolist()
    return list(zip([0, *edges], [*edges, _MAX_KEY], strict=True))
