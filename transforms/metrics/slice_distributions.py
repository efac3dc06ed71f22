"""One distribution of each of some slices, side by side: what metrics of them are made of.

Slices that are looked at together are alike, and their bins are padded to one number.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from transforms.metrics import fixed_point, float_bins
from transforms.metrics.array_types import Booleans, Floats, Integers
from transforms.metrics.equal_mass import equal_mass_groups
from transforms.metrics.grouping import ranges
from transforms.metrics.histogram import Histogram
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.ratios import ratio

# Numbers of an array that stays in a processor's cache.
_MAX_NUMBERS = 1 << 17
_MAX_DENSE = 1 << 16
_MAX_INT32 = 2**31 - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceDistributions:
    """Distributions of slices, the numbers of each in ascending order.

    Attributes:
        options: Of the histogram.
        lower: The smallest number of each bin, [slices, bins]; padded with 0.
        upper: The largest; the same where the distributions are exact.
        sizes: How many bins each slice has.
        numbers: The bins as they are held, those of each slice after one another.
        is_exact: Whether each bin is one number.
        slices: For each cell, which of the slices it is in.
        bins: Its bin, in the slice.
        places: Its label times the number of blocks, plus its block.
        amounts: Its weight.
    """

    options: HistogramOptions
    lower: Floats
    upper: Floats
    sizes: Integers
    numbers: NDArray[Any]
    is_exact: bool
    slices: Integers
    bins: Integers
    places: NDArray[Any]
    amounts: NDArray[Any]

    @classmethod
    def of(
        cls, histogram: Histogram, slice_ids: Integers, channel: int, *, as_bins: bool = False
    ) -> Self:
        """Returns one distribution of each of some slices, which are all exact or all binned.

        Args:
            histogram: All distributions.
            slice_ids: The slices; that of all rows has other bins, so it comes alone.
            channel: Which of a slice's distributions.
            as_bins: Whether to bin them even if they are held exactly.
        """
        options, cells = histogram.options, histogram.cells
        found = cells.of_groups(slice_ids * options.num_channels + channel)
        where, is_binned = ranges(found.starts, found.sizes), bool(found.is_binned.any())
        bits = options.mantissa_bits(int(slice_ids[0]))
        numbers = cells.numbers[where]
        if as_bins and not is_binned:
            numbers = float_bins.to_bins(numbers, options.scale, bits)
        slices = np.repeat(np.arange(slice_ids.size), found.sizes)
        is_first = np.ones(numbers.size, dtype=bool)
        is_first[1:] = (numbers[1:] != numbers[:-1]) | (slices[1:] != slices[:-1])
        sizes = np.bincount(slices[is_first], minlength=slice_ids.size)
        bins = np.cumsum(is_first) - 1
        bins -= (np.cumsum(sizes) - sizes)[slices]
        distinct = numbers[is_first]
        if is_binned or as_bins:
            edges = float_bins.bin_edges(distinct, options.scale, bits)
        else:
            edges = (float_bins.from_ordered_bits(distinct),) * 2
        lower, upper = (_padded(each, sizes) for each in edges)
        return cls(
            options=options,
            lower=lower,
            upper=upper,
            sizes=sizes,
            numbers=distinct,
            is_exact=not (is_binned or as_bins),
            slices=slices,
            bins=bins,
            places=cells.places[where],
            amounts=_weights(cells.amounts[where]),
        )

    @property
    def middle(self) -> Floats:
        """The middle of each bin."""
        return self.lower + (self.upper - self.lower) / 2

    @cached_property
    def total(self) -> NDArray[Any]:
        """The weights, [slices, 2 labels, bins]; whole numbers if rows have none."""
        labels = self.places // self.options.num_blocks
        cells = (self.slices * 2 + labels) * self._num_bins + self.bins
        return self._summed(cells, self.amounts, (self.sizes.size, 2, self._num_bins))

    @property
    def label_block_weights(self) -> Floats:
        """The weight of each label and block, [slices, 2 labels, blocks]."""
        shape = (self.sizes.size, 2, self.options.num_blocks)
        cells = self.slices * (shape[1] * shape[2]) + self.places
        weights = np.bincount(cells, self.amounts, math.prod(shape))
        return weights.astype(np.float64, copy=False).reshape(shape)

    @property
    def block_weights(self) -> Floats:
        """The weight of each block, [slices, blocks]."""
        found: Floats = self.label_block_weights.sum(axis=1)
        return found

    def leave_one_out(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yields the weights without each block in turn, for a few slices at a time.

        Yields:
            Which slices, and [2 labels, slices, blocks, bins].
        """
        blocks, num_slices = self.options.num_blocks, self.sizes.size
        step = max(1, _MAX_DENSE // (blocks * max(1, self._num_bins)))
        for start in range(0, num_slices, step):
            some = slice(start, min(start + step, num_slices))
            first, last = np.searchsorted(self.slices, [some.start, some.stop])
            labels, of_blocks = np.divmod(self.places[first:last].astype(np.int64), blocks)
            shape = (2, some.stop - some.start, blocks, self._num_bins)
            rows = labels * shape[1] + self.slices[first:last] - some.start
            cells = (rows * blocks + of_blocks) * self._num_bins + self.bins[first:last]
            without = self._summed(cells, self.amounts[first:last], shape)
            np.subtract(self.total[some].swapaxes(0, 1)[:, :, None], without, out=without)
            yield some, without

    def coarsened(self, max_bins: int) -> "SliceDistributions":
        """Returns the distributions in at most so many bins, of about equal weight.

        What leaving out a block changes is as clear in hundreds of bins as in thousands. Both
        labels count as much, however rare one is: a few positives must not share one bin.
        """
        total = self.total
        shares = ratio(total, total.sum(axis=2, keepdims=True), default=0).sum(axis=1)
        groups = equal_mass_groups(shares, max_bins, self.sizes)
        is_last = np.arange(self._num_bins) == self.sizes[:, None] - 1
        is_edge = groups[:, 1:] != groups[:, :-1]
        is_first = np.pad(is_edge, ((0, 0), (1, 0)), constant_values=True)
        is_end = np.pad(is_edge, ((0, 0), (0, 1))) | is_last
        is_held = np.arange(self._num_bins) < self.sizes[:, None]
        sizes = (is_first & is_held).sum(axis=1)
        return replace(
            self,
            lower=_padded(self.lower[is_first & is_held], sizes),
            upper=_padded(self.upper[is_end & is_held], sizes),
            sizes=sizes,
            is_exact=False,
            bins=groups[self.slices, self.bins],
        )

    @property
    def _num_bins(self) -> int:
        return self.lower.shape[1]

    def _summed(
        self, cells: Integers, amounts: NDArray[Any], shape: tuple[int, ...]
    ) -> NDArray[Any]:
        """Returns the sum of the amounts of each cell; whole ones as integers, which add quicker."""
        found = np.bincount(cells, amounts, math.prod(shape)).reshape(shape)
        return found.astype(self._type, copy=False)

    @cached_property
    def _type(self) -> type:
        """The type that adds up the weights of a slice quickest."""
        if self.options.is_weighted:
            return np.float64
        return np.int32 if self.amounts.sum(dtype=np.int64) <= _MAX_INT32 else np.int64


def on_same_bins(first: SliceDistributions, second: SliceDistributions) -> tuple[Floats, Floats]:
    """Returns the weights of two versions' numbers, both held alike, on the same bins."""
    pair = (first, second)
    slices = [np.repeat(np.arange(each.sizes.size), each.sizes) for each in pair]
    keys = np.concatenate(
        [
            of.astype(np.uint64) << np.uint64(32) | each.numbers
            for each, of in zip(pair, slices, strict=True)
        ]
    )
    order = np.argsort(keys, kind="stable")  # two ascending runs are merged
    in_order = keys[order]
    is_first = np.ones(keys.size, dtype=bool)
    is_first[1:] = in_order[1:] != in_order[:-1]
    of_slices = (in_order >> np.uint64(32)).astype(np.int64)
    sizes = np.bincount(of_slices[is_first], minlength=first.sizes.size)
    bins = np.cumsum(is_first) - 1 - (np.cumsum(sizes) - sizes)[of_slices]
    place = np.empty_like(bins)
    place[order] = bins
    found = np.zeros((2, sizes.size, int(sizes.max(initial=0))))
    parts = (place[: slices[0].size], place[slices[0].size :])
    for weights, each, of, where in zip(found, pair, slices, parts, strict=True):
        is_held = np.arange(each.lower.shape[1]) < each.sizes[:, None]
        weights[of, where] = each.total.sum(axis=1)[is_held]
    return found[0], found[1]


def alike(
    histogram: Histogram, slice_ids: Integers, channels: Integers, max_bins: int
) -> Iterator[Integers]:
    """Yields slices that can be looked at together: held alike, and of about as many numbers.

    Args:
        histogram: All distributions.
        slice_ids: The slices.
        channels: Those of their distributions that matter.
        max_bins: Distributions with more bins come apart from those with fewer.
    """
    options = histogram.options
    groups = slice_ids[:, None] * options.num_channels + channels
    found = histogram.cells.of_groups(groups.ravel())
    sizes = histogram.num_distinct(slice_ids, channels)
    kinds = [slice_ids[:, None] == 0, found.is_binned.reshape(groups.shape), sizes > max_bins]
    bits = np.concatenate(kinds, axis=1)
    kind = (bits @ (1 << np.arange(bits.shape[1], dtype=np.int64))).astype(np.int64)
    most = sizes.max(axis=1)
    order = np.lexsort((slice_ids, -most, kind))
    start = 0
    while start < order.size:
        widest = order[start]
        stop = start + max(1, _MAX_NUMBERS // max(1, int(most[widest])))
        together = order[start:stop]
        together = together[kind[together] == kind[widest]]
        yield slice_ids[together]
        start += together.size


def _padded(values: Floats, sizes: Integers) -> Floats:
    """Returns the values of slices, which come after one another, as rows."""
    is_held: Booleans = np.arange(int(sizes.max(initial=0))) < sizes[:, None]
    found = np.zeros(is_held.shape)
    found[is_held] = values
    return found


def _weights(amounts: NDArray[Any]) -> NDArray[Any]:
    return amounts if amounts.ndim == 1 else fixed_point.to_floats(amounts)
