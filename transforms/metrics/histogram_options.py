"""How histograms hold numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from servable_core.errors import InvalidArgumentError
from transforms.metrics.float_bins import Scale

# A key has room for a number of 32 bits, and leaves some for the groups that are merged together.
_MAX_PLACE_BITS = 11


@dataclass(frozen=True, kw_only=True, slots=True)
class HistogramOptions:
    """How numbers are held.

    Attributes:
        scale: Where the numbers lie.
        num_channels: Distributions per slice.
        num_blocks: Blocks of rows that are kept apart.
        is_weighted: Whether rows have weights; if not, they are counted.
        max_distinct: A distribution with more distinct numbers is binned.
        overall_mantissa_bits: 2 to its power bins per octave in slice 0, which is all rows.
        slice_mantissa_bits: The same for the other slices.
    """

    scale: Scale
    num_channels: int
    num_blocks: int
    is_weighted: bool = False
    max_distinct: int = 4096
    overall_mantissa_bits: int = 9
    slice_mantissa_bits: int = 5

    def __post_init__(self) -> None:
        for name in ("overall_mantissa_bits", "slice_mantissa_bits"):
            if not 0 <= getattr(self, name) <= 16:
                raise InvalidArgumentError(
                    f"{name} must be between 0 and 16, got {getattr(self, name)}"
                )
        if min(self.num_channels, self.num_blocks, self.max_distinct) < 1:
            raise InvalidArgumentError(f"counts must be 1 or more, got {self}")
        if self.place_bits > _MAX_PLACE_BITS:
            raise InvalidArgumentError(
                f"num_blocks must be at most {1 << (_MAX_PLACE_BITS - 1)}, got {self.num_blocks}"
            )

    def mantissa_bits(self, slice_id: int) -> int:
        """Returns the precision of the bins of a slice."""
        return self.slice_mantissa_bits if slice_id else self.overall_mantissa_bits

    @property
    def has_one_precision(self) -> bool:
        """Whether slice 0 is held as the others are: by bins as wide, or never in bins."""
        is_exact = self.max_distinct >= 1 << 32  # there are no more numbers
        return is_exact or self.overall_mantissa_bits == self.slice_mantissa_bits

    @property
    def place_bits(self) -> int:
        """Bits of a label and a block."""
        return (2 * self.num_blocks - 1).bit_length()

    @property
    def place_type(self) -> np.dtype[Any]:
        """The narrowest type that holds them."""
        return np.min_scalar_type(2 * self.num_blocks - 1)
