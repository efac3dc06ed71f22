"""Binary metrics of a whole evaluation against scikit-learn, on breast_cancer and made-up rows."""

import functools
import math

import numpy as np
import pytest
from sklearn import metrics as sk

from tests.transforms.metrics.evaluated import batch_of, evaluate, two_models
from transforms.metrics import Method
from transforms.metrics.reference_distributions import wilson_interval

_HALF = "threshold=0.5"
_AUC = {
    "auc": sk.roc_auc_score,
    "average_precision": sk.average_precision_score,
    "partial_auc_0.1": functools.partial(sk.roc_auc_score, max_fpr=0.1),
}


@functools.cache
def _breast_cancer():
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, labels = load_breast_cancer(return_X_y=True)
    scores = [
        cross_val_predict(
            make_pipeline(StandardScaler(), LogisticRegression()),
            rows[:, :columns],
            labels,
            cv=5,
            method="predict_proba",
        )[:, 1]
        for columns in (3, 6)
    ]
    return labels, np.array(scores)


def test_the_published_figures_of_breast_cancer():
    labels, scores = _breast_cancer()
    found = evaluate(batch_of(scores, labels))
    figures = {
        ("auc", ""): (0.9524073780, 0.9797447281),
        ("accuracy", _HALF): (0.8945518453, 0.9261862917),
        ("log_loss", ""): (0.2526983098, 0.1712670028),
        ("brier", ""): (0.0774418587, 0.0526062618),
    }
    for (metric, sub_key), expected in figures.items():
        values = [found.value(metric, version, sub_key) for version in range(2)]
        assert values == pytest.approx(expected, abs=2e-10), metric
    assert found.change("churn", 1, _HALF) == pytest.approx(0.0738137083, abs=2e-10)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_every_number_of_breast_cancer_is_that_of_scikit_learn(is_weighted):
    labels, scores = _breast_cancer()
    weights = np.random.default_rng(0).integers(1, 9, labels.size) / 8 if is_weighted else None
    found = evaluate(batch_of(scores, labels, weights))
    for version, each in enumerate(scores):
        decided = each >= 0.5
        as_held = each.astype(np.float32)
        expected = {
            ("log_loss", ""): sk.log_loss(labels, each, sample_weight=weights),
            ("brier", ""): sk.brier_score_loss(labels, each, sample_weight=weights),
            ("calibration_ratio", ""): np.average(each, weights=weights)
            / np.average(labels, weights=weights),
            **{(name, ""): f(labels, as_held, sample_weight=weights) for name, f in _AUC.items()},
            ("precision", _HALF): sk.precision_score(labels, decided, sample_weight=weights),
            ("recall", _HALF): sk.recall_score(labels, decided, sample_weight=weights),
            ("f1", _HALF): sk.f1_score(labels, decided, sample_weight=weights),
            ("mcc", _HALF): sk.matthews_corrcoef(labels, decided, sample_weight=weights),
            ("kappa", _HALF): sk.cohen_kappa_score(labels, decided, sample_weight=weights),
        }
        for (metric, sub_key), value in expected.items():
            estimate = found.estimate(metric, version, sub_key)
            assert math.isclose(estimate.value, value, abs_tol=1e-12), metric
            assert estimate.certified_error == 0
        fpr, tpr, _ = sk.roc_curve(labels, as_held, sample_weight=weights, drop_intermediate=False)
        assert math.isclose(found.value("ks", version), np.abs(tpr - fpr).max(), abs_tol=1e-12)
        precision, recall, _ = sk.precision_recall_curve(labels, as_held, sample_weight=weights)
        best = recall[precision >= 0.9].max()
        assert math.isclose(found.value("recall_at_precision_0.9", version), best, abs_tol=1e-12)


@pytest.mark.parametrize("thresholds", [(0.2, 0.5, 0.9), (0.0, 1.0)])
def test_confusion_is_exact_at_each_threshold(thresholds):
    labels, scores = _breast_cancer()
    found = evaluate(batch_of(scores, labels), thresholds=thresholds)
    for threshold in thresholds:
        decided = scores[1] >= threshold
        value = found.value("recall", 1, f"threshold={threshold:g}")
        assert math.isclose(value, sk.recall_score(labels, decided), abs_tol=1e-12)


def test_a_perfect_auc_is_not_certain():
    scores = np.linspace(0.1, 0.9, 40)
    estimate = evaluate(batch_of([scores], scores > 0.5)).estimate("auc")
    assert estimate.value == 1
    assert estimate.interval() == wilson_interval(1, 20, 0.95)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_score_on_the_threshold_is_positive(dtype):
    found = evaluate(batch_of(np.array([[0.7, 0.3]], dtype), [1, 0]), thresholds=(0.7, 0.3))
    assert found.value("recall", 0, "threshold=0.7") == 1
    assert found.value("specificity", 0, "threshold=0.3") == 0


@pytest.mark.parametrize("is_weighted", [False, True])
def test_binned_numbers_lie_within_their_certified_bounds(is_weighted):
    rng = np.random.default_rng(0)
    labels, scores = two_models(rng, 3000)
    weights = rng.integers(1, 9, labels.size) / 8 if is_weighted else None
    batch = batch_of(scores, labels, weights, slices=np.ones((3000, 1), dtype=int))
    for slice_id in (0, 1):
        found = evaluate(batch, slice_id=slice_id, max_distinct=500)
        for version, each in enumerate(scores):
            fpr, tpr, _ = sk.roc_curve(labels, each, sample_weight=weights)
            truths = {
                name: metric(labels, each, sample_weight=weights) for name, metric in _AUC.items()
            }
            truths["ks"] = np.abs(tpr - fpr).max()
            assert found.estimate("auc", version).certified_error > 0
            for name, truth in truths.items():
                estimate = found.estimate(name, version)
                assert estimate.certified_error < 0.02
                assert estimate.lower_bound - 1e-12 <= truth <= estimate.upper_bound + 1e-12


def test_calibration_error_is_that_of_the_definition():
    labels, scores = _breast_cancer()
    found = evaluate(batch_of(scores, labels))
    for version, each in enumerate(scores):
        bins = np.minimum((each * 15).astype(int), 14)
        gaps = [
            abs((labels[bins == b] - each[bins == b]).mean()) * (bins == b).mean()
            for b in np.unique(bins)
        ]
        assert math.isclose(found.value("expected_calibration_error", version), sum(gaps))
        share, mean = (
            found.value(f"reliability_{k}", version, "bin=0") for k in ("label", "score")
        )
        assert math.isclose(share, labels[bins == 0].mean())
        assert math.isclose(mean, each[bins == 0].mean())


def test_intervals_on_independent_rows_agree_however_they_are_made():
    labels, scores = two_models(np.random.default_rng(1), 20_000)
    direct = evaluate(batch_of(scores, labels))
    blocks = evaluate(batch_of(scores, labels), is_clustered=True)
    compared = [("log_loss", ""), ("brier", ""), ("auc", ""), ("f1", _HALF), ("recall", _HALF)]
    for metric, sub_key in compared:
        for is_difference in (False, True):
            one = direct.estimate(metric, 1, sub_key, is_difference=is_difference)
            other = blocks.estimate(metric, 1, sub_key, is_difference=is_difference)
            assert one.method is not Method.JACKKNIFE
            assert other.method is Method.JACKKNIFE
            assert 0.6 < one.standard_error / other.standard_error < 1.6, metric


def test_rows_of_one_cluster_are_less_evidence():
    labels, scores = two_models(np.random.default_rng(2), 2000)
    repeated = [np.repeat(each, 10, axis=-1) for each in (labels, scores)]
    clusters = np.repeat(np.arange(2000), 10)
    found = evaluate(batch_of(repeated[1], repeated[0], keys=clusters), is_clustered=True)
    naive = evaluate(batch_of(repeated[1], repeated[0], keys=clusters))
    ratio = found.estimate("log_loss").standard_error / naive.estimate("log_loss").standard_error
    assert 2 < ratio < 5  # sqrt(10), give or take what 32 blocks tell


def test_paired_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(3)
    labels, scores = two_models(rng, 200_000)
    truth = {
        "brier": np.diff(np.square(scores - labels).mean(axis=1))[0],
        "accuracy": np.diff(((scores >= 0.5) == labels).mean(axis=1))[0],
    }
    covered = dict.fromkeys(truth, 0)
    for rows in rng.permutation(200_000).reshape(400, 500):
        batch = batch_of(scores[:, rows], labels[rows], num_blocks=2)
        found = evaluate(batch, num_blocks=2)
        for name, value in truth.items():
            sub_key = _HALF if name == "accuracy" else ""
            low, high = found.estimate(name, 1, sub_key, is_difference=True).interval(0.95)
            covered[name] += low <= value <= high
    for name, times in covered.items():
        assert 0.92 <= times / 400 <= 0.975, name
