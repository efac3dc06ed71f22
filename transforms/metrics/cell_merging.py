"""Cells of many parts as one, a range of groups at a time, so that it takes little memory."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.metrics import fixed_point
from transforms.metrics.array_types import Booleans, Integers
from transforms.metrics.cell_keys import in_bins, limited, sum_equal
from transforms.metrics.grouping import run_lengths, run_starts
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.sparse_cells import NUMBER_BITS, Keys, SparseCells, no_cells

# Cells that are merged at a time.
_MAX_MERGED = 1 << 19


def merge_cells(options: HistogramOptions, parts: Sequence[SparseCells]) -> SparseCells:
    """Returns the cells of all parts, with too many numbers of a group in bins.

    A group that is binned in any part is binned: a part has no more distinct numbers than all.
    Groups that are in one part alone are taken as they are.
    """
    groups = np.unique(np.concatenate([each.groups for each in parts]))
    if not groups.size:
        return no_cells(options)
    ranks = [np.searchsorted(groups, each.groups) for each in parts]
    is_binned = np.zeros(groups.size, dtype=bool)
    sizes = np.zeros(groups.size, dtype=np.int64)
    num_parts = np.zeros(groups.size, dtype=np.int64)
    for part, of_part in zip(parts, ranks, strict=True):
        is_binned[of_part] |= part.is_binned
        sizes[of_part] += np.diff(part.offsets)
        num_parts[of_part] += 1
    is_shared = num_parts > 1
    merged = (
        (_merge_groups if is_shared[first] else _taken)(
            options,
            groups[first:last],
            is_binned[first:last],
            [_within(*each, first, last) for each in zip(parts, ranks, strict=True)],
        )
        for first, last in _ranges(sizes, is_shared)
    )
    return _joined(merged, int(sizes.sum()))


def _ranges(sizes: Integers, is_shared: Booleans) -> Iterator[tuple[int, int]]:
    """Yields ranges of groups, shared or not, with not too many cells together, or of one group."""
    ends = np.cumsum(sizes)
    changes = [*(np.flatnonzero(is_shared[1:] != is_shared[:-1]) + 1).tolist(), sizes.size]
    first = 0
    for change in changes:
        while first < change:
            before = int(ends[first] - sizes[first])
            last = int(np.searchsorted(ends, before + _MAX_MERGED, side="right"))
            last = min(max(last, first + 1), change)
            yield first, last
            first = last


class _Range(NamedTuple):
    """Some groups of a part.

    Attributes:
        part: The part.
        which: Its groups.
        ranks: Of these among the groups that are merged.
    """

    part: SparseCells
    which: slice
    ranks: Integers


def _within(part: SparseCells, ranks: Integers, first: int, last: int) -> _Range:
    """Returns the groups of a part whose ranks are from `first` to `last`."""
    start, stop = np.searchsorted(ranks, [first, last])
    return _Range(part, slice(int(start), int(stop)), ranks[start:stop] - first)


def _merge_groups(
    options: HistogramOptions, groups: Integers, is_binned: Booleans, parts: list[_Range]
) -> SparseCells:
    keyed = [_keyed(options, groups, is_binned, each) for each in parts]
    keys, amounts = sum_equal(
        np.concatenate([each[0] for each in keyed]), _stacked([each[1] for each in keyed])
    )
    return limited(options, groups, is_binned, keys, amounts)


def _taken(
    options: HistogramOptions,  # noqa: ARG001 - one shape for both ways
    groups: Integers,
    is_binned: Booleans,
    parts: list[_Range],
) -> SparseCells:
    """Returns groups of which each is in one of the parts."""
    ranks = np.concatenate([each.ranks for each in parts])
    owners = np.repeat(np.arange(len(parts)), [each.ranks.size for each in parts])
    owners = owners[np.argsort(ranks)]
    starts = run_starts(owners)
    sizes = np.zeros(groups.size, dtype=np.int64)
    for part, which, of_part in parts:
        sizes[of_part] = np.diff(part.offsets[which.start : which.stop + 1])
    nexts = [each.which.start for each in parts]
    pieces = []
    for owner, count in zip(owners[starts], run_lengths(starts, owners.size), strict=True):
        part, first = parts[owner].part, nexts[owner]
        nexts[owner] += int(count)
        pieces.append((part, slice(*part.offsets[[first, nexts[owner]]].tolist())))
    return SparseCells(
        groups=groups,
        is_binned=is_binned,
        offsets=np.r_[0, np.cumsum(sizes)],
        numbers=np.concatenate([part.numbers[cells] for part, cells in pieces]),
        places=np.concatenate([part.places[cells] for part, cells in pieces]),
        amounts=_stacked([part.amounts[cells] for part, cells in pieces]),
    )


def _keyed(
    options: HistogramOptions, groups: Integers, is_binned: Booleans, found: _Range
) -> tuple[Keys, NDArray[Any]]:
    """Returns the keys and amounts of some groups of a part, in bins where these groups are."""
    part, which, ranks = found
    offsets = part.offsets[which.start : which.stop + 1]
    cells = slice(int(offsets[0]), int(offsets[-1]))
    keys = np.repeat(ranks.astype(np.uint64), np.diff(offsets))
    keys = (keys << np.uint64(NUMBER_BITS)) | part.numbers[cells]
    keys = (keys << np.uint64(options.place_bits)) | part.places[cells]
    to_bin = np.zeros(groups.size, dtype=bool)
    to_bin[ranks] = is_binned[ranks] & ~part.is_binned[which]
    return in_bins(options, groups, to_bin, keys), part.amounts[cells]


def _joined(parts: Iterator[SparseCells], most_cells: int) -> SparseCells:
    """Returns parts with ascending groups as one, which never takes twice its memory.

    Args:
        parts: Made one at a time.
        most_cells: What they are at most together; pages that are never written take no memory.
    """
    first = next(parts)
    numbers = np.empty(most_cells, dtype=first.numbers.dtype)
    places = np.empty(most_cells, dtype=first.places.dtype)
    amounts = np.empty((most_cells, *first.amounts.shape[1:]), dtype=first.amounts.dtype)
    groups, is_binned, sizes, end = [], [], [], 0
    for each in chain([first], parts):
        start, end = end, end + each.numbers.size
        numbers[start:end], places[start:end] = each.numbers, each.places
        amounts = _fitting(amounts, start, each.amounts)
        amounts[start:end] = _in_words(each.amounts, amounts)
        groups.append(each.groups)
        is_binned.append(each.is_binned)
        sizes.append(np.diff(each.offsets))
    for array in (numbers, places, amounts):
        array.resize((end, *array.shape[1:]), refcheck=False)
    return SparseCells(
        groups=np.concatenate(groups),
        is_binned=np.concatenate(is_binned),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64),
        numbers=numbers,
        places=places,
        amounts=amounts,
    )


def _fitting(amounts: NDArray[Any], used: int, more: NDArray[Any]) -> NDArray[Any]:
    """Returns amounts, or their first `used` in a wider array that `more` fits into."""
    kind = np.promote_types(amounts.dtype, more.dtype)
    shape = (amounts.shape[0], *np.maximum(amounts.shape[1:], more.shape[1:]).tolist())
    if kind == amounts.dtype and shape == amounts.shape:
        return amounts
    wider = np.empty(shape, dtype=kind)
    wider[:used] = _in_words(amounts[:used], wider)
    return wider


def _in_words(amounts: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    return amounts if amounts.ndim == 1 else fixed_point.normalise(amounts, like.shape[1])


def _stacked(amounts: list[NDArray[Any]]) -> NDArray[Any]:
    if amounts[0].ndim == 1:
        return np.concatenate(amounts)
    most = max(each.shape[-1] for each in amounts)
    return np.concatenate([fixed_point.normalise(each, most) for each in amounts])
