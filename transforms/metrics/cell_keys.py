"""Keys of cells: put in order, with equal ones summed and crowded groups in bins."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.metrics import fixed_point, float_bins
from transforms.metrics.array_types import Booleans, Integers
from transforms.metrics.grouping import run_lengths, run_starts
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.sparse_cells import NUMBER_BITS, Keys, SparseCells, cells_of_keys

_KEY_BITS = 64
# Tables with so many cells for each key are quicker than to sort keys, alone or with their amounts.
_COUNT_CELLS_PER_KEY = 0.75
_SUM_CELLS_PER_KEY = 4
# Keys that stay in the processor's cache from one step to the next.
_CHUNK_KEYS = 1 << 15


def limited(
    options: HistogramOptions,
    groups: Integers,
    is_binned: Booleans,
    keys: Keys,
    amounts: NDArray[Any],
) -> SparseCells:
    """Returns the cells of sorted, distinct keys, with groups of too many numbers in bins.

    The arguments are those of `cells_of_keys`.
    """
    is_crowded = np.zeros(groups.size, dtype=bool)
    if not is_binned.all():
        numbers = keys >> keys.dtype.type(options.place_bits)
        ranks = numbers[run_starts(numbers)] >> keys.dtype.type(NUMBER_BITS)
        distinct = np.bincount(ranks.astype(np.int64), minlength=groups.size)
        is_crowded = ~is_binned & (distinct > options.max_distinct)
    if is_crowded.any():
        keys = in_bins(options, groups, is_crowded, keys)
        keys, amounts = sum_equal(keys, amounts)
    is_binned = is_binned | is_crowded
    return cells_of_keys(options, groups, is_binned, keys, amounts)


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


def count_equal(keys: Keys) -> tuple[Keys, Integers]:
    """Returns the distinct keys in order, and how many there are of each.

    Args:
        keys: In any order; they may be put into another one.
    """
    first, cells = _range(keys)
    if cells <= _COUNT_CELLS_PER_KEY * keys.size:
        return _sum_in_table(keys, None, first, np.zeros(cells, dtype=np.int32))
    keys.sort()
    return _count_runs(keys)


def sum_equal(keys: Keys, amounts: NDArray[Any]) -> tuple[Keys, NDArray[Any]]:
    """Returns the distinct keys in order, and the sum of the amounts of each.

    Args:
        keys: In any order; returned as they are if they are what is asked for.
        amounts: Rows, 1 or more, [keys]; or weights, [keys, words].
    """
    if (keys[1:] < keys[:-1]).any():
        if fit_in_table(keys, amounts):
            first, cells = _range(keys)
            return _sum_in_table(keys, amounts, first, np.zeros(cells, dtype=np.int64))
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


def fit_in_table(keys: Keys, amounts: NDArray[Any]) -> bool:
    """Returns whether `sum_equal` adds amounts up in a table, which is quicker than to sort."""
    return amounts.ndim == 1 and _range(keys)[1] <= _SUM_CELLS_PER_KEY * keys.size


def _range(keys: Keys) -> tuple[int, int]:
    """Returns the least key, and how many there may be from there to the largest."""
    first = int(keys.min())
    return first, int(keys.max()) - first + 1


def _sum_in_table(
    keys: Keys, amounts: Integers | None, first: int, table: Integers
) -> tuple[Keys, Integers]:
    """Adds rows, or positive amounts, to a table of all keys; returns those that have some."""
    ones = np.ones(_CHUNK_KEYS, dtype=table.dtype)
    for start in range(0, keys.size, _CHUNK_KEYS):
        some = slice(start, start + _CHUNK_KEYS)
        cells = keys[some].astype(np.int64)
        cells -= first
        added = ones[: cells.size] if amounts is None else amounts[some].astype(table.dtype)
        np.add.at(table, cells, added)
    found: list[Keys] = []
    sums: list[Integers] = []
    for start in range(0, table.size, _CHUNK_KEYS):
        part = table[start : start + _CHUNK_KEYS]
        used = np.flatnonzero(part != 0)
        sums.append(part[used])
        found.append((used + (first + start)).astype(keys.dtype))
    return np.concatenate(found), np.concatenate(sums)


def _count_runs(keys: Keys) -> tuple[Keys, Integers]:
    """Returns the distinct ones of sorted keys, and how many there are of each.

    A part at a time, because to take new memory costs more than to fill it.
    """
    found: list[Keys] = []
    all_starts: list[Integers] = []
    for start in range(0, keys.size, _CHUNK_KEYS):
        part = keys[start : start + _CHUNK_KEYS]
        starts = run_starts(part)
        if start and part[0] == keys[start - 1]:
            starts = starts[1:]
        found.append(part[starts])
        all_starts.append((starts + start).astype(np.uint32 if keys.size < 1 << 32 else np.int64))
    starts = np.concatenate(all_starts)
    return np.concatenate(found), run_lengths(starts, keys.size)


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
