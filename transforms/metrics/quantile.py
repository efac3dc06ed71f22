"""Quantiles of a distribution held in bins."""

import numpy as np

from transforms.metrics.array_types import Floats
from transforms.metrics.histogram import Distribution
from transforms.metrics.ranking import Bounded


def quantile(distribution: Distribution, weights: Floats, share: float) -> Bounded:
    """Returns the smallest number that at least a share of the weight is not above.

    Args:
        distribution: The bins.
        weights: [..., bins]
        share: Between 0 and 1.
    """
    cumulative = np.cumsum(weights, axis=-1)
    total = cumulative[..., -1:] if weights.shape[-1] else np.zeros((*weights.shape[:-1], 1))
    # A share that is reached but for rounding is reached.
    is_below = cumulative < share * total * (1 - 1e-15)
    place = np.minimum(is_below.sum(axis=-1), max(weights.shape[-1] - 1, 0))
    is_known = total[..., 0] > 0
    return Bounded(
        *(
            np.where(is_known, each[place] if each.size else np.nan, np.nan)
            for each in (distribution.middle, distribution.lower, distribution.upper)
        )
    )
