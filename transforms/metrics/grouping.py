"""Rows with equal keys, found and summed in integers."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.metrics.array_types import Integers

# Up to so many possible keys per row, a table of all keys is quicker than a sort.
_DENSE_KEYS_PER_ROW = 8
# Sums in float64 of parts below 2^32 are exact up to 2^21 of them; half of that is plenty.
_MAX_ROWS_PER_SUM = 1 << 20


class Groups(NamedTuple):
    """Distinct keys in ascending order, and for each row the position of its key."""

    keys: Integers
    positions: Integers


def group(keys: Integers) -> Groups:
    """Returns the distinct keys of rows."""
    if not keys.size:
        return Groups(keys, np.zeros(0, dtype=np.int64))
    first = int(keys.min())
    span = int(keys.max()) - first + 1
    if span > _DENSE_KEYS_PER_ROW * keys.size:
        distinct, positions = np.unique(keys, return_inverse=True)
        return Groups(distinct, positions)
    is_present = np.zeros(span, dtype=bool)
    is_present[keys - first] = True
    places = np.cumsum(is_present) - 1
    return Groups(np.flatnonzero(is_present) + first, places[keys - first])


def run_starts(in_order: Integers) -> Integers:
    """Returns where each run of equal values begins in sorted ones."""
    if not in_order.size:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])


def sum_parts(groups: Groups, parts: NDArray[Any]) -> Integers:
    """Returns the sum for each key of integers below 2^32, held as floats."""
    total = np.zeros(groups.keys.size, dtype=np.int64)
    for start in range(0, parts.size, _MAX_ROWS_PER_SUM):
        rows = slice(start, start + _MAX_ROWS_PER_SUM)
        sums = np.bincount(groups.positions[rows], weights=parts[rows], minlength=total.size)
        total += sums.astype(np.int64)
    return total


def sum_columns(keys: Integers, columns: Integers) -> tuple[Integers, Integers]:
    """Returns the distinct keys of rows, and the sum of each column for each.

    Args:
        keys: Of rows, in any order.
        columns: Integers, [rows, columns].
    """
    if not keys.size:
        return keys, columns
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    starts = run_starts(in_order)
    return in_order[starts], np.add.reduceat(columns[order], starts, axis=0)
