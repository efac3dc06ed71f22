"""From rows to the cells of histograms, by sorting short keys."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.metrics import fixed_point, float_bins
from transforms.metrics.array_types import Booleans, Floats, Integers
from transforms.metrics.cell_keys import limited, sum_equal
from transforms.metrics.float_bins import Bits
from transforms.metrics.grouping import run_starts
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.slice_columns import SliceColumn, SliceColumns
from transforms.metrics.sparse_cells import Keys, SparseCells, cells_of_keys

# Buckets for a hash of numbers, for each distinct one that is allowed.
_BUCKETS_PER_NUMBER = 4
_HASH = np.uint32(2654435769)  # 2^32 over the golden ratio (Knuth)


class ChannelRows:
    """The rows of one channel.

    What keys are made of is found once for all slices.
    """

    def __init__(
        self,
        options: HistogramOptions,
        channel: int,
        numbers: Bits,
        places: NDArray[np.uint32],
        weights: Floats | None,
    ) -> None:
        self._options, self._channel = options, channel
        self._numbers, self._places, self._weights = numbers, places, weights
        self._of_bits: dict[int, Bits] = {}

    def cells(self, columns: SliceColumns) -> Iterator[SparseCells]:
        """Yields cells of all slices; a slice may come in several of them."""
        for column in columns:
            for part in _by_precision(column):
                yield from self._cells_of(part)

    def _cells_of(self, column: SliceColumn) -> Iterator[SparseCells]:
        crowded = self._crowded(column)
        if not crowded.any():
            yield self._exact(column)
        elif crowded.all():
            yield self._binned(column)
        else:
            is_crowded = crowded[column.places]
            yield self._binned(column.where(is_crowded))
            yield self._exact(column.where(~is_crowded))

    def _crowded(self, column: SliceColumn) -> Booleans:
        """Returns which slices certainly have too many distinct numbers; a few more may.

        Numbers with different hashes are different, and not all rows are needed to see it.
        """
        most = self._options.max_distinct
        sizes = np.bincount(column.places, minlength=column.ids.size)
        crowded = sizes > most
        if crowded.any():
            large = column if crowded.all() else column.where(crowded[column.places])
            share = min(1.0, 2 * most / int(sizes[crowded].min()))
            few = slice(int(np.ceil(share * large.places.size)))
            crowded[crowded] = self._least_distinct(large, few) > most
        return crowded

    def _least_distinct(self, column: SliceColumn, few: slice) -> Integers:
        """Returns for each slice how many distinct hashes some of its rows have."""
        bits = (_BUCKETS_PER_NUMBER * self._options.max_distinct - 1).bit_length()
        hashes = self._numbers[column.rows][few] * _HASH >> np.uint32(32 - bits)
        is_seen = np.zeros(column.ids.size << bits, dtype=bool)
        is_seen[(column.places[few] << bits) + hashes] = True
        return np.count_nonzero(is_seen.reshape(column.ids.size, -1), axis=1)

    def _exact(self, column: SliceColumn) -> SparseCells:
        nothing = np.zeros(column.ids.size, dtype=bool)
        keys, number_bits = self._keys(column, self._numbers[column.rows])
        found = self._summed(keys, column)
        groups = self._groups(column)
        return limited(self._options, groups, nothing, *found, number_bits=number_bits)

    def _binned(self, column: SliceColumn) -> SparseCells:
        everything = np.ones(column.ids.size, dtype=bool)
        bins = self._bins(self._options.mantissa_bits(int(column.ids[0])))
        keys, number_bits = self._keys(column, bins[column.rows])
        found = self._summed(keys, column)
        groups = self._groups(column)
        return cells_of_keys(self._options, groups, everything, *found, number_bits=number_bits)

    def _keys(self, column: SliceColumn, numbers: Bits) -> tuple[Keys, int]:
        """Returns the keys of rows, and how many bits they leave for a number.

        Those that fit into 32 bits are sorted in half the time.
        """
        place_bits = self._options.place_bits
        number_bits = int(numbers.max(initial=0)).bit_length()
        is_short = column.ids.size << (number_bits + place_bits) <= 1 << 32
        keys: Keys = column.places.astype(np.uint32 if is_short else np.uint64)
        kind = keys.dtype.type
        keys <<= kind(number_bits)
        keys |= numbers
        keys <<= kind(place_bits)
        keys |= self._places[column.rows]
        return keys, number_bits

    def _bins(self, mantissa_bits: int) -> Bits:
        if mantissa_bits not in self._of_bits:
            self._of_bits[mantissa_bits] = float_bins.to_bins(
                self._numbers, self._options.scale, mantissa_bits
            )
        return self._of_bits[mantissa_bits]

    def _groups(self, column: SliceColumn) -> Integers:
        return column.ids * self._options.num_channels + self._channel

    def _summed(self, keys: Keys, column: SliceColumn) -> tuple[Keys, NDArray[Any]]:
        """Returns the distinct keys in order, and the rows or weights of each."""
        if self._weights is None:
            keys.sort()
            starts = run_starts(keys)
            return keys[starts], np.diff(starts, append=keys.size)
        (words, *more) = fixed_point.to_words(self._weights[column.rows])
        amounts = np.stack([words.values, *(each.values for each in more)], axis=-1)
        return sum_equal(keys, amounts)


def _by_precision(column: SliceColumn) -> Iterator[SliceColumn]:
    """Yields the column, or apart from the rest what is in slice 0, which has bins of its own."""
    if column.ids[0] or column.ids.size == 1:
        yield column
        return
    is_overall = column.places == 0
    yield column.where(is_overall)
    yield column.where(~is_overall)
