"""Groups of neighbouring bins that hold about the same weight."""

import numpy as np

from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.ratios import ratio


def equal_mass_groups(weights: Floats, num_groups: int) -> Integers:
    """Returns the group of each bin, ascending from 0 without gaps.

    Args:
        weights: Of the bins, their numbers ascending.
        num_groups: At most so many; fewer where single bins hold more than a group's share.
    """
    middle = np.cumsum(weights) - weights / 2
    place = ratio(middle * num_groups, weights.sum(), default=0)
    groups = np.minimum(place.astype(np.int64), num_groups - 1)
    _, positions = np.unique(groups, return_inverse=True)
    return positions
