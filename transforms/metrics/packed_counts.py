"""Several counts of rows in one number, so that they are added up together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.metrics.array_types import Floats
from transforms.metrics.fixed_point import Words
from transforms.metrics.narrow_numbers import Column, narrowed_whole, widened

# The sums of packed numbers have one word.
_WORD_BITS = 61
# What a row adds is exact in floats, which are multiplied in less time than integers.
_ROW_BITS = 52


@dataclass(frozen=True, slots=True)
class PackedCounts:
    """How counts share numbers: each has as many bits as it takes to count all rows.

    Attributes:
        names: Of the counts.
        max_rows: The most rows that are counted.
    """

    names: tuple[str, ...]
    max_rows: int

    @property
    def _bits(self) -> int:
        return max(1, self.max_rows.bit_length())

    @property
    def _counts_per_number(self) -> int:
        return max(1, min(_WORD_BITS // self._bits, 1 + _ROW_BITS // self._bits))

    @property
    def packed_names(self) -> tuple[str, ...]:
        """Names of the numbers."""
        return tuple(f"packed/{first}" for first in self._firsts())

    def _firsts(self) -> range:
        return range(0, len(self.names), self._counts_per_number)

    def words(self, flags: Sequence[Floats]) -> Iterator[list[Words]]:
        """Yields what rows add to each number.

        Args:
            flags: For each name 1 where a row is counted and 0 where it is not, all of one shape;
                or of no rows if none is.
        """
        for first in self._firsts():
            packed = np.zeros(0)
            for place, flag in enumerate(flags[first : first + self._counts_per_number]):
                if flag.size:
                    scaled = flag * float(1 << (place * self._bits))
                    packed = scaled if not packed.size else np.add(packed, scaled, out=packed)
            most = 2 << ((self._counts_per_number - 1) * self._bits)
            yield [Words(packed.astype(np.int64), float(most) * packed.size)] if packed.size else []

    def unpacked(self, columns: Sequence[Column]) -> dict[str, Column]:
        """Returns the counts by name.

        Args:
            columns: The sums of each number.
        """
        found = {}
        for first, column in zip(self._firsts(), columns, strict=True):
            sums = widened(column)[:, 0]
            for place, name in enumerate(self.names[first : first + self._counts_per_number]):
                counts = sums >> (place * self._bits) & ((1 << self._bits) - 1)
                found[name] = narrowed_whole(counts)
        return found
