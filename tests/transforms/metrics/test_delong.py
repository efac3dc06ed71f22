import math
from statistics import NormalDist

import numpy as np
import pytest

from tests.transforms.metrics.evaluated import batch_of, evaluate, evaluation_of
from transforms.metrics import delong, ranking
from transforms.metrics.estimate import Method
from transforms.metrics.ranking import Ranks


def _by_definition(labels, scores):
    """Returns DeLong's covariance of the AUCs of [models, rows], pair by pair."""
    above = scores[:, labels == 1][:, :, None] - scores[:, labels == 0][:, None, :]
    psi = (above > 0) + 0.5 * (above == 0)
    of_positives, of_negatives = psi.mean(axis=2), psi.mean(axis=1)
    return (
        np.cov(of_positives) / of_positives.shape[1] + np.cov(of_negatives) / of_negatives.shape[1]
    )


def _rows(seed, rows=300):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    shared = rng.normal(size=rows)
    scores = np.stack([shared + labels, shared + 1.4 * labels + 0.5 * rng.normal(size=rows)])
    return labels, np.round(scores, 1)


def _joint(cells, counts):
    """Returns the counts of a single slice."""
    labels, baseline, candidate = cells
    return delong.JointCounts(
        num_slices=1,
        slices=np.zeros(counts.size, dtype=np.int64),
        labels=labels,
        baseline=baseline,
        candidate=candidate,
        counts=counts,
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_standard_errors_are_those_of_the_definition(seed):
    labels, scores = _rows(seed)
    expected = _by_definition(labels, scores)
    bins = np.stack([np.unique(each, return_inverse=True)[1] for each in scores])
    for which in range(2):
        counts = [np.bincount(bins[which], labels == side).astype(float) for side in (1, 0)]
        assert math.isclose(
            delong.auc_standard_errors(Ranks(*counts)) ** 2, expected[which, which], rel_tol=1e-12
        )
    cells, counts = np.unique(np.stack([labels, *bins]), axis=1, return_counts=True)
    (found,) = delong.auc_difference_standard_errors(_joint(cells, counts))
    difference = expected[0, 0] + expected[1, 1] - 2 * expected[0, 1]
    assert math.isclose(found**2, difference, rel_tol=1e-12)


def test_equal_scores_differ_by_nothing_for_sure():
    labels, scores = _rows(0)
    bins = np.unique(scores[0], return_inverse=True)[1]
    cells, counts = np.unique(np.stack([labels, bins, bins]), axis=1, return_counts=True)
    assert delong.auc_difference_standard_errors(_joint(cells, counts)) == [0]


def test_one_row_of_a_class_has_no_standard_error():
    assert math.isnan(delong.auc_standard_errors(Ranks(np.array([0.0, 1.0]), np.array([5.0, 5.0]))))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(7)
    truth = 0.5 * math.erfc(-1 / 2)  # Phi(1 / sqrt 2): normal scores, means apart by 1
    covered = 0
    for _ in range(400):
        labels = np.repeat([1, 0], [150, 350])
        scores = rng.normal(size=500) + labels
        bins = np.argsort(np.argsort(scores))
        counts = [np.bincount(bins, labels == side).astype(float) for side in (1, 0)]
        ranks = Ranks(*counts)
        value = ranking.auc(ranks, is_exact=True).value
        covered += abs(value - truth) < 1.959964 * delong.auc_standard_errors(ranks)
    assert 0.92 <= covered / 400 <= 0.97


@pytest.mark.parametrize("is_weighted", [False, True])  # by the jackknife, if they are
@pytest.mark.parametrize("rows", [(20, 20), (100, 100), (10, 200)])
def test_the_interval_of_an_auc_near_1_covers_the_truth_too(rows, is_weighted):
    rng = np.random.default_rng(3)
    samples, truth = 400, 0.98
    labels = np.tile(np.repeat([1.0, 0.0], rows), samples)
    apart = math.sqrt(2) * NormalDist().inv_cdf(truth)
    scores = 1 / (1 + np.exp(-rng.normal(size=labels.size) - apart * (labels - 0.5)))
    slices = np.repeat(np.arange(samples), sum(rows)) + 1
    weights = rng.integers(4, 12, labels.size) / 8 if is_weighted else None
    evaluation = evaluation_of(num_versions=1, is_weighted=is_weighted)
    states = evaluation.update(batch_of(scores[None], labels, weights, slices))
    (column,) = [
        each
        for each in evaluation.finalise_slices(states, np.arange(samples) + 1)
        if each.metric == "auc"
    ]
    intervals = [each.estimate.interval(0.95) for each in column.values()]
    assert all(0 <= low < high <= 1 for low, high in intervals)
    assert np.mean([low <= truth <= high for low, high in intervals]) >= 0.93


def test_an_auc_that_is_not_near_1_has_a_symmetric_interval():
    labels, scores = _rows(0)
    probabilities = 1 / (1 + np.exp(-scores))
    found = evaluate(batch_of(probabilities, labels)).estimate("auc", 1)
    assert found.method is Method.DELONG
    expected = math.sqrt(_by_definition(labels, scores)[1, 1])
    assert found.standard_error == pytest.approx(expected, rel=1e-9)
    low, high = found.interval(0.95)
    assert high - found.value == pytest.approx(found.value - low)


@pytest.mark.parametrize("width", [1.0, 0.1, 0.01])
def test_scores_in_a_narrow_band_have_an_error_as_narrow(width):
    """Scores that the bins of the joint distribution cannot tell apart must not blur the error."""
    labels, scores = _rows(0, 2000)
    probabilities = np.stack([0.5 + width * scores[0] / 10, 1 / (1 + np.exp(-scores[1]))])
    covariance = _by_definition(labels, probabilities)
    expected = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    found = evaluate(batch_of(probabilities, labels)).estimate("auc", 1, is_difference=True)
    assert math.isclose(found.standard_error, expected, rel_tol=0.3)
    assert (found.method is Method.DELONG) == (width == 1)
