"""Cells of the slices of one column and channel, by small keys.

A key is `width` times the place of the slice plus a code below `width`, of the number and its
place. Small keys take little memory and time to sort, and often all that there may be fit into a
table.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.metrics.array_types import Integers
from transforms.metrics.cell_keys import fit_in_table, limited, sum_equal
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.slice_columns import Derived
from transforms.metrics.sparse_cells import NUMBER_BITS, Keys, SparseCells, narrowed

# Cells are added up for other slices in less time than rows are counted if there are at most so
# many for a row; and fewer of them if they do not fit into a table.
_MAX_CELLS_PER_ROW = 0.75
_MAX_SORTED_PER_ROW = 0.25


class Codes(NamedTuple):
    """How a number and a place make a code.

    Attributes:
        least: The least number, which codes are relative to.
        most: The largest.
        place_bits: What all places fit into.
    """

    least: int
    most: int
    place_bits: int

    @property
    def width(self) -> int:
        """How many codes there may be."""
        return (self.most - self.least + 1) << self.place_bits


class KeyedCells(NamedTuple):
    """Cells that have an amount.

    Attributes:
        keys: In ascending order, each once.
        amounts: Rows or weights of each.
        codes: What keys are made of.
        is_binned: Whether numbers are bins.
    """

    keys: Keys
    amounts: NDArray[Any]
    codes: Codes
    is_binned: bool

    def of_parents(self, follower: Derived, num_rows: int) -> "KeyedCells | None":
        """Returns the cells of the slices of another column, which follows from this one.

        None where it takes less time to count its rows.
        """
        parents = follower.parents
        if parents is None or self.keys.size > _MAX_CELLS_PER_ROW * num_rows:
            return None
        steps = (parents - np.arange(parents.size)) * self.codes.width
        keys = self.keys + np.repeat(steps.astype(self.keys.dtype), self._sizes(parents.size))
        are_many = self.keys.size > _MAX_SORTED_PER_ROW * num_rows
        if are_many and not fit_in_table(keys, self.amounts):
            return None
        keys, amounts = sum_equal(keys, self.amounts)
        return self._replace(keys=keys, amounts=amounts)

    def _sizes(self, num_slices: int) -> Integers:
        """Returns how many cells each slice has."""
        firsts = (np.arange(num_slices) * self.codes.width).astype(self.keys.dtype)
        return np.diff(np.searchsorted(self.keys, firsts), append=self.keys.size)

    def sparse(self, options: HistogramOptions, groups: Integers) -> SparseCells:
        """Returns the cells with slices as groups; too many exact numbers of one are put in bins.

        Args:
            options: How numbers are held.
            groups: Of the slices, each of which has cells.
        """
        sizes = self._sizes(groups.size)
        firsts = (np.arange(groups.size) * self.codes.width).astype(self.keys.dtype)
        codes = self.keys - np.repeat(firsts, sizes)
        places = codes & codes.dtype.type((1 << self.codes.place_bits) - 1)
        numbers = codes >> codes.dtype.type(self.codes.place_bits)
        numbers += codes.dtype.type(self.codes.least)
        if self.is_binned:
            return SparseCells(
                groups=groups,
                is_binned=np.ones(groups.size, dtype=bool),
                offsets=np.append(0, np.cumsum(sizes)),
                numbers=numbers.astype(np.uint32, copy=False),
                places=places.astype(options.place_type),
                amounts=narrowed(self.amounts),
            )
        keys = np.repeat(np.arange(groups.size, dtype=np.uint64), sizes)
        keys = keys << np.uint64(NUMBER_BITS) | numbers
        keys = keys << np.uint64(options.place_bits) | places
        nothing = np.zeros(groups.size, dtype=bool)
        return limited(options, groups, nothing, keys, self.amounts)
