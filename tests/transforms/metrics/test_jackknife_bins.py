"""Intervals where bins hide much: rare positives, and versions that are nearly the same."""

import numpy as np
import pytest

from tests.transforms.metrics.evaluated import batch_of, evaluate, evaluation_of
from transforms.metrics import ranking
from transforms.metrics.histogram import Distribution

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
        ("average_precision", lambda p, n: ranking.average_precision(p, n, is_exact=True)),
        (
            "recall_at_precision_0.9",
            lambda p, n: ranking.recall_at_precision(p, n, 0.9, is_exact=True),
        ),
    ],
)
def test_a_few_positives_among_many_rows_have_the_error_that_sorting_them_gives(name, metric):
    labels, scores = _rare(np.random.default_rng(2))
    batch = batch_of(scores, labels)

    found = evaluate(batch).estimate(name, 1)

    expected = _exact_error(metric, labels, scores[1], batch.blocks)
    assert found.standard_error == pytest.approx(expected, rel=0.02)


def test_coarse_bins_share_out_both_labels():
    weights = np.zeros((1, 2, 4000))
    weights[0, 0] = 1000
    weights[0, 1, -40:] = 1
    numbers = np.arange(4000.0)
    fine = Distribution(lower=numbers, upper=numbers, weights=weights, is_exact=True)

    coarse = fine.coarsened(100)

    assert coarse.lower.size <= 100
    assert (coarse.total[1] > 0).sum() >= 40
    np.testing.assert_array_equal(coarse.total.sum(axis=1), fine.total.sum(axis=1))


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
        assert np.isnan(estimate.standard_error)
