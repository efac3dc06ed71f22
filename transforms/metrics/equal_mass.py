"""Groups of neighbouring bins that hold about the same weight."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.ratios import ratio


def equal_mass_groups(
    weights: NDArray[Any], num_groups: int, sizes: Integers | None = None
) -> Integers:
    """Returns the group of each bin, ascending from 0 without gaps.

    Args:
        weights: Of the bins, [..., bins], their numbers ascending.
        num_groups: At most so many; fewer where single bins hold more than a group's share.
        sizes: How many bins there are, [...], if not all; those beyond are in the last one's group.
    """
    if not weights.size:
        return np.zeros(weights.shape, dtype=np.int64)
    middle = np.cumsum(weights, axis=-1) - weights / 2
    place = ratio(middle * num_groups, _totals(weights, sizes)[..., None], default=0)
    groups = np.minimum(place.astype(np.int64), num_groups - 1)
    is_next = groups[..., 1:] != groups[..., :-1]
    if sizes is not None:
        is_next &= np.arange(1, weights.shape[-1]) < sizes[..., None]
    starts = np.zeros(weights.shape, dtype=np.int64)
    np.cumsum(is_next, axis=-1, out=starts[..., 1:])
    return starts


def _totals(weights: NDArray[Any], sizes: Integers | None) -> Floats:
    """Returns the sums, to the last bit those of the bins there are: it decides about groups."""
    if sizes is None:
        return weights.sum(axis=-1)
    rows = zip(weights, sizes.tolist(), strict=True)
    return np.array([row[:size].sum() for row, size in rows], dtype=np.float64)
