"""A table of exact sums that rows are added to in place."""

from collections.abc import Sequence
from typing import Self

import numpy as np

from transforms.metrics import fixed_point
from transforms.metrics.array_types import Booleans, Integers
from transforms.metrics.fixed_point import Words


class SumTable:
    """Sums of numbers by cell, in words as `fixed_point` spells them; not thread-safe.

    Adding to an array in place costs no more than counting, and 64 bits hold the sum of many
    numbers of 44 fractional bits: a carry is due only when their sizes say so.
    """

    def __init__(self, cells: int, words: Sequence[Integers] = ()) -> None:
        """Holds zeros, or sums.

        Args:
            cells: How many there are.
            words: Of the sums, the least word first; they become the table's own.
        """
        self._cells = cells
        self._words = list(words)
        # What the size of no cell's word exceeds.
        self._largest = [fixed_point.largest(each) for each in words]

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

    def grouped(self, groups: Integers, num_groups: int) -> Self:
        """Returns the sums over groups of equal parts of the table.

        Args:
            groups: For each part of the table, the group that it belongs to.
            num_groups: How many there are; none is empty.
        """
        order = np.argsort(groups, kind="stable")
        starts = np.searchsorted(groups[order], np.arange(num_groups))
        self._make_addable(groups.size)
        parts = [each.reshape(groups.size, -1)[order] for each in self._words]
        sums = [np.add.reduceat(each, starts, axis=0).ravel() for each in parts]
        return type(self)(num_groups * (self._cells // groups.size), sums)

    def _make_addable(self, num_parts: int) -> None:
        """Carries where the sum of equal parts of the table may be too large for a word."""
        position = 0
        while position < len(self._words):
            parts = self._words[position].reshape(num_parts, -1)
            if np.abs(parts).sum(axis=0, dtype=np.float64).max() > fixed_point.MAX_LAST_WORD:
                self._carry(position)
            position += 1

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
