import numpy as np
import pytest
from sklearn import metrics as sk

from tests.transforms.metrics.evaluated import batch_of, evaluation_of, two_models
from transforms.metrics.threshold_curve import threshold_curve


def _curve(labels, scores, **options):
    evaluation = evaluation_of(num_versions=1, **options)
    states = evaluation.update(batch_of(scores[None], labels))
    return threshold_curve(states["scores"].distribution(0, 0))


def test_the_curve_is_that_of_scikit_learn():
    labels, scores = two_models(np.random.default_rng(0), 400)
    found = _curve(labels, scores[0])
    fpr, tpr, thresholds = sk.roc_curve(labels, scores[0], drop_intermediate=False)
    assert found.false_positive_rate == pytest.approx(fpr, abs=1e-12)
    assert found.recall == pytest.approx(tpr, abs=1e-12)
    assert found.thresholds == pytest.approx(thresholds)
    precision, recall, _ = sk.precision_recall_curve(labels, scores[0])
    assert found.precision == pytest.approx(precision[::-1], abs=1e-12)
    assert found.recall == pytest.approx(recall[::-1], abs=1e-12)


def test_points_of_a_binned_curve_lie_on_the_exact_one():
    labels, scores = two_models(np.random.default_rng(1), 2000)
    found = _curve(labels, scores[0], max_distinct=100)
    exact = _curve(labels, scores[0])
    assert found.recall.size < exact.recall.size
    points = set(zip(exact.recall, exact.false_positive_rate, strict=True))
    assert set(zip(found.recall, found.false_positive_rate, strict=True)) <= points


def test_no_rows_have_no_curve():
    assert np.isnan(_curve([], np.zeros(0)).recall).all()
