"""From rows to the cells of histograms, by sorting short keys."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.metrics import fixed_point, float_bins, state
from transforms.metrics.array_types import Booleans, Floats, Integers
from transforms.metrics.cell_keys import limited, sum_equal
from transforms.metrics.float_bins import Bits
from transforms.metrics.grouping import run_lengths, run_starts
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.slice_columns import SliceColumn, SliceColumns, join_columns
from transforms.metrics.sparse_cells import Keys, SparseCells, cells_of_keys

# Rows that stay in the processor's cache from one step to the next.
_CHUNK_ROWS = 1 << 15
# Buckets for a hash of numbers, for each distinct one that is allowed.
_BUCKETS_PER_NUMBER = 4
_HASH = np.uint32(2654435769)  # 2^32 over the golden ratio (Knuth)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HistogramRows:
    """Rows that wait to be counted: those of several batches together cost less than one by one.

    Attributes:
        columns: The slices of the rows.
        channels: Those that the rows are added to.
        numbers: What is distributed, [channels, rows].
        places: Labels and blocks, [distributions, rows]; channels have them in turns.
        weights: Positive; None to count rows.
    """

    columns: SliceColumns
    channels: tuple[int, ...]
    numbers: Bits
    places: NDArray[Any]
    weights: Floats | None

    def __post_init__(self) -> None:
        state.freeze(*self._arrays())

    def _arrays(self) -> tuple[NDArray[Any], ...]:
        own = (self.numbers, self.places)
        return own if self.weights is None else (*own, self.weights)

    @property
    def num_rows(self) -> int:
        """Rows."""
        return int(self.numbers.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        return sum(each.nbytes for each in (*self._arrays(), *self.columns.arrays()))


def cells_of_rows(
    options: HistogramOptions, many: Sequence[HistogramRows]
) -> Iterator[SparseCells]:
    """Yields the cells of rows; a slice may come in several of them."""
    for channels in dict.fromkeys(each.channels for each in many):
        yield from _counted(options, channels, [e for e in many if e.channels == channels])


def _counted(
    options: HistogramOptions, channels: tuple[int, ...], many: Sequence[HistogramRows]
) -> Iterator[SparseCells]:
    columns = [
        part
        for column in join_columns([(each.columns, each.num_rows) for each in many])
        for part in _by_precision(column)
    ]
    of_all = [each.weights for each in many if each.weights is not None]
    weights = np.concatenate(of_all) if of_all else None
    scratch = np.empty(sum(each.num_rows for each in many), dtype=np.uint32)
    for index, channel in enumerate(channels):
        numbers = np.concatenate([each.numbers[index] for each in many])
        places = np.concatenate([each.places[index % len(each.places)] for each in many])
        rows = _ChannelRows(options, channel, numbers, places, weights=weights, scratch=scratch)
        for column in columns:
            yield from rows.cells(column)


class _ChannelRows:
    """The rows of one channel.

    What keys are made of is found once for all slices.
    """

    def __init__(
        self,
        options: HistogramOptions,
        channel: int,
        numbers: Bits,
        places: NDArray[Any],
        *,
        weights: Floats | None,
        scratch: NDArray[np.uint32],
    ) -> None:
        self._options, self._channel = options, channel
        self._numbers, self._places, self._weights = numbers, places, weights
        self._scratch = scratch
        self._codes: dict[int | None, tuple[Keys, int]] = {}

    def cells(self, column: SliceColumn) -> Iterator[SparseCells]:
        """Yields the cells of a column's slices, which have bins of one precision."""
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
        most, sizes = self._options.max_distinct, column.sizes
        crowded: Booleans = sizes > most
        if crowded.any():
            large = column if crowded.all() else column.where(crowded[column.places])
            some = slice(None, None, max(1, int(sizes[crowded].min()) // (2 * most)))
            crowded[crowded] = self._least_distinct(large, some) > most
        return crowded

    def _least_distinct(self, column: SliceColumn, some: slice) -> Integers:
        """Returns for each slice how many distinct hashes some of its rows have."""
        bits = (_BUCKETS_PER_NUMBER * self._options.max_distinct - 1).bit_length()
        rows = some if isinstance(column.rows, slice) else column.rows[some]
        hashes = self._numbers[rows] * _HASH >> np.uint32(32 - bits)
        is_seen = np.zeros(column.ids.size << bits, dtype=bool)
        is_seen[(column.places[some].astype(np.int64) << bits) + hashes] = True
        return np.count_nonzero(is_seen.reshape(column.ids.size, -1), axis=1)

    def _exact(self, column: SliceColumn) -> SparseCells:
        nothing = np.zeros(column.ids.size, dtype=bool)
        keys, number_bits = self._keys(column, None)
        found = self._summed(keys, column)
        groups = self._groups(column)
        return limited(self._options, groups, nothing, *found, number_bits=number_bits)

    def _binned(self, column: SliceColumn) -> SparseCells:
        everything = np.ones(column.ids.size, dtype=bool)
        keys, number_bits = self._keys(column, self._options.mantissa_bits(int(column.ids[0])))
        found = self._summed(keys, column)
        groups = self._groups(column)
        return cells_of_keys(self._options, groups, everything, *found, number_bits=number_bits)

    def _keys(self, column: SliceColumn, mantissa_bits: int | None) -> tuple[Keys, int]:
        """Returns the keys of rows, and how many bits they leave for a number.

        Those that fit into 32 bits are sorted in half the time. They lie in the scratch memory, as
        new memory costs more than to fill it.
        """
        if mantissa_bits not in self._codes:
            self._codes[mantissa_bits] = self._coded(mantissa_bits)
        codes, number_bits = self._codes[mantissa_bits]
        code_bits = number_bits + self._options.place_bits
        if column.ids.size << code_bits > 1 << 32:
            keys: Keys = column.places.astype(np.uint64)
            keys <<= np.uint64(code_bits)
            keys |= codes[column.rows]
        else:
            keys = self._scratch[: column.places.size]
            codes = codes[column.rows]
            for start in range(0, keys.size, _CHUNK_ROWS):
                rows = slice(start, start + _CHUNK_ROWS)
                part = column.places[rows].astype(np.uint32)
                part <<= np.uint32(code_bits % 32)  # by 32 bits it would be 0 anyway: one slice
                np.bitwise_or(part, codes[rows], out=keys[rows])
        return keys, number_bits

    def _coded(self, mantissa_bits: int | None) -> tuple[Keys, int]:
        """Returns the number and place of each row in one, and how many bits a number has."""
        numbers = self._numbers
        if mantissa_bits is not None:
            numbers = float_bins.to_bins(numbers, self._options.scale, mantissa_bits)
        number_bits = int(numbers.max(initial=0)).bit_length()
        place_bits = self._options.place_bits
        kind = np.uint32 if number_bits + place_bits <= 32 else np.uint64
        codes = np.empty(numbers.shape, dtype=kind)
        for start in range(0, codes.size, _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            part: Keys = numbers[rows].astype(kind)
            part <<= kind(place_bits)
            np.bitwise_or(part, self._places[rows], out=codes[rows])
        return codes, number_bits

    def _groups(self, column: SliceColumn) -> Integers:
        return column.ids * self._options.num_channels + self._channel

    def _summed(self, keys: Keys, column: SliceColumn) -> tuple[Keys, NDArray[Any]]:
        """Returns the distinct keys in order, and the rows or weights of each."""
        if self._weights is None:
            keys.sort()
            starts = run_starts(keys)
            return keys[starts], run_lengths(starts, keys.size)
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
