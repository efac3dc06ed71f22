"""How the distribution of scores moves from a baseline to a candidate; labels are not needed."""

import math
from typing import NamedTuple

import numpy as np

from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.equal_mass import equal_mass_groups
from transforms.metrics.reference_distributions import chi_squared_quantile

_DECILES = 10
# What an empty bin counts, so that its logarithm is finite.
_SMOOTHING = 0.5


class Psi(NamedTuple):
    """The population stability index.

    Attributes:
        value: The index.
        expected: What two samples of one distribution would show on average.
        noise: What they would exceed once in twenty times.
    """

    value: float
    expected: float
    noise: float


def decile_weights(baseline: Floats, candidate: Floats) -> tuple[Floats, Floats]:
    """Returns both distributions over the baseline's deciles; the outer ones are open.

    There are fewer deciles where the baseline has few distinct numbers, and none is without any.

    Args:
        baseline: Weights per bin, numbers ascending.
        candidate: Weights on the same bins.
    """
    groups = equal_mass_groups(baseline, _DECILES)[_next_used(baseline)]
    _, groups = np.unique(groups, return_inverse=True)
    used = int(groups.max(initial=-1)) + 1
    return (
        np.bincount(groups, baseline, minlength=used).astype(np.float64),
        np.bincount(groups, candidate, minlength=used).astype(np.float64),
    )


def _next_used(weights: Floats) -> Integers:
    """Returns for each bin the next that has a weight, itself if it has; or else the last."""
    places = np.flatnonzero(weights)
    if not places.size:
        return np.arange(weights.size)
    following = np.searchsorted(places, np.arange(weights.size))
    return places[np.minimum(following, places.size - 1)]


def psi(baseline: Floats, candidate: Floats) -> Psi:
    """Returns the population stability index of two distributions on the same bins.

    Where nothing moved, (bins - 1) (1 / n + 1 / m) is expected, and chi-squared tells the noise
    (Yurdakul, 2018). Versions see the same rows, so their true noise is smaller.
    """
    expected, actual = decile_weights(baseline, candidate)
    bins, n, m = expected.size, expected.sum(), actual.sum()
    if not n or not m:
        return Psi(math.nan, math.nan, math.nan)
    p = (expected + _SMOOTHING) / (n + bins * _SMOOTHING)
    q = (actual + _SMOOTHING) / (m + bins * _SMOOTHING)
    scale = float(1 / n + 1 / m)
    noise = chi_squared_quantile(0.95, bins - 1) * scale if bins > 1 else 0.0
    return Psi(float(((p - q) * np.log(p / q)).sum()), (bins - 1) * scale, noise)


def jensen_shannon_distance(baseline: Floats, candidate: Floats) -> float:
    """Returns the root of the Jensen-Shannon divergence in bits over the baseline's deciles."""
    expected, actual = decile_weights(baseline, candidate)
    if not expected.sum() or not actual.sum():
        return math.nan
    p, q = expected / expected.sum(), actual / actual.sum()
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return math.sqrt(max(divergence, 0.0))


def _relative_entropy(p: Floats, q: Floats) -> float:
    return float((p * np.log2(np.where(p > 0, p, 1) / np.where(q > 0, q, 1))).sum())
