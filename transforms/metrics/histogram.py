"""Distributions of numbers by label: exact while few are distinct, binned after that."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from servable_core.errors import InvalidArgumentError
from transforms.metrics import fixed_point, float_bins, state
from transforms.metrics.array_types import Booleans, Floats, Integers
from transforms.metrics.fixed_sums import FixedSums
from transforms.metrics.float_bins import Scale
from transforms.metrics.grouping import run_starts
from transforms.metrics.key_layout import KeyLayout

# Below it a number is its own bits, from it on the rest is the number of a bin.
_FIRST_BIN = 1 << 32
_WEIGHT = ("weight",)


@dataclass(frozen=True, kw_only=True, slots=True)
class HistogramOptions:
    """How numbers are held.

    Attributes:
        scale: Where the numbers lie.
        num_channels: Distributions per slice.
        num_blocks: Blocks of rows that are kept apart.
        max_distinct: A distribution with more distinct numbers is binned.
        overall_mantissa_bits: 2 to its power bins per octave in slice 0, which is all rows.
        slice_mantissa_bits: The same for the other slices.
    """

    scale: Scale
    num_channels: int
    num_blocks: int
    max_distinct: int = 4096
    overall_mantissa_bits: int = 9
    slice_mantissa_bits: int = 5

    def __post_init__(self) -> None:
        for name in ("overall_mantissa_bits", "slice_mantissa_bits"):
            if not 0 <= getattr(self, name) <= 16:
                raise InvalidArgumentError(
                    f"{name} must be between 0 and 16, got {getattr(self, name)}"
                )
        if min(self.num_channels, self.num_blocks, self.max_distinct) < 1:
            raise InvalidArgumentError(f"counts must be 1 or more, got {self}")

    @property
    def layout(self) -> KeyLayout:
        """The cells of the histogram; distinct numbers of a distribution follow one another."""
        return KeyLayout(
            names=("slice", "channel", "number", "label", "block"),
            sizes=(self.num_channels, 2 * _FIRST_BIN, 2, self.num_blocks),
        )

    def mantissa_bits(self, slices: Integers | int) -> Integers:
        """Returns the precision of the bins of slices."""
        return np.where(
            np.asarray(slices) == 0, self.overall_mantissa_bits, self.slice_mantissa_bits
        )


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

    def leave_one_out(self) -> Floats:
        """Returns the weights without each block in turn, [blocks, 2 labels, bins]."""
        return self.total - self.weights


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Histogram:
    """Weights of numbers, by slice, channel, label and block.

    Numbers are rounded to float32. Whether a distribution is binned depends on its rows alone and
    not on how they were merged: a part never has more distinct numbers than the whole.
    """

    options: HistogramOptions
    sums: FixedSums

    @classmethod
    def of_rows(
        cls,
        options: HistogramOptions,
        *,
        slices: Integers,
        channels: Integers,
        numbers: Floats,
        labels: Integers,
        blocks: Integers,
        weights: Floats,
    ) -> Self:
        """Returns the histogram of rows; all arguments have one value per row.

        Args:
            options: How numbers are held.
            slices: Slice ids.
            channels: Distributions.
            numbers: What is distributed; finite.
            labels: 0 or 1.
            blocks: Blocks.
            weights: Not negative; below 2^-45 they are 0.
        """
        ordered = float_bins.to_ordered_bits(numbers)
        keys = options.layout.pack(slices, channels, ordered, labels, blocks)
        sums = FixedSums.of_rows(options.layout, _WEIGHT, keys, weights[None])
        return cls(options=options, sums=_binned(options, sums))

    @classmethod
    def empty(cls, options: HistogramOptions) -> Self:
        """Returns the histogram of no rows."""
        return cls(options=options, sums=FixedSums.empty(options.layout, _WEIGHT))

    @classmethod
    def merge(cls, states: Iterable[Self]) -> Self:
        """Returns the histogram of the rows of all states; see `State`."""
        found = state.at_least_one(states)
        options = state.only((each.options for each in found), "kind of histogram")
        sums = FixedSums.merge(_alike(options, [each.sums for each in found]))
        return cls(options=options, sums=_binned(options, sums))

    @property
    def nbytes(self) -> int:
        """Bytes that the state holds."""
        return self.sums.nbytes

    def distribution(self, slice_id: int, channel: int, *, as_bins: bool = False) -> Distribution:
        """Returns one distribution.

        Args:
            slice_id: The slice.
            channel: Which of the slice's distributions.
            as_bins: Whether to bin it even if it is held exactly.
        """
        options = self.options
        per_channel = options.layout.cells // options.num_channels
        first = (slice_id * options.num_channels + channel) * per_channel
        start, stop = np.searchsorted(self.sums.keys, [first, first + per_channel])
        _, _, numbers, labels, blocks = options.layout.unpack(self.sums.keys[start:stop])
        bits = int(options.mantissa_bits(slice_id))
        is_exact = not (as_bins or (numbers >= _FIRST_BIN).any())
        if as_bins:
            is_number = numbers < _FIRST_BIN
            bins = float_bins.to_bins(numbers[is_number], options.scale, bits)
            numbers[is_number] = bins + _FIRST_BIN
        distinct, positions = np.unique(numbers, return_inverse=True)
        shape = (options.num_blocks, 2, distinct.size)
        cells = np.ravel_multi_index((blocks, labels, positions), shape)
        values = fixed_point.to_floats(self.sums.words[start:stop, 0])
        weights = np.bincount(cells, values, minlength=math.prod(shape)).astype(np.float64)
        if is_exact:
            lower = upper = float_bins.from_ordered_bits(distinct)
        else:
            lower, upper = float_bins.bin_edges(distinct - _FIRST_BIN, options.scale, bits)
        return Distribution(
            lower=lower, upper=upper, weights=weights.reshape(shape), is_exact=is_exact
        )

    def to_table(self) -> pa.Table:
        """Returns the state as a table; equal states give equal tables."""
        options = self.options
        said = {
            "kind": "histogram",
            "scale": options.scale.value,
            "max_distinct": str(options.max_distinct),
            "overall_mantissa_bits": str(options.overall_mantissa_bits),
            "slice_mantissa_bits": str(options.slice_mantissa_bits),
        }
        return state.redescribed(self.sums.to_table(), said)

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Returns the state of which `table` was made.

        Raises:
            DataLossError: It was made of no such state.
        """
        said = state.described(table, "histogram")
        channels, _, _, blocks = state.layout_of(table, said).sizes
        options = HistogramOptions(
            scale=Scale(said["scale"]),
            num_channels=channels,
            num_blocks=blocks,
            max_distinct=int(said["max_distinct"]),
            overall_mantissa_bits=int(said["overall_mantissa_bits"]),
            slice_mantissa_bits=int(said["slice_mantissa_bits"]),
        )
        as_sums = state.redescribed(table, {"kind": "fixed_sums"})
        return cls(options=options, sums=FixedSums.from_table(as_sums))


def _alike(options: HistogramOptions, sums: list[FixedSums]) -> list[FixedSums]:
    """Returns the sums with the numbers of a distribution binned if they are so in any of them."""
    binned = [_groups(options, each.keys[_is_binned(options, each.keys)]) for each in sums]
    chosen = np.concatenate([each[run_starts(each)] for each in binned])
    return [_bin_groups(options, each, chosen) for each in sums]


def _binned(options: HistogramOptions, sums: FixedSums) -> FixedSums:
    """Returns the sums with the distributions binned that have too many distinct numbers."""
    numbers = sums.keys[run_starts(sums.keys // (2 * options.num_blocks))]
    groups = _groups(options, numbers)
    starts = run_starts(groups)
    counts = np.diff(np.r_[starts, groups.size])
    too_many = groups[starts[counts > options.max_distinct]]
    return _bin_groups(options, sums, too_many)


def _bin_groups(options: HistogramOptions, sums: FixedSums, chosen: Integers) -> FixedSums:
    if not chosen.size:
        return sums
    return _bin_where(options, sums, np.isin(_groups(options, sums.keys), chosen))


def _groups(options: HistogramOptions, keys: Integers) -> Integers:
    return keys // (2 * options.num_blocks * 2 * _FIRST_BIN)


def _is_binned(options: HistogramOptions, keys: Integers) -> Booleans:
    numbers = keys // (2 * options.num_blocks) % (2 * _FIRST_BIN)
    return numbers >= _FIRST_BIN


def _bin_where(options: HistogramOptions, sums: FixedSums, is_chosen: Booleans) -> FixedSums:
    """Returns the sums with the chosen numbers put into bins, where they are in none."""
    is_chosen = is_chosen & ~_is_binned(options, sums.keys)
    if not is_chosen.any():
        return sums
    layout = options.layout
    slices, channels, numbers, labels, blocks = layout.unpack(sums.keys)
    precision = options.mantissa_bits(slices)
    for bits in {options.overall_mantissa_bits, options.slice_mantissa_bits}:
        rows = is_chosen & (precision == bits)
        numbers[rows] = _FIRST_BIN + float_bins.to_bins(numbers[rows], options.scale, bits)
    keys = layout.pack(slices, channels, numbers, labels, blocks)
    return FixedSums.of_words(layout, sums.names, keys, sums.words)
