"""How many independent rows clusters are worth, told by the blocks that they are dealt to."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from transforms.metrics.array_types import Floats
from transforms.metrics.estimate import Method
from transforms.metrics.estimates import Estimates, method_places
from transforms.metrics.ratios import ratio
from transforms.metrics.reference_distributions import t_quantile

# What varies less does by rounding.
_NOISE = 1e-12
_MIDDLE_OF_95 = 0.975


def effective_clusters(block_weights: Floats) -> Floats:
    """Returns as how many clusters of equal weight they count (Kish, Survey Sampling, 1965).

    That is W^2 / sum m^2 with m the weights of the clusters, W of all. Clusters are dealt to B blocks
    by chance, so the squared distances of the blocks' weights from their mean add up to
    (1 - 1/B) sum m^2, in the mean. Of 32 blocks that is right within a quarter.

    Args:
        block_weights: [..., blocks], blocks without rows among them.
    """
    total = block_weights.sum(axis=-1)
    squares = np.square(block_weights - block_weights.mean(axis=-1, keepdims=True)).sum(axis=-1)
    share = 1 - 1 / block_weights.shape[-1]
    found = ratio(np.square(total) * share, squares, default=math.inf)
    return np.where(total > 0, found, 0)


def clustered_shares(
    found: Estimates, block_weights: Floats, rows: ArrayLike = math.inf
) -> Estimates:
    """Returns shares of the rows of clusters, with Wilson's intervals.

    Args:
        found: The shares, with the errors of the jackknife.
        block_weights: [..., blocks].
        rows: How many rows there would be if all were independent; there are never more.
    """
    is_known = ~np.isnan(found.standard_error)
    worth = effective_share_rows(found.value, found.standard_error, block_weights, rows)
    return replace(
        found,
        methods=method_places(is_known, Method.WILSON),
        effective_rows=np.where(is_known, worth, np.nan),
    )


def effective_share_rows(
    shares: Floats, standard_errors: Floats, block_weights: Floats, rows: ArrayLike
) -> Floats:
    """Returns how many independent rows would tell a share as surely, for Wilson's interval.

    The variance tells it (Korn and Graubard, Survey Methodology 24, 1998; with Wilson's interval,
    Franco, Little, Louis and Slud, Journal of Survey Statistics and Methodology 7, 2019). Where no
    row counts, or each, there is no variance: then rows of a cluster are taken to be all alike.
    As few blocks tell it, there are fewer by the ratio of the normal quantile and Student's, squared.

    Args:
        shares: From 0 to 1, [...].
        standard_errors: Of the jackknife, [...].
        block_weights: [..., blocks].
        rows: How many there would be if all rows were independent; there are never more.
    """
    varies = standard_errors > _NOISE
    squares = np.where(varies, np.square(standard_errors), 1)
    by_variance = shares * (1 - shares) / squares
    found = np.where(varies, by_variance, effective_clusters(block_weights))
    return np.minimum(found, rows) * _few_blocks((block_weights > 0).sum(axis=-1))


def _few_blocks(num_blocks: ArrayLike) -> Floats:
    distinct, places = np.unique(num_blocks, return_inverse=True)
    normal = t_quantile(_MIDDLE_OF_95, math.inf)
    found = [
        (normal / t_quantile(_MIDDLE_OF_95, max(1, each - 1))) ** 2 for each in distinct.tolist()
    ]
    return np.array(found)[places].reshape(np.shape(num_blocks))
