"""Amounts of numbers in many groups, each number with a place: the cells of histograms.

What is held takes few bytes: a cell is a number of 32 bits, a place (a label and a block) and an
amount as narrow as all of them allow; groups are ranges of cells. For sorting, all of a cell's
coordinates are packed into one key of 64 bits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.metrics import fixed_point, float_bins, state
from transforms.metrics.array_types import Booleans, Integers
from transforms.metrics.float_bins import Bits
from transforms.metrics.grouping import run_starts
from transforms.metrics.histogram_options import HistogramOptions

Keys = NDArray[Any]
_KEY_BITS = 64
NUMBER_BITS = 32
# Cells that are merged at a time, so that their keys take little memory.
_MAX_MERGED = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SparseCells:
    """Cells that have an amount, by group, number and place.

    Attributes:
        groups: In ascending order; each is a slice and a channel.
        is_binned: For each group, whether its numbers are bins.
        offsets: Where each group's cells begin, and the last one's end.
        numbers: Of the cells, ascending in each group; ordered bits, or bins.
        places: Of the cells, ascending for each number.
        amounts: [cells], rows; or [cells, words] of weights, as `fixed_point` spells them.
    """

    groups: Integers
    is_binned: Booleans
    offsets: Integers
    numbers: Bits
    places: NDArray[Any]
    amounts: NDArray[Any]

    def __post_init__(self) -> None:
        state.freeze(*self.arrays())

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Returns all arrays."""
        cells = (self.numbers, self.places, self.amounts)
        return (self.groups, self.is_binned, self.offsets, *cells)

    def of_group(self, group: int) -> tuple[slice, bool]:
        """Returns where the cells of a group are, and whether it is binned."""
        where = int(np.searchsorted(self.groups, group))
        if where == self.groups.size or self.groups[where] != group:
            return slice(0, 0), False
        found = slice(int(self.offsets[where]), int(self.offsets[where + 1]))
        return found, bool(self.is_binned[where])


def cells_of_keys(
    options: HistogramOptions,
    groups: Integers,
    is_binned: Booleans,
    keys: Keys,
    amounts: NDArray[Any],
    *,
    number_bits: int = NUMBER_BITS,
) -> SparseCells:
    """Returns the cells that sorted, distinct keys stand for.

    Args:
        options: How numbers are held.
        groups: By their ranks, which the keys hold.
        is_binned: Of the groups.
        keys: Rank, number and place, the rank highest.
        amounts: Of the cells.
        number_bits: Bits that the keys leave for a number.
    """
    kind, place_bits = keys.dtype.type, options.place_bits
    ranks = keys >> kind(number_bits + place_bits)
    starts = run_starts(ranks)
    used = ranks[starts].astype(np.int64)
    numbers = keys >> kind(place_bits)
    numbers &= kind((1 << number_bits) - 1)
    return SparseCells(
        groups=groups[used],
        is_binned=is_binned[used],
        offsets=np.r_[starts, keys.size],
        numbers=numbers.astype(np.uint32, copy=False),
        places=(keys & kind((1 << place_bits) - 1)).astype(options.place_type),
        amounts=_narrowed(amounts) if amounts.ndim == 1 else amounts,
    )


def _narrowed(amounts: NDArray[Any]) -> NDArray[Any]:
    largest = amounts.max(initial=0)
    return amounts.astype(np.min_scalar_type(largest), copy=False)


def no_cells(options: HistogramOptions) -> SparseCells:
    """Returns no cells."""
    none = np.zeros(0, dtype=np.int64)
    shape = (0, 1) if options.is_weighted else 0
    amounts = np.zeros(shape, dtype=np.int64)
    return cells_of_keys(options, none, none.astype(bool), none.astype(np.uint64), amounts)


def merge_cells(options: HistogramOptions, parts: Sequence[SparseCells]) -> SparseCells:
    """Returns the cells of all parts, with too many numbers of a group in bins.

    A group that is binned in any part is binned: a part has no more distinct numbers than all.
    """
    groups = np.unique(np.concatenate([each.groups for each in parts]))
    if not groups.size:
        return no_cells(options)
    ranks = [np.searchsorted(groups, each.groups) for each in parts]
    is_binned = np.zeros(groups.size, dtype=bool)
    sizes = np.zeros(groups.size, dtype=np.int64)
    for part, of_part in zip(parts, ranks, strict=True):
        is_binned[of_part] |= part.is_binned
        sizes[of_part] += np.diff(part.offsets)
    merged = (
        _merge_groups(
            options,
            groups[first:last],
            is_binned[first:last],
            [_within(*each, first, last) for each in zip(parts, ranks, strict=True)],
        )
        for first, last in _ranges(sizes)
    )
    return _joined(merged, int(sizes.sum()))


def _ranges(sizes: Integers) -> Iterator[tuple[int, int]]:
    """Yields ranges of groups with not too many cells together, or of one group."""
    ends = np.cumsum(sizes)
    first = 0
    while first < sizes.size:
        before = int(ends[first] - sizes[first])
        last = int(np.searchsorted(ends, before + _MAX_MERGED, side="right"))
        yield first, max(last, first + 1)
        first = max(last, first + 1)


class _Range(NamedTuple):
    """Some groups of a part.

    Attributes:
        part: The part.
        which: Its groups.
        ranks: Of these among the groups that are merged.
    """

    part: SparseCells
    which: slice
    ranks: Integers


def _within(part: SparseCells, ranks: Integers, first: int, last: int) -> _Range:
    """Returns the groups of a part whose ranks are from `first` to `last`."""
    start, stop = np.searchsorted(ranks, [first, last])
    return _Range(part, slice(int(start), int(stop)), ranks[start:stop] - first)


def _merge_groups(
    options: HistogramOptions, groups: Integers, is_binned: Booleans, parts: list[_Range]
) -> SparseCells:
    keyed = [_keyed(options, groups, is_binned, each) for each in parts]
    keys, amounts = sum_equal(
        np.concatenate([each[0] for each in keyed]), _stacked([each[1] for each in keyed])
    )
    return limited(options, groups, is_binned, keys, amounts)


def _keyed(
    options: HistogramOptions,
    groups: Integers,
    is_binned: Booleans,
    found: _Range,
) -> tuple[Keys, NDArray[Any]]:
    """Returns the keys and amounts of some groups of a part, in bins where these groups are."""
    part, which, ranks = found
    offsets = part.offsets[which.start : which.stop + 1]
    cells = slice(int(offsets[0]), int(offsets[-1]))
    keys = np.repeat(ranks.astype(np.uint64), np.diff(offsets))
    keys = (keys << np.uint64(NUMBER_BITS)) | part.numbers[cells]
    keys = (keys << np.uint64(options.place_bits)) | part.places[cells]
    to_bin = np.zeros(groups.size, dtype=bool)
    to_bin[ranks] = is_binned[ranks] & ~part.is_binned[which]
    return in_bins(options, groups, to_bin, keys), part.amounts[cells]


def limited(
    options: HistogramOptions,
    groups: Integers,
    is_binned: Booleans,
    keys: Keys,
    amounts: NDArray[Any],
    *,
    number_bits: int = NUMBER_BITS,
) -> SparseCells:
    """Returns the cells of sorted, distinct keys, with groups of too many numbers in bins.

    The arguments are those of `cells_of_keys`.
    """
    kind = keys.dtype.type
    numbers = keys >> kind(options.place_bits)
    ranks = (numbers[run_starts(numbers)] >> kind(number_bits)).astype(np.int64)
    is_crowded = np.bincount(ranks, minlength=groups.size) > options.max_distinct
    is_crowded &= ~is_binned
    if is_crowded.any():
        keys = in_bins(options, groups, is_crowded, _with_room(options, keys, number_bits))
        keys, amounts = sum_equal(keys, amounts)
        number_bits = NUMBER_BITS
    is_binned = is_binned | is_crowded
    return cells_of_keys(options, groups, is_binned, keys, amounts, number_bits=number_bits)


def _with_room(options: HistogramOptions, keys: Keys, number_bits: int) -> NDArray[np.uint64]:
    """Returns keys with room for any number."""
    code_bits = np.uint64(number_bits + options.place_bits)
    wide = keys.astype(np.uint64)
    codes = wide & ((np.uint64(1) << code_bits) - np.uint64(1))
    return wide >> code_bits << np.uint64(NUMBER_BITS + options.place_bits) | codes


def in_bins(options: HistogramOptions, groups: Integers, to_bin: Booleans, keys: Keys) -> Keys:
    """Returns keys with the numbers of some groups put into bins."""
    if not to_bin.any():
        return keys
    place_bits = np.uint64(options.place_bits)
    rank_bits = place_bits + np.uint64(NUMBER_BITS)
    ranks = keys >> rank_bits
    chosen = to_bin[ranks.astype(np.int64)]
    is_overall = groups // options.num_channels == 0
    for is_side, bits in (
        (is_overall, options.overall_mantissa_bits),
        (~is_overall, options.slice_mantissa_bits),
    ):
        rows = np.flatnonzero(chosen & is_side[ranks.astype(np.int64)])
        numbers = (keys[rows] >> place_bits).astype(np.uint32)
        bins = float_bins.to_bins(numbers, options.scale, bits).astype(np.uint64)
        rest = keys[rows] & np.uint64((1 << options.place_bits) - 1)
        keys[rows] = (ranks[rows] << rank_bits) | (bins << place_bits) | rest
    return keys


def sum_equal(keys: Keys, amounts: NDArray[Any]) -> tuple[Keys, NDArray[Any]]:
    """Returns the distinct keys in order, and the sum of the amounts of each."""
    if (keys[1:] < keys[:-1]).any():
        keys, amounts = _in_order(keys, amounts)
    starts = run_starts(keys)
    if starts.size < keys.size:
        keys = keys[starts]
        if amounts.ndim == 2:
            amounts = np.add.reduceat(fixed_point.spread(amounts), starts, axis=0)
        else:  # in whole numbers, differences of running sums are exact, and quicker
            ends = np.cumsum(amounts, dtype=np.int64)[np.r_[starts[1:], amounts.size] - 1]
            amounts = np.diff(ends, prepend=0)
    if amounts.ndim == 2:
        amounts = fixed_point.normalise(amounts)
    return keys, amounts


def _in_order(keys: Keys, amounts: NDArray[Any]) -> tuple[Keys, NDArray[Any]]:
    """Returns keys in order with their amounts, which are sorted as part of them if they fit."""
    if amounts.ndim == 1:
        bits = int(amounts.max()).bit_length()
        if int(keys.max()).bit_length() + bits <= _KEY_BITS:
            both = keys.astype(np.uint64) << np.uint64(bits) | amounts.astype(np.uint64)
            both.sort()
            return both >> np.uint64(bits), both & np.uint64((1 << bits) - 1)
    order = np.argsort(keys, kind="stable")  # which merges what is in order already
    return keys[order], amounts[order]


def _joined(parts: Iterator[SparseCells], most_cells: int) -> SparseCells:
    """Returns parts with ascending groups as one, which never takes twice its memory.

    Args:
        parts: Made one at a time.
        most_cells: What they are at most together; pages that are never written take no memory.
    """
    first = next(parts)
    numbers = np.empty(most_cells, dtype=first.numbers.dtype)
    places = np.empty(most_cells, dtype=first.places.dtype)
    amounts = np.empty((most_cells, *first.amounts.shape[1:]), dtype=first.amounts.dtype)
    groups, is_binned, sizes, end = [], [], [], 0
    for each in chain([first], parts):
        start, end = end, end + each.numbers.size
        numbers[start:end], places[start:end] = each.numbers, each.places
        amounts = _fitting(amounts, start, each.amounts)
        amounts[start:end] = _in_words(each.amounts, amounts)
        groups.append(each.groups)
        is_binned.append(each.is_binned)
        sizes.append(np.diff(each.offsets))
    for array in (numbers, places, amounts):
        array.resize((end, *array.shape[1:]), refcheck=False)
    return SparseCells(
        groups=np.concatenate(groups),
        is_binned=np.concatenate(is_binned),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64),
        numbers=numbers,
        places=places,
        amounts=amounts,
    )


def _fitting(amounts: NDArray[Any], used: int, more: NDArray[Any]) -> NDArray[Any]:
    """Returns amounts, or their first `used` in a wider array that `more` fits into."""
    kind = np.promote_types(amounts.dtype, more.dtype)
    shape = (amounts.shape[0], *np.maximum(amounts.shape[1:], more.shape[1:]).tolist())
    if kind == amounts.dtype and shape == amounts.shape:
        return amounts
    wider = np.empty(shape, dtype=kind)
    wider[:used] = _in_words(amounts[:used], wider)
    return wider


def _in_words(amounts: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    return amounts if amounts.ndim == 1 else fixed_point.normalise(amounts, like.shape[1])


def _stacked(amounts: list[NDArray[Any]]) -> NDArray[Any]:
    if amounts[0].ndim == 1:
        return np.concatenate(amounts)
    most = max(each.shape[-1] for each in amounts)
    return np.concatenate([fixed_point.normalise(each, most) for each in amounts])
