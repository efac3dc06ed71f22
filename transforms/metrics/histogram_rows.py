"""From rows to the cells of histograms, by counting short keys."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.metrics import fixed_point, float_bins, state
from transforms.metrics.array_types import Booleans, Floats, Integers
from transforms.metrics.cell_keys import count_equal, sum_equal
from transforms.metrics.float_bins import Bits
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.joined_columns import join_columns
from transforms.metrics.keyed_cells import Codes, KeyedCells
from transforms.metrics.slice_columns import (
    CountedColumn,
    SliceColumn,
    SliceColumns,
    alone,
)
from transforms.metrics.sparse_cells import Keys, SparseCells

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
        yield from _counted_rows(options, channels, [e for e in many if e.channels == channels])


def _counted_rows(
    options: HistogramOptions, channels: tuple[int, ...], many: Sequence[HistogramRows]
) -> Iterator[SparseCells]:
    columns = [
        part
        for counted in join_columns([(each.columns, each.num_rows) for each in many])
        for part in _by_precision(options, counted)
    ]
    of_all = [each.weights for each in many if each.weights is not None]
    weights = np.concatenate(of_all) if of_all else None
    num_rows = sum(each.num_rows for each in many)
    numbers, scratch = np.empty((2, num_rows), dtype=np.uint32)
    for index, channel in enumerate(channels):
        np.concatenate([each.numbers[index] for each in many], out=numbers)
        places = np.concatenate([each.places[index % len(each.places)] for each in many])
        rows = _ChannelRows(options, channel, numbers, places, weights=weights, scratch=scratch)
        for column in columns:
            yield from rows.cells(column)


class _ChannelRows:
    """The rows of one channel."""

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
        self._extremes = np.array([numbers.min(), numbers.max()])  # of bins, too
        self._place_bits = int(places.max()).bit_length()

    def cells(self, counted: CountedColumn) -> Iterator[SparseCells]:
        """Yields the cells of a column's slices, and of those that follow from it."""
        whole = None
        parts = self._parts(counted.column)
        for column, is_binned in parts:
            found = self._counted(column, is_binned=is_binned)
            whole = found if len(parts) == 1 else None
            yield found.sparse(self._options, self._groups(column))
        for follower in counted.derived:
            if follower.parents is not None:
                added = whole and whole.of_parents(follower, counted.column.places.size)
                if added is None:
                    yield from self.cells(alone(follower.column))
                else:
                    yield added.sparse(self._options, self._groups(follower.column))

    def _groups(self, column: SliceColumn) -> Integers:
        return column.ids * self._options.num_channels + self._channel

    def _parts(self, column: SliceColumn) -> list[tuple[SliceColumn, bool]]:
        """Returns the slices of a column that are crowded, and the others; and which they are."""
        crowded = self._crowded(column)
        if crowded.all() or not crowded.any():
            return [(column, bool(crowded.all()))]
        is_crowded = crowded[column.places]
        return [(column.where(is_crowded), True), (column.where(~is_crowded), False)]

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

    def _counted(self, column: SliceColumn, *, is_binned: bool) -> KeyedCells:
        """Returns the cells of a column's slices, with bins of one precision or exact numbers."""
        mantissa_bits = self._options.mantissa_bits(int(column.ids[0])) if is_binned else None
        least, most = self._coded(self._extremes, mantissa_bits).tolist()
        codes = Codes(least, most, self._place_bits)
        keys = self._keys(column, mantissa_bits, codes)
        if self._weights is None:
            keys, amounts = count_equal(keys)
        else:
            (words, *more) = fixed_point.to_words(self._weights[column.rows])
            weights = np.stack([words.values, *(each.values for each in more)], axis=-1)
            keys, amounts = sum_equal(keys.copy(), weights)  # which may keep them
        return KeyedCells(keys, amounts, codes, is_binned)

    def _keys(self, column: SliceColumn, mantissa_bits: int | None, codes: Codes) -> Keys:
        """Returns the keys of rows.

        Those that fit into 32 bits are sorted in half the time. They lie in the scratch memory, as
        new memory costs more than to fill it.
        """
        if column.ids.size * codes.width > 1 << 32:
            keys: Keys = np.empty(column.places.size, dtype=np.uint64)
        else:
            keys = self._scratch[: column.places.size]
        kind = keys.dtype.type
        for start in range(0, keys.size, _CHUNK_ROWS):
            some = slice(start, start + _CHUNK_ROWS)
            rows = some if isinstance(column.rows, slice) else column.rows[some]
            numbers = self._coded(self._numbers[rows], mantissa_bits)
            part = np.subtract(numbers, np.uint32(codes.least), out=keys[some], dtype=kind)
            part <<= kind(codes.place_bits)
            part |= self._places[rows]
            if column.ids.size > 1:
                part += np.multiply(column.places[some], kind(codes.width), dtype=kind)
        return keys

    def _coded(self, numbers: Bits, mantissa_bits: int | None) -> Bits:
        """Returns numbers, or the bins that they are in."""
        if mantissa_bits is None:
            return numbers
        return float_bins.to_bins(numbers, self._options.scale, mantissa_bits)


def _by_precision(options: HistogramOptions, counted: CountedColumn) -> Iterator[CountedColumn]:
    """Yields columns whose slices have bins of one precision; slice 0 may have bins of its own."""
    if options.has_one_precision:
        yield counted
        return
    others = [each for each in counted.derived if each.column.ids[0]]
    if counted.column.ids[0]:
        yield replace(counted, derived=tuple(others))
        others = []
    yield from (alone(each.column) for each in others)
    for each in counted.derived:
        if not each.column.ids[0]:
            yield from map(alone, _with_overall_apart(each.column))


def _with_overall_apart(column: SliceColumn) -> list[SliceColumn]:
    if column.ids.size == 1:
        return [column]
    is_overall = column.places == 0
    return [column.where(is_overall), column.where(~is_overall)]
