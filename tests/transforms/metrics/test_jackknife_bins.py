"""Intervals where bins hide much: rare positives, and versions that are nearly the same."""

from functools import partial

import numpy as np
import pytest

from tests.transforms.metrics.evaluated import batch_of, evaluate, evaluation_of
from transforms.metrics import float_bins, ranking
from transforms.metrics.float_bins import Scale
from transforms.metrics.histogram import Histogram
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.ranking import Ranks
from transforms.metrics.slice_columns import slice_columns
from transforms.metrics.slice_distributions import SliceDistributions

_ROWS, _POSITIVES = 60_000, 120


def _sigmoid(logits):
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def _rare(rng):
    labels = np.zeros(_ROWS)
    labels[rng.choice(_ROWS, _POSITIVES, replace=False)] = 1
    logits = rng.normal(size=_ROWS) + 2.5 * labels - 6
    return labels, np.stack([_sigmoid(logits + rng.normal(size=_ROWS) * k) for k in (0.5, 0.4)])


def _exact_error(metric, labels, scores, blocks):
    """Returns the block jackknife's standard error by sorting the rows without each block."""
    others = []
    for block in range(32):
        kept = blocks != block
        _, places = np.unique(scores[kept], return_inverse=True)
        negatives, positives = (
            np.bincount(places, labels[kept] == each).astype(float) for each in (0, 1)
        )
        others.append(float(metric(positives, negatives).value))
    return np.sqrt(31 / 32 * np.square(others - np.mean(others)).sum())


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("average_precision", lambda p, n: ranking.average_precision(Ranks(p, n), is_exact=True)),
        (
            "recall_at_precision_0.9",
            lambda p, n: ranking.recall_at_precision(Ranks(p, n), 0.9, is_exact=True),
        ),
    ],
)
def test_a_few_positives_among_many_rows_have_the_error_that_sorting_them_gives(name, metric):
    labels, scores = _rare(np.random.default_rng(2))
    batch = batch_of(scores, labels)

    found = evaluate(batch).estimate(name, 1)

    expected = _exact_error(metric, labels, scores[1], batch.blocks)
    assert found.standard_error == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("name", ["average_precision", "ks", "partial_auc_0.1"])
def test_a_few_thousand_scores_have_the_error_that_sorting_them_gives(name):
    rng = np.random.default_rng(2)
    labels = (rng.random(3000) < 0.1).astype(float)
    scores = _sigmoid(rng.normal(size=(1, 3000)) + 1.5 * labels - 2.5)
    batch = batch_of(scores, labels)

    found = evaluate(batch).estimate(name)

    metrics = {
        "average_precision": ranking.average_precision,
        "ks": ranking.ks_statistic,
        "partial_auc_0.1": partial(ranking.partial_auc, max_false_positive_rate=0.1),
    }
    expected = _exact_error(
        lambda p, n: metrics[name](Ranks(p, n), is_exact=True), labels, scores[0], batch.blocks
    )
    assert found.standard_error == pytest.approx(expected, rel=0.03)


def test_coarse_bins_share_out_both_labels():
    numbers = np.r_[np.arange(4000.0), np.arange(3960.0, 4000)]
    labels = np.repeat([0, 1], [4000, 40])
    histogram = Histogram.of_rows(
        HistogramOptions(scale=Scale.REAL, num_channels=1, num_blocks=1),
        slice_columns(np.zeros((numbers.size, 1), dtype=np.int64)),
        numbers=float_bins.to_ordered_bits(numbers)[None],
        labels=labels[None],
        blocks=np.zeros(numbers.size, dtype=np.int64),
    )
    fine = SliceDistributions.of(histogram, np.array([0]), 0)

    coarse = fine.coarsened(100)

    assert coarse.lower.shape[1] == coarse.sizes[0] <= 100
    assert (coarse.total[0, 1] > 0).sum() >= 40
    np.testing.assert_array_equal(coarse.total.sum(axis=2), [[4000, 40]])
    assert coarse.lower[0, 0] == 0
    assert coarse.upper[0, -1] == 3999
    assert (coarse.upper[0, :-1] < coarse.lower[0, 1:]).all()


def test_a_small_change_of_an_auc_is_never_certain():
    rng = np.random.default_rng(5)
    evaluation = evaluation_of()
    num_moved = 0
    for _ in range(30):
        labels = (rng.random(300) < 0.3).astype(float)
        logits = rng.normal(size=300) + 1.2 * labels - 1
        scores = np.stack([_sigmoid(logits + rng.normal(size=300) * 1e-4) for _ in range(2)])
        states = evaluation.update(batch_of(scores, labels))
        (change,) = [
            each.estimate
            for each in evaluation.finalise(states, 0)
            if each.metric == "auc" and each.is_difference
        ]
        num_moved += change.value != 0
        assert change.value == 0 or change.standard_error > 0
    assert num_moved >= 5


@pytest.mark.parametrize("weights", [None, np.arange(1.0, 61.0)])
def test_a_score_that_separates_the_classes_is_not_certain(weights):
    labels = np.arange(60) % 2
    scores = (labels * 0.5 + np.linspace(0.1, 0.4, 60))[None]
    values = evaluate(batch_of(scores, labels, weights))
    for metric in ("auc", "average_precision", "ks", "partial_auc_0.1"):
        estimate = values.estimate(metric)
        assert estimate.value == pytest.approx(1)
        low, _ = estimate.interval()
        assert low < 0.95 if metric == "auc" else np.isnan(low)
