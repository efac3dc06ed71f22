"""Regression metrics of a whole evaluation against scikit-learn, on diabetes."""

import functools
import math

import numpy as np
import pytest
from sklearn import metrics as sk

from tests.transforms.metrics.evaluated import batch_of, evaluate
from transforms.metrics import MeanFunction, Method, RowMetric, Task


@functools.cache
def _diabetes():
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import cross_val_predict

    rows, labels = load_diabetes(return_X_y=True)
    predictions = [
        cross_val_predict(LinearRegression(), rows[:, :columns], labels, cv=5)
        for columns in (3, 10)
    ]
    return labels, np.array(predictions)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_every_number_of_diabetes_is_that_of_scikit_learn(is_weighted):
    labels, predictions = _diabetes()
    weights = np.random.default_rng(0).integers(1, 9, labels.size) / 8 if is_weighted else None
    found = evaluate(batch_of(predictions, labels, weights), Task.REGRESSION)
    weighted = {"sample_weight": weights}
    for version, each in enumerate(predictions):
        expected = {
            "mae": sk.mean_absolute_error(labels, each, **weighted),
            "mse": sk.mean_squared_error(labels, each, **weighted),
            "rmse": sk.root_mean_squared_error(labels, each, **weighted),
            "bias": np.average(each - labels, weights=weights),
            "r2": sk.r2_score(labels, each, **weighted),
            "mape": sk.mean_absolute_percentage_error(labels, each, **weighted),
        }
        for metric, value in expected.items():
            assert math.isclose(found.value(metric, version), value, rel_tol=1e-12), metric
        for share in (0.5, 0.9, 0.99):
            for metric, numbers in (
                ("error", each - labels),
                ("absolute_error", abs(each - labels)),
            ):
                value = np.quantile(
                    numbers.astype(np.float32), share, method="inverted_cdf", weights=weights
                )
                assert found.value(metric, version, f"quantile={share}") == value


def test_binned_quantiles_are_certified():
    labels, predictions = _diabetes()
    found = evaluate(batch_of(predictions, labels), Task.REGRESSION, max_distinct=10)
    for version, each in enumerate(predictions):
        truth = np.quantile(each - labels, 0.9, method="inverted_cdf")
        estimate = found.estimate("error", version, "quantile=0.9")
        assert estimate.lower_bound <= truth <= estimate.upper_bound
        assert abs(estimate.value - truth) <= 2.0**-8 * abs(truth)


def test_differences_of_predictions():
    labels, predictions = _diabetes()
    found = evaluate(batch_of(predictions, labels), Task.REGRESSION)
    differences = np.abs(predictions[1] - predictions[0]).astype(np.float32)
    expected = np.quantile(differences, 0.9, method="inverted_cdf")
    assert found.change("absolute_difference", 1, "quantile=0.9") == expected
    assert found.change("equal_to_baseline") == 0


def test_the_interval_of_a_mean_is_that_of_the_central_limit():
    labels, predictions = _diabetes()
    found = evaluate(batch_of(predictions, labels), Task.REGRESSION)
    changes = np.diff(np.abs(predictions - labels), axis=0)[0]
    estimate = found.estimate("mae", 1, is_difference=True)
    assert math.isclose(estimate.value, changes.mean(), rel_tol=1e-12)
    assert math.isclose(estimate.standard_error, changes.std() / math.sqrt(442), rel_tol=1e-9)
    assert estimate.method is Method.MEAN


def test_a_label_of_zero_has_no_percentage():
    found = evaluate(batch_of([[1.0, 3.0], [1.0, 1.0]], [0.0, 2.0]), Task.REGRESSION)
    assert found.value("mape") == 0.5
    assert found.value("undefined_rows", 0, "metric=mape") == 1
    assert found.value("mae") == 1


def test_r2_is_precise_for_labels_far_from_zero_if_centred():
    labels, predictions = _diabetes()
    far = batch_of(predictions + 2.0**24, labels + 2.0**24)
    found = evaluate(far, Task.REGRESSION, label_centre=2.0**24 + 150)
    assert math.isclose(found.value("r2"), sk.r2_score(labels, predictions[0]), abs_tol=1e-9)


def test_metrics_of_your_own_are_a_function():
    labels, predictions = _diabetes()
    pinball = RowMetric("pinball_90", lambda batch: _pinball(batch.labels - batch.predictions))
    found = evaluate(batch_of(predictions, labels), Task.REGRESSION, row_metrics=(pinball,))
    for version, each in enumerate(predictions):
        expected = sk.mean_pinball_loss(labels, each, alpha=0.9)
        assert math.isclose(found.value("pinball_90", version), expected, rel_tol=1e-12)
    assert math.isfinite(found.estimate("pinball_90", 1, is_difference=True).standard_error)


def _pinball(errors):
    return np.where(errors > 0, 0.9 * errors, -0.1 * errors)


def test_families_of_your_own_keep_their_states_beside_the_others():
    from transforms.metrics.row_means import RowMeans

    family = RowMeans(
        name="mine",
        metrics=(RowMetric("half", lambda batch: batch.predictions / 2, is_reported=False),),
        functions=(MeanFunction("doubled_again", lambda means: 2 * means["half"]),),
        num_versions=2,
        num_blocks=32,
    )
    labels, predictions = _diabetes()
    found = evaluate(batch_of(predictions, labels), Task.REGRESSION, families=(family,))
    assert math.isclose(found.value("doubled_again", 1), predictions[1].mean(), rel_tol=1e-12)
