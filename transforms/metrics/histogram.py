"""Distributions of numbers by label: exact while few are distinct, binned after that."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.metrics import fixed_point, float_bins, state
from transforms.metrics.array_types import Floats, Integers, Labels
from transforms.metrics.cell_merging import merge_cells
from transforms.metrics.float_bins import Bits, Scale
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.histogram_rows import HistogramRows, cells_of_rows
from transforms.metrics.slice_columns import SliceColumns
from transforms.metrics.sparse_cells import SparseCells, no_cells

_KIND = "histogram"
# Distributions whose numbers are counted at a time.
_MAX_COUNTED = 1024


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Distribution:
    """One distribution, its numbers in ascending order.

    Attributes:
        lower: The smallest number of each bin.
        upper: The largest; the same where the distribution is exact.
        weights: [blocks, 2 labels, bins].
        is_exact: Whether each bin is one number.
    """

    lower: Floats
    upper: Floats
    weights: Floats
    is_exact: bool

    @property
    def middle(self) -> Floats:
        """The middle of each bin."""
        return self.lower + (self.upper - self.lower) / 2

    @property
    def total(self) -> Floats:
        """The weights of all blocks, [2 labels, bins]."""
        return self.weights.sum(axis=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Histogram:
    """Weights of numbers, by slice, channel, label and block.

    Numbers are rounded to float32. Whether a distribution is binned depends on its rows alone and
    not on how they were merged: a part never has more distinct numbers than the whole.

    Attributes:
        options: How numbers are held.
        parts: Cells; they are merged when they are needed.
        rows: Rows that are not counted yet.
    """

    options: HistogramOptions
    parts: tuple[SparseCells, ...] = ()
    rows: tuple[HistogramRows, ...] = ()

    @classmethod
    def of_rows(
        cls,
        options: HistogramOptions,
        columns: SliceColumns,
        *,
        channels: Iterable[int] | None = None,
        numbers: Bits,
        labels: Labels,
        blocks: Integers,
        weights: Floats | None = None,
    ) -> Self:
        """Returns the histogram of rows.

        Args:
            options: How numbers are held.
            columns: The slices of the rows.
            channels: Those that rows are added to; None for all.
            numbers: What is distributed, as `float_bins.to_ordered_bits` gives it,
                [channels, rows].
            labels: 0 or 1, [distributions, rows], which channels have in turns.
            blocks: Blocks of the rows.
            weights: Positive; None to count rows.
        """
        if not numbers.shape[1]:
            return cls.empty(options)
        places = labels.astype(options.place_type)
        places *= options.place_type.type(options.num_blocks)
        places += blocks.astype(options.place_type)
        rows = HistogramRows(
            columns=columns,
            channels=tuple(range(options.num_channels) if channels is None else channels),
            numbers=numbers,
            places=places,
            weights=None if weights is None else weights.copy(),
        )
        return cls(options=options, rows=(rows,))

    @classmethod
    def empty(cls, options: HistogramOptions) -> Self:
        """Returns the histogram of no rows."""
        return cls(options=options)

    @classmethod
    def merge(cls, states: Iterable[Self]) -> Self:
        """Returns the histogram of the rows of all states; see `State`."""
        found = state.at_least_one(states)
        options = state.only((each.options for each in found), "kind of histogram")
        parts = [part for each in found for part in each.parts]
        parts += cells_of_rows(options, [rows for each in found for rows in each.rows])
        return cls(options=options, parts=(merge_cells(options, parts),) if parts else ())

    @cached_property
    def cells(self) -> SparseCells:
        """All cells, merged."""
        if len(self.parts) == 1 and not self.rows:
            return self.parts[0]
        counted = cells_of_rows(self.options, self.rows)
        return merge_cells(self.options, [no_cells(self.options), *self.parts, *counted])

    @property
    def nbytes(self) -> int:
        """Bytes that the state holds."""
        of_cells = sum(array.nbytes for each in self.parts for array in each.arrays())
        return of_cells + sum(each.nbytes for each in self.rows)

    def distribution(self, slice_id: int, channel: int, *, as_bins: bool = False) -> Distribution:
        """Returns one distribution.

        Args:
            slice_id: The slice.
            channel: Which of the slice's distributions.
            as_bins: Whether to bin it even if it is held exactly.
        """
        options, cells = self.options, self.cells
        found = cells.of_groups(np.array([slice_id * options.num_channels + channel]))
        where = slice(int(found.starts[0]), int(found.starts[0] + found.sizes[0]))
        is_binned = bool(found.is_binned[0])
        bits = options.mantissa_bits(slice_id)
        numbers = cells.numbers[where]
        if as_bins and not is_binned:
            numbers = float_bins.to_bins(numbers, options.scale, bits)
        distinct, positions = np.unique(numbers, return_inverse=True)
        labels, blocks = np.divmod(cells.places[where].astype(np.int64), options.num_blocks)
        shape = (options.num_blocks, 2, distinct.size)
        places = np.ravel_multi_index((blocks, labels, positions), shape)
        weights = np.bincount(
            places, _weights(cells.amounts[where]), minlength=math.prod(shape)
        ).astype(np.float64)
        if is_binned or as_bins:
            lower, upper = float_bins.bin_edges(distinct, options.scale, bits)
        else:
            lower = upper = float_bins.from_ordered_bits(distinct)
        return Distribution(
            lower=lower,
            upper=upper,
            weights=weights.reshape(shape),
            is_exact=not (is_binned or as_bins),
        )

    def num_distinct(self, slice_ids: Integers, channels: Integers) -> Integers:
        """Returns how many numbers, or bins, distributions have, [slices, channels]."""
        cells = self.cells
        groups = slice_ids[:, None] * self.options.num_channels + channels
        if not cells.groups.size:
            return np.zeros(groups.shape, dtype=np.int64)
        counts = np.concatenate([*self._counted()])
        where = np.minimum(np.searchsorted(cells.groups, groups), cells.groups.size - 1)
        return np.where(cells.groups[where] == groups, counts[where], 0)

    def _counted(self) -> Iterator[Integers]:
        """Yields the sizes of all distributions, of some of them at a time."""
        cells = self.cells
        for first in range(0, cells.groups.size, _MAX_COUNTED):
            offsets = cells.offsets[first : first + _MAX_COUNTED + 1]
            numbers = cells.numbers[offsets[0] : offsets[-1]]
            starts = offsets[:-1] - offsets[0]
            is_next = np.ones(numbers.size, dtype=bool)
            np.not_equal(numbers[1:], numbers[:-1], out=is_next[1:])
            is_next[starts] = True
            yield np.add.reduceat(is_next, starts, dtype=np.int64)

    def to_table(self) -> pa.Table:
        """Returns the state as a table, a row for each slice and channel; without copying cells.

        A cell's place is its label times `num_blocks` plus its block. Weights are words of 32 bits
        each, `weights.0` the least, in units of 2^-44.
        """
        cells, options = self.cells, self.options
        slices, channels = np.divmod(cells.groups, options.num_channels)
        columns = {"numbers": cells.numbers, "places": cells.places}
        if options.is_weighted:
            columns |= {f"weights.{i}": each for i, each in enumerate(cells.amounts.T)}
        else:
            columns["rows"] = cells.amounts
        lists = {
            name: pa.LargeListArray.from_arrays(cells.offsets, np.ascontiguousarray(each))
            for name, each in columns.items()
        }
        table = pa.table(
            {"slice": slices, "channel": channels, "is_binned": cells.is_binned, **lists}
        )
        return state.redescribed(table, _described(options))

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Returns the state of which `table` was made.

        Raises:
            DataLossError: It was made of no such state.
        """
        options = _options(state.described(table, _KIND))
        lists = {name: table[name].combine_chunks() for name in table.column_names[3:]}
        values = {name: _flat(each) for name, each in lists.items()}
        sizes = lists["numbers"].value_lengths().to_numpy(zero_copy_only=False)
        amounts = [values[name] for name in table.column_names[5:]]
        groups = table["slice"].to_numpy() * options.num_channels + table["channel"].to_numpy()
        cells = SparseCells(
            groups=groups,
            is_binned=table["is_binned"].to_numpy(),
            offsets=np.r_[0, np.cumsum(sizes, dtype=np.int64)],
            numbers=values["numbers"],
            places=values["places"],
            amounts=np.stack(amounts, axis=-1) if options.is_weighted else amounts[0],
        )
        return cls(options=options, parts=(cells,))


def _weights(amounts: NDArray[Any]) -> Floats:
    return amounts.astype(np.float64) if amounts.ndim == 1 else fixed_point.to_floats(amounts)


def _flat(lists: pa.ChunkedArray) -> NDArray[Any]:
    return lists.flatten().to_numpy(zero_copy_only=False)


def _described(options: HistogramOptions) -> dict[str, str]:
    """Returns what a table says of itself."""
    return {
        state.VERSION_KEY: str(state.SCHEMA_VERSION),
        "kind": _KIND,
        "scale": options.scale.value,
        **{name: str(int(getattr(options, name))) for name in _NUMBERS},
    }


def _options(said: dict[str, str]) -> HistogramOptions:
    numbers = {name: int(said[name]) for name in _NUMBERS}
    is_weighted = bool(numbers.pop("is_weighted"))
    return HistogramOptions(scale=Scale(said["scale"]), is_weighted=is_weighted, **numbers)


_NUMBERS = (
    "num_channels",
    "num_blocks",
    "is_weighted",
    "max_distinct",
    "overall_mantissa_bits",
    "slice_mantissa_bits",
)
