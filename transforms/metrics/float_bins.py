"""Bins of floats cut from their bits: relative widths, fixed edges, nothing to tune.

A number is first mapped to 32 bits in the order of floats. Of those, `REAL` keeps the sign, the
exponent and some bits of the mantissa, as DDSketch does with logarithms. `PROBABILITY` does so for
the distance to the nearer of 0 and 1, because saturated models put their scores next to both;
distances below 2^-25 share a bin.
"""

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from transforms.metrics.array_types import Floats, Integers

_SIGN = np.uint32(1 << 31)
_MANTISSA_BITS = 23
_SMALLEST_EXPONENT = 102  # biased: 2^-25
_OCTAVES = 24  # from 2^-25 to 1/2


class Scale(Enum):
    """Where the numbers lie."""

    PROBABILITY = "probability"
    REAL = "real"


def to_ordered_bits(values: Floats) -> Integers:
    """Returns float32 values as integers below 2^32 in the same order; -0 is 0."""
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN).astype(np.int64)


def from_ordered_bits(ordered: Integers) -> Floats:
    """Returns the floats of `to_ordered_bits`."""
    bits = ordered.astype(np.uint32)
    return _floats(np.where(bits & _SIGN, bits & ~_SIGN, ~bits))


def _floats(bits: NDArray[np.uint32]) -> Floats:
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def to_bins(ordered: Integers, scale: Scale, mantissa_bits: int) -> Integers:
    """Returns the bins of numbers given by their ordered bits, in the same order."""
    shift = _MANTISSA_BITS - mantissa_bits
    if scale is Scale.REAL:
        return ordered >> shift
    scores = from_ordered_bits(ordered)
    is_low = scores <= 0.5
    distance = np.where(is_low, scores, 1 - scores).astype(np.float32)
    steps = (distance.view(np.uint32).astype(np.int64) >> shift) - _first(mantissa_bits)
    steps = np.maximum(steps, 0)
    return np.where(is_low, steps, 2 * _half(mantissa_bits) - 1 - steps)


def bin_edges(bins: Integers, scale: Scale, mantissa_bits: int) -> tuple[Floats, Floats]:
    """Returns the smallest and the largest number of each bin."""
    shift = _MANTISSA_BITS - mantissa_bits
    if scale is Scale.REAL:
        return from_ordered_bits(bins << shift), from_ordered_bits(((bins + 1) << shift) - 1)
    half = _half(mantissa_bits)
    is_low = bins < half
    steps = np.where(is_low, bins, 2 * half - 1 - bins)
    first = _first(mantissa_bits)
    near = np.where(steps > 0, _floats(((steps + first) << shift).astype(np.uint32)), 0.0)
    far = np.minimum(_floats((((steps + first + 1) << shift) - 1).astype(np.uint32)), 0.5)
    return np.where(is_low, near, 1 - far), np.where(is_low, far, 1 - near)


def num_bins(scale: Scale, mantissa_bits: int) -> int:
    """Returns how many bins there are."""
    if scale is Scale.REAL:
        return 1 << (9 + mantissa_bits)
    return 2 * _half(mantissa_bits)


def _first(mantissa_bits: int) -> int:
    return _SMALLEST_EXPONENT << mantissa_bits


def _half(mantissa_bits: int) -> int:
    return (_OCTAVES << mantissa_bits) + 1
