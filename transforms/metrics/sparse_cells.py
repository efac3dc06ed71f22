"""Amounts of numbers in many groups, each number with a place: the cells of histograms.

What is held takes few bytes: a cell is a number of 32 bits, a place (a label and a block) and an
amount as narrow as all of them allow; groups are ranges of cells. For sorting, all of a cell's
coordinates are packed into one key of 64 bits.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.metrics import state
from transforms.metrics.array_types import Booleans, Integers
from transforms.metrics.float_bins import Bits
from transforms.metrics.histogram_options import HistogramOptions

Keys = NDArray[Any]
NUMBER_BITS = 32


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SparseCells:
    """Cells that have an amount, by group, number and place.

    Attributes:
        groups: In ascending order; each is a slice and a channel.
        is_binned: For each group, whether its numbers are bins.
        offsets: Where each group's cells begin, and the last one's end.
        numbers: Of the cells, ascending in each group; ordered bits, or bins.
        places: Of the cells, ascending for each number.
        amounts: [cells], rows; or [cells, words] of weights, as `fixed_point` spells them.
    """

    groups: Integers
    is_binned: Booleans
    offsets: Integers
    numbers: Bits
    places: NDArray[Any]
    amounts: NDArray[Any]

    def __post_init__(self) -> None:
        state.freeze(*self.arrays())

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Returns all arrays."""
        cells = (self.numbers, self.places, self.amounts)
        return (self.groups, self.is_binned, self.offsets, *cells)

    def of_groups(self, groups: Integers) -> "GroupCells":
        """Returns where the cells of groups are; a group without any has none."""
        if not self.groups.size:
            none = np.zeros(groups.size, dtype=np.int64)
            return GroupCells(none, none, none.astype(bool))
        where = np.minimum(np.searchsorted(self.groups, groups), self.groups.size - 1)
        is_held = self.groups[where] == groups
        starts = self.offsets[where]
        sizes = np.where(is_held, self.offsets[where + 1] - starts, 0)
        return GroupCells(starts, sizes, self.is_binned[where] & is_held)


class GroupCells(NamedTuple):
    """Where the cells of some groups are.

    Attributes:
        starts: Of the ranges of cells.
        sizes: Of the ranges.
        is_binned: Whether their numbers are bins.
    """

    starts: Integers
    sizes: Integers
    is_binned: Booleans


def cells_of_keys(
    options: HistogramOptions,
    groups: Integers,
    is_binned: Booleans,
    keys: Keys,
    amounts: NDArray[Any],
) -> SparseCells:
    """Returns the cells that sorted, distinct keys stand for.

    Args:
        options: How numbers are held.
        groups: By their ranks, which the keys hold.
        is_binned: Of the groups.
        keys: Rank, number and place, the rank highest.
        amounts: Of the cells.
    """
    kind, place_bits = keys.dtype.type, options.place_bits
    firsts = np.arange(groups.size).astype(kind) << kind(NUMBER_BITS + place_bits)
    offsets = np.append(np.searchsorted(keys, firsts), keys.size)
    used = np.flatnonzero(np.diff(offsets))
    numbers = keys >> kind(place_bits)
    numbers &= kind((1 << NUMBER_BITS) - 1)
    return SparseCells(
        groups=groups[used],
        is_binned=is_binned[used],
        offsets=np.append(offsets[used], keys.size),
        numbers=numbers.astype(np.uint32, copy=False),
        places=(keys & kind((1 << place_bits) - 1)).astype(options.place_type),
        amounts=narrowed(amounts),
    )


def narrowed(amounts: NDArray[Any]) -> NDArray[Any]:
    """Returns rows in the narrowest type that holds all of them; weights as they are."""
    if amounts.ndim > 1:
        return amounts
    return amounts.astype(np.min_scalar_type(amounts.max(initial=0)), copy=False)


def no_cells(options: HistogramOptions) -> SparseCells:
    """Returns no cells."""
    none = np.zeros(0, dtype=np.int64)
    shape = (0, 1) if options.is_weighted else 0
    amounts = np.zeros(shape, dtype=np.int64)
    return cells_of_keys(options, none, none.astype(bool), none.astype(np.uint64), amounts)
