"""How distributions of scores move from a baseline to a candidate; labels are not needed.

Weights are [..., bins], and results are without the last axis.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from transforms.metrics.array_types import Booleans, Floats, Integers
from transforms.metrics.equal_mass import equal_mass_groups
from transforms.metrics.ratios import ratio
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

    value: Floats
    expected: Floats
    noise: Floats


class Deciles(NamedTuple):
    """Weights over the deciles of a baseline; the outer ones are open.

    Attributes:
        baseline: [..., deciles].
        candidate: The same.
        is_used: Which there are: fewer where the baseline has few distinct numbers.
    """

    baseline: Floats
    candidate: Floats
    is_used: Booleans


def deciles_of(baseline: Floats, candidate: Floats) -> Deciles:
    """Returns both distributions over the baseline's deciles, none of which is without any of it.

    Args:
        baseline: Weights per bin, numbers ascending.
        candidate: Weights on the same bins.
    """
    lead, bins = baseline.shape[:-1], baseline.shape[-1]
    if not bins:
        none = np.zeros((*lead, _DECILES))
        return Deciles(none, none, none.astype(bool))
    groups = equal_mass_groups(baseline, _DECILES)
    groups = np.take_along_axis(groups, _next_used(baseline), axis=-1)
    is_next = groups[..., 1:] != groups[..., :-1]
    deciles = np.zeros(groups.shape, dtype=np.int64)
    np.cumsum(is_next, axis=-1, out=deciles[..., 1:])
    rows = np.arange(int(np.prod(lead))).reshape(*lead, 1)
    cells = (rows * _DECILES + deciles).ravel()
    expected, actual = (
        np.bincount(cells, each.ravel(), rows.size * _DECILES).astype(np.float64)
        for each in (baseline, candidate)
    )
    shape = (*lead, _DECILES)
    is_used = np.arange(_DECILES) <= deciles[..., -1:]
    return Deciles(expected.reshape(shape), actual.reshape(shape), is_used)


def _next_used(weights: Floats) -> Integers:
    """Returns for each bin the next that has a weight, itself if it has; or else the last."""
    bins = weights.shape[-1]
    places = np.where(weights > 0, np.arange(bins), bins)
    following = np.minimum.accumulate(places[..., ::-1], axis=-1)[..., ::-1]
    last = np.where(weights > 0, np.arange(bins), -1).max(axis=-1, keepdims=True)
    own = np.where(last < 0, np.arange(bins), last)
    return np.where(following < bins, following, own)


def psi(deciles: Deciles) -> Psi:
    """Returns the population stability index of two distributions.

    Where nothing moved, (bins - 1) (1 / n + 1 / m) is expected, and chi-squared tells the noise
    (Yurdakul, 2018). Versions see the same rows, so their true noise is smaller.
    """
    bins = deciles.is_used.sum(axis=-1)
    n, m = deciles.baseline.sum(axis=-1), deciles.candidate.sum(axis=-1)
    p, q = (
        ratio(each + _SMOOTHING, (total + bins * _SMOOTHING)[..., None], default=1)
        for each, total in ((deciles.baseline, n), (deciles.candidate, m))
    )
    value = np.where(deciles.is_used, (p - q) * np.log(p / q), 0).sum(axis=-1)
    scale = ratio(1, n) + ratio(1, m)
    is_known = (n > 0) & (m > 0)
    found = (value, (bins - 1) * scale, _noise()[bins] * scale)
    return Psi(*(np.where(is_known, each, np.nan) for each in found))


@lru_cache(maxsize=1)
def _noise() -> Floats:
    """Returns for each number of deciles what chi-squared exceeds once in twenty times."""
    found = [chi_squared_quantile(0.95, each - 1) for each in range(2, _DECILES + 1)]
    return np.array([0.0, 0.0, *found])


def jensen_shannon_distance(deciles: Deciles) -> Floats:
    """Returns the root of the Jensen-Shannon divergence of two distributions in bits."""
    p, q = (ratio(each, each.sum(axis=-1, keepdims=True)) for each in deciles[:2])
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    distance: Floats = np.sqrt(np.maximum(divergence, 0.0))
    return distance


def _relative_entropy(p: Floats, q: Floats) -> Floats:
    found: Floats = (p * np.log2(np.where(p > 0, p, 1) / np.where(q > 0, q, 1))).sum(axis=-1)
    return found
