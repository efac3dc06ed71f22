"""A table of exact sums that rows are added to in place."""

import numpy as np

from transforms.metrics import fixed_point
from transforms.metrics.array_types import Booleans, Integers
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
            self._largest[position] = fixed_point.largest(self._words[position])
        if self._largest[position] + size > fixed_point.MAX_LAST_WORD:
            self._carry(position)
        self._largest[position] += size

    def _carry(self, position: int) -> None:
        low = self._words[position]
        carry = low >> fixed_point.WORD_BITS
        low -= carry << fixed_point.WORD_BITS
        self._largest[position] = 2.0**fixed_point.WORD_BITS
        self._make_room(position + 1, fixed_point.largest(carry))
        self._words[position + 1] += carry

    def is_used(self) -> Booleans:
        """Returns which cells have a sum that is not 0."""
        found = np.zeros(self._cells, dtype=bool)
        for each in self._words:
            found |= each != 0
        return found

    def words(self, cells: Integers) -> Integers:
        """Returns the sums of some cells, [cells, words]."""
        found = [each[cells] for each in self._words]
        return np.stack(found or [np.zeros(cells.size, dtype=np.int64)], axis=-1)
