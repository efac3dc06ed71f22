"""Bins of floats cut from their bits: relative widths, fixed edges, nothing to tune.

A number is first mapped to 32 bits in the order of floats. Of those, `REAL` keeps the sign, the
exponent and some bits of the mantissa, as DDSketch does with logarithms. `PROBABILITY` does so for
the distance to the nearer of 0 and 1, because saturated models put their scores next to both;
distances below 2^-25 share a bin.
"""

from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from transforms.metrics.array_types import Floats, Integers

Bits: TypeAlias = NDArray[np.uint32]

_SIGN = np.uint32(1 << 31)
_MANTISSA_BITS = 23
_SMALLEST_EXPONENT = 102  # biased: 2^-25
_OCTAVES = 24  # from 2^-25 to 1/2
# Numbers that stay in the processor's cache from one step to the next.
_CHUNK_ROWS = 1 << 15


class Scale(Enum):
    """Where the numbers lie."""

    PROBABILITY = "probability"
    REAL = "real"


def to_ordered_bits(values: Floats) -> Bits:
    """Returns values, rounded to float32, as integers in the same order; -0 is 0."""
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)
    # All bits of negative numbers are turned, the sign alone of others.
    turned = (bits.view(np.int32) >> np.int32(31)).view(np.uint32) | _SIGN
    return bits ^ turned


def from_ordered_bits(ordered: Integers | Bits) -> Floats:
    """Returns the floats of `to_ordered_bits`."""
    return _floats(_turned_back(ordered.astype(np.uint32))).astype(np.float64)


def _turned_back(ordered: Bits) -> Bits:
    turned = (~ordered.view(np.int32) >> np.int32(31)).view(np.uint32) | _SIGN
    return ordered ^ turned


def _floats(bits: Bits) -> NDArray[np.float32]:
    return bits.astype(np.uint32).view(np.float32)


def to_bins(ordered: Bits, scale: Scale, mantissa_bits: int) -> Bits:
    """Returns the bins of numbers given by their ordered bits, in the same order."""
    shift = np.uint32(_MANTISSA_BITS - mantissa_bits)
    if scale is Scale.REAL:
        return ordered >> shift
    bins = np.empty_like(ordered)
    for start in range(0, ordered.shape[-1], _CHUNK_ROWS):
        rows = (..., slice(start, start + _CHUNK_ROWS))
        bins[rows] = _to_probability_bins(ordered[rows], shift, mantissa_bits)
    return bins


def _to_probability_bins(ordered: Bits, shift: np.uint32, mantissa_bits: int) -> Bits:
    """Returns the bins of probabilities; in place as far as it goes, and without a branch."""
    scores = (ordered & ~_SIGN).view(np.float32)
    steps = np.minimum(scores, np.float32(1) - scores).view(np.uint32)
    first = np.uint32(_first(mantissa_bits))
    steps >>= shift
    np.maximum(steps, first, out=steps)
    steps -= first
    # Above 1/2 the sign is set: all bits are turned, so that steps count down from the last bin.
    np.subtract(np.float32(0.5), scores, out=scores)
    signs = scores.view(np.int32)
    signs >>= np.int32(31)
    is_high = signs.view(np.uint32)
    steps ^= is_high
    is_high &= np.uint32(2 * _half(mantissa_bits))
    steps += is_high
    return steps


def bin_edges(bins: Integers | Bits, scale: Scale, mantissa_bits: int) -> tuple[Floats, Floats]:
    """Returns the smallest and the largest number of each bin."""
    bins = bins.astype(np.int64)
    shift = _MANTISSA_BITS - mantissa_bits
    if scale is Scale.REAL:
        return from_ordered_bits(bins << shift), from_ordered_bits(((bins + 1) << shift) - 1)
    half = _half(mantissa_bits)
    is_low = bins < half
    steps = np.where(is_low, bins, 2 * half - 1 - bins)
    first = _first(mantissa_bits)
    near = np.where(steps > 0, _doubles((steps + first) << shift), 0.0)
    far = np.minimum(_doubles(((steps + first + 1) << shift) - 1), 0.5)
    return np.where(is_low, near, 1 - far), np.where(is_low, far, 1 - near)


def _doubles(bits: Integers) -> Floats:
    return _floats(bits.astype(np.uint32)).astype(np.float64)


def num_bins(scale: Scale, mantissa_bits: int) -> int:
    """Returns how many bins there are."""
    if scale is Scale.REAL:
        return 1 << (9 + mantissa_bits)
    return 2 * _half(mantissa_bits)


def _first(mantissa_bits: int) -> int:
    return _SMALLEST_EXPONENT << mantissa_bits


def _half(mantissa_bits: int) -> int:
    return (_OCTAVES << mantissa_bits) + 1
