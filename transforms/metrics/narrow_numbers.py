"""Exact sums in as few bytes as hold them: counts as narrow integers, other numbers as words.

A column is the numbers of one name: [cells] of whole numbers, in the narrowest type that holds all
of them, or [cells, words] as `fixed_point` spells them. Equal numbers make equal columns.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.metrics import fixed_point
from transforms.metrics.array_types import Integers
from transforms.metrics.fixed_point import FRACTIONAL_BITS, WORD_BITS

Column = NDArray[Any]
_TYPES = (np.int8, np.int16, np.int32, np.int64)


def narrowed(words: Integers) -> Column:
    """Returns the column of numbers spelled by words, [cells, words], of any spelling."""
    words = fixed_point.normalise(words)
    whole = _whole_numbers(words)
    return np.ascontiguousarray(words) if whole is None else narrowed_whole(whole)


def narrowed_whole(whole: Integers) -> Column:
    """Returns the column of whole numbers."""
    least, most = whole.min(initial=0), whole.max(initial=0)
    for each in _TYPES:
        if np.iinfo(each).min <= least and most <= np.iinfo(each).max:
            return whole.astype(each)
    return whole


def _whole_numbers(words: Integers) -> Integers | None:
    """Returns the numbers if all of them are whole, and below 2^50."""
    if words.shape[-1] == 1:
        is_whole = not (words & ((1 << FRACTIONAL_BITS) - 1)).any()
        return words[:, 0] >> FRACTIONAL_BITS if is_whole else None
    rest = FRACTIONAL_BITS - WORD_BITS
    if words.shape[-1] > 2 or words[:, 0].any() or (words[:, 1] & ((1 << rest) - 1)).any():
        return None
    return words[:, 1] >> rest


def widened(column: Column) -> Integers:
    """Returns the words of a column's numbers, [cells, words], in their one spelling."""
    if column.ndim == 2:
        return column
    rest = FRACTIONAL_BITS - WORD_BITS
    words = np.zeros((column.size, 2), dtype=np.int64)
    words[:, 1] = column.astype(np.int64) << rest
    return fixed_point.normalise(words)


def joined(columns: list[Column]) -> Column:
    """Returns columns after one another as one."""
    if all(each.ndim == 1 for each in columns):
        return np.concatenate(columns)
    words = [widened(each) for each in columns]
    most = max(each.shape[-1] for each in words)
    return np.concatenate([fixed_point.normalise(each, most) for each in words])
