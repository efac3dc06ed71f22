"""Distributions of numbers by label: exact while few are distinct, binned after that."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.metrics import fixed_point, float_bins, state
from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.cell_merging import merge_cells
from transforms.metrics.equal_mass import equal_mass_groups
from transforms.metrics.float_bins import Bits, Scale
from transforms.metrics.grouping import run_starts
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.histogram_rows import ChannelRows
from transforms.metrics.ratios import ratio
from transforms.metrics.slice_columns import SliceColumns
from transforms.metrics.sparse_cells import SparseCells, no_cells

_KIND = "histogram"


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

    @property
    def block_weights(self) -> Floats:
        """The weight of each block."""
        return self.weights.sum(axis=(1, 2))

    def coarsened(self, max_bins: int) -> "Distribution":
        """Returns the distribution in at most so many bins, of about equal weight where they are new.

        What leaving out a block changes is as clear in hundreds of bins as in thousands. Both
        labels count as much, however rare one is: a few positives must not share one bin.
        """
        if self.lower.size <= max_bins:
            return self
        total = self.total
        shares = ratio(total, total.sum(axis=1, keepdims=True), default=0)
        groups = equal_mass_groups(shares.sum(axis=0), max_bins)
        starts = run_starts(groups)
        return Distribution(
            lower=self.lower[starts],
            upper=self.upper[np.append(starts[1:], groups.size) - 1],
            weights=np.add.reduceat(self.weights, starts, axis=2),
            is_exact=False,
        )

    def leave_one_out(self) -> Floats:
        """Returns the weights without each block in turn, [blocks, 2 labels, bins]."""
        return self.total - self.weights


@dataclass(frozen=True, kw_only=True, eq=False)
class Histogram:
    """Weights of numbers, by slice, channel, label and block.

    Numbers are rounded to float32. Whether a distribution is binned depends on its rows alone and
    not on how they were merged: a part never has more distinct numbers than the whole.

    Attributes:
        options: How numbers are held.
        parts: The cells; they are merged when they are needed.
    """

    options: HistogramOptions
    parts: tuple[SparseCells, ...]

    @classmethod
    def of_rows(
        cls,
        options: HistogramOptions,
        columns: SliceColumns,
        *,
        channels: Iterable[int] | None = None,
        numbers: Bits,
        labels: Integers,
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
            labels: 0 or 1, [channels, rows].
            blocks: Blocks of the rows.
            weights: Positive; None to count rows.
        """
        parts: list[SparseCells] = []
        for channel in range(options.num_channels) if channels is None else channels:
            places = (labels[channel] * options.num_blocks + blocks).astype(np.uint32)
            rows = ChannelRows(options, channel, numbers[channel], places, weights)
            parts += rows.cells(columns)
        return cls(options=options, parts=tuple(parts))

    @classmethod
    def empty(cls, options: HistogramOptions) -> Self:
        """Returns the histogram of no rows."""
        return cls(options=options, parts=())

    @classmethod
    def merge(cls, states: Iterable[Self]) -> Self:
        """Returns the histogram of the rows of all states; see `State`."""
        found = state.at_least_one(states)
        options = state.only((each.options for each in found), "kind of histogram")
        parts = [part for each in found for part in each.parts]
        return cls(options=options, parts=(merge_cells(options, parts),) if parts else ())

    @cached_property
    def cells(self) -> SparseCells:
        """All cells, merged."""
        if len(self.parts) == 1:
            return self.parts[0]
        return merge_cells(self.options, [no_cells(self.options), *self.parts])

    @property
    def nbytes(self) -> int:
        """Bytes that the state holds."""
        return sum(array.nbytes for each in self.parts for array in each.arrays())

    def distribution(self, slice_id: int, channel: int, *, as_bins: bool = False) -> Distribution:
        """Returns one distribution.

        Args:
            slice_id: The slice.
            channel: Which of the slice's distributions.
            as_bins: Whether to bin it even if it is held exactly.
        """
        options, cells = self.options, self.cells
        where, is_binned = cells.of_group(slice_id * options.num_channels + channel)
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

    def counts(self, slice_id: int, channel: int) -> tuple[Integers, Integers, Integers]:
        """Returns the cells of one distribution of rows without weights.

        Returns:
            Numbers as they are held, labels, and rows.
        """
        cells = self.cells
        where, _ = cells.of_group(slice_id * self.options.num_channels + channel)
        labels = cells.places[where] // self.options.num_blocks
        found = (cells.numbers[where], labels, cells.amounts[where])
        numbers, labels, rows = (each.astype(np.int64) for each in found)
        return numbers, labels, rows

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
