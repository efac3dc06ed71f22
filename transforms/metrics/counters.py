"""Counts of rows, in integers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from transforms.metrics import state
from transforms.metrics.array_types import Integers
from transforms.metrics.grouping import sum_columns
from transforms.metrics.key_layout import KeyLayout


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Counters:
    """Counts under names, for each cell that has any.

    Attributes:
        layout: What the cells are.
        names: Of the counts.
        keys: Cells, in ascending order.
        counts: [cells, names].
    """

    layout: KeyLayout
    names: tuple[str, ...]
    keys: Integers
    counts: Integers

    def __post_init__(self) -> None:
        state.freeze(self.keys, self.counts)

    @classmethod
    def of_rows(
        cls, layout: KeyLayout, names: tuple[str, ...], keys: Integers, counts: Integers
    ) -> Self:
        """Returns the sums of `counts`, [rows, names], over rows with equal keys."""
        keys, counts = sum_columns(keys, counts.astype(np.int64))
        is_used = counts.any(axis=1)
        return cls(layout=layout, names=names, keys=keys[is_used], counts=counts[is_used])

    @classmethod
    def merge(cls, states: Iterable[Self]) -> Self:
        """Returns the counts of the rows of all states; see `State`."""
        found = state.at_least_one(states)
        return cls.of_rows(
            state.only((each.layout for each in found), "layout"),
            state.only((each.names for each in found), "list of counts"),
            np.concatenate([each.keys for each in found]),
            np.concatenate([each.counts for each in found]),
        )

    @property
    def nbytes(self) -> int:
        """Bytes that the state holds."""
        return self.keys.nbytes + self.counts.nbytes

    def dense(self, slice_id: int) -> Integers:
        """Returns the counts of a slice, [sizes of the layout..., names]."""
        found: Integers = self.of_slices(np.array([slice_id]))[0]
        return found

    def of_slices(self, slice_ids: Integers) -> Integers:
        """Returns the counts of slices, [slices, sizes of the layout..., names]."""
        rows, cells = self.layout.rows_of(self.keys, slice_ids)
        found = np.zeros((slice_ids.size * self.layout.cells, len(self.names)), dtype=np.int64)
        found[cells] = self.counts[rows]
        return found.reshape(slice_ids.size, *self.layout.sizes, len(self.names))

    def slices(self) -> list[int]:
        """Returns the slices that have rows."""
        return [int(each) for each in np.unique(self.layout.unpack(self.keys)[0])]

    def to_table(self) -> pa.Table:
        """Returns the state as a table; equal states give equal tables."""
        columns = {name: self.counts[:, i] for i, name in enumerate(self.names)}
        return state.keyed_table(self.layout, self.keys, columns, {"kind": "counters"})

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Returns the state of which `table` was made.

        Raises:
            DataLossError: It was made of no such state.
        """
        layout = state.layout_of(table, state.described(table, "counters"))
        names = tuple(table.column_names[len(layout.names) :])
        counts = np.stack([table[name].to_numpy() for name in names], axis=1)
        return cls.of_rows(layout, names, state.keys_of(table, layout), counts)
