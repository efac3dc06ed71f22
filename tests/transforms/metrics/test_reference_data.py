"""Every binary metric against its oracle, on survey data that statsmodels ships."""

import functools
import math

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance
from sklearn import metrics as sk
from statsmodels import api
from statsmodels.stats import contingency_tables as contingency

from tests.transforms.metrics.evaluated import batch_of, evaluate
from transforms.metrics.row_checks import ROW_COUNTS

_HALF = "threshold=0.5"
_ALL_NUMBERS = 1 << 20


@functools.cache
def _rows(name):
    """Returns labels, and float32 scores of a model of few columns and of one of all."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name == "fair":
        data = api.datasets.fair.load_pandas().data
        labels, columns = data["affairs"] > 0, data.drop(columns="affairs")
    else:
        data = api.datasets.randhie.load_pandas().data
        labels, columns = data["mdvis"] > 0, data.drop(columns="mdvis")
    labels = labels.to_numpy().astype(float)
    values = columns.to_numpy(dtype=float)
    scores = [
        make_pipeline(StandardScaler(), LogisticRegression())
        .fit(values[:, :few], labels)
        .predict_proba(values[:, :few])[:, 1]
        for few in (3, values.shape[1])
    ]
    return labels, np.array(scores, dtype=np.float32)


def _weights(name, *, is_weighted):
    labels, _ = _rows(name)
    return np.random.default_rng(0).integers(1, 9, labels.size) / 8 if is_weighted else None


def _of_order(labels, scores, weights):
    weighted = {"sample_weight": weights}
    fpr, tpr, _ = sk.roc_curve(labels, scores, drop_intermediate=False, **weighted)
    precision, recall, _ = sk.precision_recall_curve(labels, scores, **weighted)
    return {
        "auc": sk.roc_auc_score(labels, scores, **weighted),
        "average_precision": sk.average_precision_score(labels, scores, **weighted),
        "partial_auc_0.1": sk.roc_auc_score(labels, scores, max_fpr=0.1, **weighted),
        "recall_at_precision_0.9": recall[precision >= 0.9].max(),
        "ks": np.abs(tpr - fpr).max(),
    }


def _of_probabilities(labels, scores, weights):
    w = np.ones(labels.size) if weights is None else weights
    bins = np.minimum((scores * 15).astype(int), 14)
    mass, hits, predicted = (np.bincount(bins, w * each, 15) for each in (1.0, labels, scores))
    gaps = np.abs(hits - predicted)[mass > 0]
    return {
        "log_loss": sk.log_loss(labels, scores, sample_weight=w),
        "brier": sk.brier_score_loss(labels, scores, sample_weight=w),
        "mean_prediction": np.average(scores, weights=w),
        "calibration_ratio": (w * scores).sum() / (w * labels).sum(),
        "expected_calibration_error": gaps.sum() / w.sum(),
        "max_calibration_error": (gaps / mass[mass > 0]).max(),
    }


def _of_decisions(labels, scores, weights):
    decided, weighted = scores >= 0.5, {"sample_weight": weights}
    return {
        "accuracy": sk.accuracy_score(labels, decided, **weighted),
        "precision": sk.precision_score(labels, decided, **weighted),
        "recall": sk.recall_score(labels, decided, **weighted),
        "specificity": sk.recall_score(1 - labels, ~decided, **weighted),
        "f1": sk.f1_score(labels, decided, **weighted),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, decided, **weighted),
        "mcc": sk.matthews_corrcoef(labels, decided, **weighted),
        "kappa": sk.cohen_kappa_score(labels, decided, **weighted),
        "positive_rate": np.average(decided, weights=weights),
    }


def _of_pairs(labels, scores, weights):
    """Returns what compares the second model's rows with the first's."""
    before, after = scores >= 0.5
    won, lost = (after == labels) & (before != labels), (before == labels) & (after != labels)

    def share(which, among=None):
        w = np.ones(labels.size) if weights is None else weights
        among = np.ones(labels.size, bool) if among is None else among
        return w[which & among].sum() / w[among].sum()

    exact = won.sum() + lost.sum() < 1000
    test = contingency.mcnemar([[0, lost.sum()], [won.sum(), 0]], exact=exact, correction=False)
    table = [[0, lost.sum()], [won.sum(), 0]]
    plain, corrected = (
        contingency.mcnemar(table, exact=False, correction=c) for c in (False, True)
    )
    return {
        "churn": share(before != after),
        "unnecessary_churn": share(before != after) - abs(share(won) - share(lost)),
        "positive_flip_rate": share(won),
        "negative_flip_rate": share(lost),
        "win_loss_ratio": share(won) / share(lost),
        "backward_trust": share(after == labels, before == labels),
        "backward_error": share(before != labels, after != labels),
        "flips_to_positive": share(after & ~before),
        "flips_to_negative": share(before & ~after),
        "wins": won.sum(),
        "losses": lost.sum(),
        "mcnemar_p_value": test.pvalue,
        "mcnemar_statistic": plain.statistic,
        "mcnemar_corrected_statistic": corrected.statistic,
    }


def _of_drift(scores):
    # A decile ends with the last of the baseline's numbers in it.
    numbers, counts = np.unique(scores[0], return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) * 10 / counts.sum()
    deciles = np.minimum(middle.astype(int), 9)
    ends = [numbers[deciles == each].max() for each in np.unique(deciles)]
    p, q = (np.bincount(np.searchsorted(ends[:-1], each), minlength=len(ends)) for each in scores)
    sp, sq = ((each + 0.5) / (each.sum() + 0.5 * each.size) for each in (p, q))
    scale = 2 / scores.shape[1]
    return {
        "ks_drift": stats.ks_2samp(*scores).statistic,
        "js_distance": distance.jensenshannon(p, q, base=2),
        "psi": ((sp - sq) * np.log(sp / sq)).sum(),
        "psi_expected": (p.size - 1) * scale,
        "psi_noise": stats.chi2.ppf(0.95, p.size - 1) * scale,
        "equal_to_baseline": (scores[0] == scores[1]).mean(),
    }


_DATA = pytest.mark.parametrize("name", ["fair", "randhie"])


@_DATA
@pytest.mark.parametrize("is_weighted", [False, True])
def test_every_number_is_that_of_its_oracle(name, is_weighted):
    labels, scores = _rows(name)
    weights = _weights(name, is_weighted=is_weighted)
    found = evaluate(batch_of(scores, labels, weights), max_distinct=_ALL_NUMBERS)
    for version, each in enumerate(scores.astype(np.float64)):
        groups = {
            "": {**_of_order(labels, each, weights), **_of_probabilities(labels, each, weights)},
            _HALF: _of_decisions(labels, each, weights),
        }
        for sub_key, expected in groups.items():
            for metric, value in expected.items():
                estimate = found.estimate(metric, version, sub_key)
                assert math.isclose(estimate.value, value, rel_tol=1e-12, abs_tol=1e-12), metric
                assert estimate.certified_error == 0
    for metric, value in _of_pairs(labels, scores, weights).items():
        change = found.change(metric, 1, _HALF)
        tolerance = 1e-9 if metric == "mcnemar_p_value" else 1e-12
        assert math.isclose(change, value, rel_tol=tolerance, abs_tol=1e-12), metric


@_DATA
def test_the_drift_is_that_of_scipy(name):
    _, scores = _rows(name)
    found = evaluate(batch_of(scores), max_distinct=_ALL_NUMBERS)
    for metric, value in _of_drift(scores.astype(np.float64)).items():
        assert math.isclose(found.change(metric), value, rel_tol=1e-9, abs_tol=1e-12), metric
    differences = np.abs(scores[1].astype(np.float64) - scores[0]).astype(np.float32)
    for share in (0.5, 0.9, 0.99):
        expected = np.quantile(differences, share, method="inverted_cdf")
        assert found.change("absolute_difference", 1, f"quantile={share}") == expected


@_DATA
@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_calibration_line_is_that_of_statsmodels(name, is_weighted):
    labels, scores = _rows(name)
    weights = _weights(name, is_weighted=is_weighted)
    found = evaluate(batch_of(scores, labels, weights), max_distinct=_ALL_NUMBERS)
    for version, each in enumerate(scores.astype(np.float64)):
        logits = np.log(each / (1 - each))
        model = api.GLM(
            labels, api.add_constant(logits), api.families.Binomial(), freq_weights=weights
        )
        line = [found.value(f"calibration_{k}", version) for k in ("intercept", "slope")]
        assert line == pytest.approx(model.fit(tol=1e-14, maxiter=100).params, abs=1e-9)


@_DATA
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("slice_id", [0, 1])
def test_numbers_of_bins_lie_within_their_bounds(name, is_weighted, slice_id):
    labels, scores = _rows(name)
    weights = _weights(name, is_weighted=is_weighted)
    batch = batch_of(scores, labels, weights, slices=np.ones((labels.size, 1), int))
    found = evaluate(batch, slice_id=slice_id, max_distinct=100)
    exact = [_of_order(labels, each, weights) for each in scores.astype(np.float64)]
    for metric in exact[0]:
        for version in range(2):
            estimate = found.estimate(metric, version)
            truth = exact[version][metric]
            assert estimate.lower_bound - 1e-12 <= truth <= estimate.upper_bound + 1e-12, metric
        change = found.estimate(metric, 1, is_difference=True)
        truth = exact[1][metric] - exact[0][metric]
        assert change.lower_bound - 1e-12 <= truth <= change.upper_bound + 1e-12, metric
    assert 0 < found.estimate("auc", 1).certified_error < 0.02
    drift = found.estimate("ks_drift", 1, is_difference=True)
    if not is_weighted:
        truth = stats.ks_2samp(*scores).statistic
        assert drift.lower_bound - 1e-12 <= truth <= drift.upper_bound + 1e-12


def test_no_binary_metric_is_without_an_oracle():
    labels, scores = _rows("fair")
    checked = {
        *_of_order(labels, scores[0], None),
        *_of_probabilities(labels, scores[0], None),
        *_of_decisions(labels, scores[0], None),
        *_of_pairs(labels, scores, None),
        *_of_drift(scores),
        "absolute_difference",
        "calibration_intercept",
        "calibration_slope",
    }
    elsewhere = {
        *ROW_COUNTS,  # test_row_checks
        "mcnemar_mid_p_value",  # test_decision_metrics
        *(f"reliability_{each}" for each in ("weight", "label", "score")),  # test_binary_evaluation
    }
    names = evaluate(batch_of(scores, labels)).names()
    assert names - elsewhere == checked
