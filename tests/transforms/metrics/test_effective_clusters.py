"""Clusters are worth fewer rows than they have, and never none of the doubt."""

import numpy as np
import pytest
from scipy import stats

from transforms.metrics.effective_clusters import effective_clusters, effective_share_rows
from transforms.metrics.reference_distributions import wilson_interval

_BLOCKS = 32


def _block_sums(rng, weights, values=None):
    """Returns the sums over blocks that clusters are dealt to, [blocks]."""
    blocks = rng.integers(0, _BLOCKS, weights.size)
    return np.bincount(blocks, weights, _BLOCKS), np.bincount(blocks, values, _BLOCKS)


@pytest.mark.parametrize(
    "sizes",
    [np.full(500, 7.0), np.arange(1, 400) % 9 + 1.0, np.full(20, 50.0), np.ones(5000)],
    ids=["equal", "unequal", "fewer than blocks", "of one row"],
)
def test_they_count_as_many_as_have_equal_weight(sizes):
    rng = np.random.default_rng(0)
    dealt = np.stack([_block_sums(rng, sizes, sizes)[0] for _ in range(2000)])
    found = effective_clusters(dealt)
    expected = sizes.sum() ** 2 / np.square(sizes).sum()
    assert 1 / np.mean(1 / found) == pytest.approx(expected, rel=0.03)


def test_equal_blocks_tell_of_no_clusters():
    assert effective_clusters(np.full((2, _BLOCKS), 5.0)).tolist() == [np.inf, np.inf]


def test_a_share_has_the_rows_that_its_variance_tells():
    block_weights = np.full((2, _BLOCKS), 100.0)
    error = np.array([0.01, 0.001])
    found = effective_share_rows(
        np.array([0.2, 0.2]), error, block_weights, np.array([3200.0, 3200.0])
    )
    few = (stats.norm.ppf(0.975) / stats.t.ppf(0.975, _BLOCKS - 1)) ** 2
    assert found == pytest.approx([0.2 * 0.8 / 0.01**2 * few, 3200 * few])  # never more than rows


def test_blocks_without_rows_do_not_tell():
    block_weights = np.r_[np.full(20, 10.0), np.zeros(12)]
    found = effective_share_rows(np.array(0.5), np.array(0.1), block_weights, np.array(200.0))
    assert found == pytest.approx(25 * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 19)) ** 2)


@pytest.mark.parametrize("share", [0.002, 0.01, 0.3, 0.99])
def test_the_interval_holds_the_truth_where_rows_of_a_cluster_are_alike(share):
    """600 clusters of five rows each: at 0.002 a third of the samples have no such row."""
    rng = np.random.default_rng(7)
    sizes = np.full(600, 5.0)
    held, widths = [], []
    for _ in range(1500):
        blocks, counted = _block_sums(rng, sizes, sizes * (rng.random(sizes.size) < share))
        value = counted.sum() / blocks.sum()
        others = (counted.sum() - counted) / (blocks.sum() - blocks)
        error = np.sqrt((_BLOCKS - 1) / _BLOCKS * np.square(others - others.mean()).sum())
        rows = effective_share_rows(np.array(value), np.array(error), blocks, np.array(3000.0))
        low, high = wilson_interval(value, float(rows), 0.95)
        held.append(low <= share <= high)
        widths.append(high - low)
    assert 0.92 <= np.mean(held) <= 0.985
    assert min(widths) > 0
