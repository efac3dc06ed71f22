import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from transforms.metrics import ranking
from transforms.metrics.ranking import Ranks

_COUNTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8)


def _metrics():
    def of(metric, *args):
        return lambda p, n, *, is_exact: metric(Ranks(p, n), *args, is_exact=is_exact)

    return {
        "auc": (of(ranking.auc), sk.roc_auc_score),
        "average_precision": (of(ranking.average_precision), sk.average_precision_score),
        "ks": (of(ranking.ks_statistic), _ks),
        "partial_auc": (
            of(ranking.partial_auc, 0.3),
            lambda *a, **k: sk.roc_auc_score(*a, max_fpr=0.3, **k),
        ),
        "recall": (of(ranking.recall_at_precision, 0.7), _recall),
    }


def _ks(labels, scores, sample_weight=None):
    fpr, tpr, _ = sk.roc_curve(labels, scores, sample_weight=sample_weight, drop_intermediate=False)
    return np.abs(tpr - fpr).max()


def _recall(labels, scores, sample_weight=None):
    precision, recall, _ = sk.precision_recall_curve(labels, scores, sample_weight=sample_weight)
    return recall[precision >= 0.7].max()


_NAMES = pytest.mark.parametrize(
    "name", ["auc", "average_precision", "ks", "partial_auc", "recall"]
)


def _rows(positives, negatives):
    labels = np.repeat(np.tile([1, 0], len(positives)), np.stack([positives, negatives], 1).ravel())
    scores = np.repeat(np.arange(len(positives)), np.add(positives, negatives))
    return labels, scores


@_NAMES
@given(counts=_COUNTS)
def test_exact_bins_are_ties(name, counts):
    positives, negatives = np.array(counts).T
    metric, oracle = _metrics()[name]
    found = metric(positives.astype(float), negatives.astype(float), is_exact=True)
    if not (positives.sum() and negatives.sum()):
        assert np.isnan(found.value) or name in {"average_precision", "recall"}
        return
    expected = oracle(*_rows(positives, negatives))
    assert abs(found.value - expected) < 1e-12
    assert found.lower == found.upper == found.value


@_NAMES
@given(seed=st.integers(0, 10**6), is_weighted=st.booleans(), has_ties=st.booleans())
def test_bins_certify_what_the_rows_say(name, seed, is_weighted, has_ties):
    rng = np.random.default_rng(seed)
    rows = 60
    labels = rng.integers(0, 2, rows)
    scores = np.round(rng.random(rows) + 0.4 * labels, 2 if has_ties else 12)
    weights = rng.integers(1, 9, rows) / 4 if is_weighted else np.ones(rows)
    bins = (scores * 5).astype(int)
    positives = np.bincount(bins, weights * labels)
    negatives = np.bincount(bins, weights * (1 - labels), minlength=positives.size)
    positives = np.r_[positives, np.zeros(negatives.size - positives.size)]
    metric, oracle = _metrics()[name]
    found = metric(positives, negatives, is_exact=False)
    truth = oracle(labels, scores, sample_weight=weights)
    assert found.lower - 1e-12 <= truth <= found.upper + 1e-12
    assert found.lower <= found.value <= found.upper


@pytest.mark.parametrize("name", ["auc", "average_precision"])
def test_fine_bins_are_near_what_the_rows_say(name):
    rng = np.random.default_rng(0)
    labels = (rng.random(20_000) < 0.05).astype(int)
    scores = rng.normal(size=labels.size) + labels
    bins = np.digitize(scores, np.linspace(-4, 5, 300))
    metric, oracle = _metrics()[name]
    counts = [np.bincount(bins, labels == side, minlength=301).astype(float) for side in (1, 0)]
    found = metric(*counts, is_exact=False)
    assert abs(found.value - oracle(labels, scores)) < (found.upper - found.lower) / 20


def test_the_upper_bound_of_an_average_precision_allows_for_ties():
    labels, scores = [0] * 5 + [1] * 10 + [0] * 3, [9] * 5 + [5] * 10 + [4] * 3
    counts = np.array([10.0, 0]), np.array([3.0, 5])  # 4 and 5 share a bin
    found = ranking.average_precision(Ranks(*counts), is_exact=False)
    assert found.upper == pytest.approx(sk.average_precision_score(labels, scores))


def test_the_bounds_of_an_auc_are_reached_by_some_order():
    found = ranking.auc(Ranks(np.array([2.0]), np.array([2.0])), is_exact=False)
    orders = set(itertools.permutations([1, 1, 0, 0]))
    truths = [sk.roc_auc_score(each, range(4)) for each in orders]
    assert (min(truths), max(truths)) == (found.lower, found.upper) == (0, 1)


@_NAMES
def test_leading_axes_are_evaluated_one_by_one(name):
    rng = np.random.default_rng(1)
    positives, negatives = rng.integers(0, 9, (2, 3, 4, 7)).astype(float)
    metric = _metrics()[name][0]
    for is_exact in (True, False):
        together = metric(positives, negatives, is_exact=is_exact)
        for i, j in np.ndindex(3, 4):
            alone = metric(positives[i, j], negatives[i, j], is_exact=is_exact)
            assert [each[i, j] for each in together] == [float(each) for each in alone]
