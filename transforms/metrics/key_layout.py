"""Coordinates of a state's cells, packed into one sortable integer."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from servable_core.errors import InvalidArgumentError
from transforms.metrics.array_types import Integers
from transforms.metrics.grouping import ranges

_MAX_KEY = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyLayout:
    """Names and sizes of coordinates, the slowest first.

    Attributes:
        names: Of the coordinates; the first is the slice.
        sizes: One more than the largest value of each coordinate but the first, which is bounded
            only by what an int64 leaves.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.sizes) + 1 or min(self.sizes, default=1) < 1:
            raise InvalidArgumentError(
                f"expected a positive size for each of {self.names[1:]}, got {self.sizes}"
            )

    @property
    def cells(self) -> int:
        """Cells of one slice."""
        return math.prod(self.sizes)

    @property
    def max_slice(self) -> int:
        """The largest slice id that fits."""
        return _MAX_KEY // self.cells - 1

    def pack(self, slices: Integers, *coordinates: ArrayLike) -> Integers:
        """Returns the keys of cells, whose order is that of their coordinates.

        Raises:
            InvalidArgumentError: A slice id is negative or too large to be packed.
        """
        cells = np.zeros_like(slices, dtype=np.int64)
        for size, values in zip(self.sizes, coordinates, strict=True):
            cells *= size  # in place: there may be millions
            cells += np.asarray(values)
        return self.keys_of_cells(slices, cells)

    def keys_of_cells(self, slices: Integers, cells: Integers) -> Integers:
        """Returns the keys of cells that are numbered within their slices.

        Raises:
            InvalidArgumentError: A slice id is negative or too large to be packed.
        """
        if slices.size and not 0 <= int(slices.min()) <= int(slices.max()) <= self.max_slice:
            raise InvalidArgumentError(
                f"slice ids must be between 0 and {self.max_slice:,} in a state of {self.names}, got {slices.min()} to {slices.max()}; evaluate fewer slices, versions or classes"
            )
        keys: Integers = np.multiply(slices, self.cells, dtype=np.int64)
        keys += cells
        return keys

    def unpack(self, keys: Integers) -> tuple[NDArray[np.integer[Any]], ...]:
        """Returns the coordinates of keys, the slice first, the others in narrow types."""
        found: list[NDArray[np.integer[Any]]] = []
        for size in reversed(self.sizes):
            keys, rest = np.divmod(keys, size)
            found.append(rest.astype(np.min_scalar_type(size - 1)))
        return (keys, *reversed(found))

    def rows_of(self, keys: Integers, slice_ids: Integers) -> tuple[Integers, Integers]:
        """Returns where the cells of slices lie in sorted `keys`, and in an array of all cells.

        That array is [slices, cells], flat.
        """
        firsts = slice_ids * self.cells
        starts, stops = np.searchsorted(keys, np.stack([firsts, firsts + self.cells]))
        sizes = stops - starts
        rows = ranges(starts, sizes)
        shifts = np.arange(slice_ids.size) * self.cells - firsts
        return rows, keys[rows] + np.repeat(shifts, sizes)
