"""Rows with equal keys, found and summed."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.metrics.array_types import Integers

# Up to so many possible keys per row, a table of all keys is quicker than a sort.
_DENSE_KEYS_PER_ROW = 8


class Groups(NamedTuple):
    """Distinct keys in ascending order.

    Attributes:
        keys: The keys.
        positions: For each row that of its key.
        sizes: How many rows each key has.
    """

    keys: Integers
    positions: Integers
    sizes: Integers


def group(keys: Integers) -> Groups:
    """Returns the distinct keys of rows; nothing of it is shared with `keys`."""
    if not keys.size:
        return Groups(*np.zeros((3, 0), dtype=np.int64))
    first = int(keys.min())
    span = int(keys.max()) - first + 1
    if span == 1:
        return Groups(keys[:1].copy(), np.zeros(keys.size, dtype=np.int64), np.array([keys.size]))
    if span > _DENSE_KEYS_PER_ROW * keys.size:
        return Groups(*np.unique(keys, return_inverse=True, return_counts=True))
    positions = keys - first
    sizes = np.bincount(positions, minlength=span)
    present = np.flatnonzero(sizes)
    if present.size < span:
        positions, sizes = (np.cumsum(sizes > 0) - 1)[positions], sizes[present]
    return Groups(present + first, positions, sizes)


def run_starts(in_order: NDArray[Any]) -> Integers:
    """Returns where each run of equal values begins in sorted ones."""
    if not in_order.size:
        return np.zeros(0, dtype=np.int64)
    is_start = np.empty(in_order.size, dtype=bool)
    is_start[0] = True
    np.not_equal(in_order[1:], in_order[:-1], out=is_start[1:])
    return np.flatnonzero(is_start)


def run_lengths(starts: Integers, size: int) -> Integers:
    """Returns how long each run is of those that `run_starts` found in so many values."""
    lengths = np.empty_like(starts)
    np.subtract(starts[1:], starts[:-1], out=lengths[:-1])
    lengths[-1:] = size - starts[-1:]
    return lengths


def ranges(starts: Integers, sizes: Integers) -> Integers:
    """Returns the numbers of several ranges after one another."""
    ends = np.cumsum(sizes)
    found = np.arange(int(sizes.sum()), dtype=np.int64)
    found += np.repeat(starts - (ends - sizes), sizes)
    return found


def sum_columns(keys: Integers, columns: Integers) -> tuple[Integers, Integers]:
    """Returns the distinct keys of rows, and the sum of each column for each.

    Args:
        keys: Of rows, in any order.
        columns: Integers, [rows, columns].
    """
    if not keys.size:
        return keys, columns
    if (keys[1:] < keys[:-1]).any():
        order = np.argsort(keys, kind="stable")
        keys, columns = keys[order], columns[order]
    starts = run_starts(keys)
    if starts.size == keys.size:
        return keys, columns
    return keys[starts], np.add.reduceat(columns, starts, axis=0)
