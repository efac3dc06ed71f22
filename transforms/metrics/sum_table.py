"""A table of exact sums that rows are added to in place."""

import numpy as np

from transforms.metrics import fixed_point
from transforms.metrics.array_types import Integers
from transforms.metrics.fixed_point import Words


class SumTable:
    """Sums of numbers by cell, in words as `fixed_point` spells them; not thread-safe.

    Adding to an array in place costs no more than counting, and 64 bits hold the sum of many
    numbers of 44 fractional bits: a carry is due only when their sizes say so.
    """

    def __init__(self, cells: int) -> None:
        self._cells = cells
        self._words: list[Integers] = []
        self._largest: list[float] = []  # what the size of no cell's word exceeds

    def add(self, cells: Integers, words: list[Words], rows: slice | Integers) -> None:
        """Adds a number to a cell each.

        Args:
            cells: Of the numbers.
            words: The numbers' words, from `fixed_point.to_words`.
            rows: Which of the numbers are added.
        """
        for position, each in enumerate(words):
            self._make_room(position, each.size)
            np.add.at(self._words[position], cells, each.values[rows])

    def _make_room(self, position: int, size: float) -> None:
        while position >= len(self._words):
            self._words.append(np.zeros(self._cells, dtype=np.int64))
            self._largest.append(0.0)
        if self._largest[position] + size > fixed_point.MAX_LAST_WORD:
            low = self._words[position]
            carry = low >> fixed_point.WORD_BITS
            low -= carry << fixed_point.WORD_BITS
            self._largest[position] = 2.0**fixed_point.WORD_BITS
            self._make_room(position + 1, float(np.abs(carry).max(initial=0)))
            self._words[position + 1] += carry
        self._largest[position] += size

    def words(self) -> Integers:
        """Returns the sums, [cells, words]."""
        if not self._words:
            return np.zeros((self._cells, 1), dtype=np.int64)
        return np.stack(self._words, axis=-1)
