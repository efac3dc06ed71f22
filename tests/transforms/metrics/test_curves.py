import numpy as np
import pytest
from sklearn import metrics as sk
from statsmodels.stats import proportion

from tests.transforms.metrics.evaluated import batch_of, two_models
from transforms.metrics import EvaluationOptions, Task, create_evaluation, curves_of
from transforms.metrics.curves import MAX_POINTS


def _curves(batch, task=Task.BINARY, version=1, slice_id=0, **more):
    options = EvaluationOptions(
        task=task,
        num_versions=batch.num_versions,
        is_labelled=batch.labels is not None,
        is_weighted=batch.weights is not None,
        **more,
    )
    states = create_evaluation(options).update(batch)
    return curves_of(options, states, slice_id, version)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_a_short_roc_curve_is_that_of_scikit_learn(is_weighted):
    labels, scores = two_models(np.random.default_rng(0), MAX_POINTS - 10)
    weights = np.random.default_rng(1).random(labels.size) if is_weighted else None
    found = _curves(batch_of(scores, labels, weights)).roc
    fpr, tpr, thresholds = sk.roc_curve(
        labels, scores[1], sample_weight=weights, drop_intermediate=False
    )
    assert found.false_positive_rate == pytest.approx(fpr, abs=1e-12)
    assert found.true_positive_rate == pytest.approx(tpr, abs=1e-12)
    assert found.thresholds == pytest.approx(thresholds)


@pytest.mark.parametrize("max_distinct", [10**6, 100])
def test_a_long_curve_is_thinned_but_looks_the_same(max_distinct):
    labels, scores = two_models(np.random.default_rng(0), 20_000)
    found = _curves(batch_of(scores, labels), max_distinct=max_distinct)
    fpr, tpr, _ = sk.roc_curve(labels, scores[1])
    roc = found.roc
    assert 100 < roc.false_positive_rate.size <= MAX_POINTS
    assert (roc.false_positive_rate[0], roc.true_positive_rate[0]) == (0, 0)
    assert (roc.false_positive_rate[-1], roc.true_positive_rate[-1]) == (1, 1)
    redrawn = np.interp(fpr, roc.false_positive_rate, roc.true_positive_rate)
    assert np.abs(redrawn - tpr).max() < 0.02
    precision, recall, _ = sk.precision_recall_curve(labels, scores[1])
    curve = found.precision_recall
    assert curve.recall.size <= MAX_POINTS
    assert (np.diff(curve.recall) >= 0).all()
    where = recall > 0.05
    redrawn = np.interp(recall[where], curve.recall, curve.precision)
    assert np.abs(redrawn - precision[where]).max() < 0.02


def test_the_points_of_a_binned_curve_are_points_of_the_exact_one():
    labels, scores = two_models(np.random.default_rng(1), 2000)
    found = _curves(batch_of(scores, labels), max_distinct=100).roc
    fpr, tpr, _ = sk.roc_curve(labels, scores[1], drop_intermediate=False)
    exact = set(zip(fpr.round(12), tpr.round(12), strict=True))
    points = zip(
        found.false_positive_rate.round(12), found.true_positive_rate.round(12), strict=True
    )
    assert set(points) <= exact


@pytest.mark.parametrize("is_weighted", [False, True])
def test_reliability_is_that_of_bins_of_equal_mass(is_weighted):
    labels, scores = two_models(np.random.default_rng(2), 3000)
    weights = np.full(3000, 2.0) if is_weighted else None
    found = _curves(batch_of(scores, labels, weights)).reliability
    order = np.argsort(scores[1])
    parts = np.array_split(order, 15)
    expected = [scores[1][each].mean() for each in parts]
    assert found.mean_prediction == pytest.approx(expected, abs=1e-4)
    assert found.observed_rate == pytest.approx([labels[each].mean() for each in parts], abs=1e-2)
    assert found.weight.sum() == pytest.approx(6000 if is_weighted else 3000)
    rows = found.weight / (2 if is_weighted else 1)
    low, high = proportion.proportion_confint(found.observed_rate * rows, rows, method="wilson")
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)


def test_scores_are_counted_by_label():
    scores = np.array([[0.0, 0.5, 1.0, 0.26], [0.0, 0.5, 1.0, 0.26]])
    found = _curves(batch_of(scores, [0, 1, 1, 0])).scores
    negatives, _ = np.histogram([0.0, 0.26], found.edges)
    positives, _ = np.histogram([0.5, 1.0], found.edges)
    assert found.counts.tolist() == [negatives.tolist(), positives.tolist()]
    unlabelled = _curves(batch_of(scores))
    assert unlabelled.scores.counts.tolist() == [(negatives + positives).tolist()]
    assert unlabelled.roc is unlabelled.precision_recall is unlabelled.reliability is None


def test_the_differences_are_a_complementary_distribution():
    scores = np.array([[0.5, 0.5, 0.5, 0.5], [0.5, 0.75, 0.25, 1.0]])
    batch = batch_of(scores, [0, 1, 1, 0])
    found = _curves(batch).differences
    assert found.difference.tolist() == [0, 0.25, 0.5]
    assert found.share_at_least.tolist() == [1, 0.75, 0.25]
    assert _curves(batch, version=0).differences is None


def test_many_differences_keep_their_tail():
    rng = np.random.default_rng(3)
    predictions = np.stack([np.zeros(4000), rng.exponential(size=4000)])
    found = _curves(batch_of(predictions, np.zeros(4000)), Task.REGRESSION).differences
    assert found.difference.size <= MAX_POINTS
    assert found.difference[-1] == np.float32(predictions[1].max())
    assert found.share_at_least[-1] == 1 / 4000
    exact = (predictions[1] >= found.difference[50]).mean()
    assert found.share_at_least[50] == pytest.approx(exact, abs=1e-3)


def test_regression_has_residuals_and_predictions():
    rng = np.random.default_rng(4)
    labels = rng.normal(size=1000)
    predictions = np.stack([labels, labels + rng.normal(size=1000)])
    predictions[1, 0] = 1e6
    found = _curves(batch_of(predictions, labels), Task.REGRESSION)
    residuals = found.residuals
    assert residuals.counts.sum() == 1000
    assert -4 < residuals.edges[0] < residuals.edges[-1] < 4  # the outlier does not stretch it
    middle, _ = np.histogram(predictions[1] - labels, residuals.edges[1:-1])
    assert residuals.counts[0, 1:-1] == pytest.approx(middle, abs=1)
    assert found.scores.counts.sum() == 1000
    assert found.roc is found.confusion is None


def test_equal_numbers_are_one_bar():
    found = _curves(batch_of(np.full((2, 5), 7.0), np.zeros(5)), Task.REGRESSION).residuals
    assert found.counts.max() == found.counts.sum() == 5
    assert found.edges[0] < 7 < found.edges[-1]


def test_classes_have_a_confusion_matrix():
    rng = np.random.default_rng(5)
    scores, labels = rng.dirichlet([1, 1, 1], size=(2, 50)), rng.integers(0, 3, 50)
    for version in range(2):
        found = _curves(batch_of(scores, labels), Task.MULTICLASS, version, num_classes=3)
        expected = sk.confusion_matrix(labels, scores[version].argmax(axis=1), labels=range(3))
        assert found.confusion == pytest.approx(expected)
        assert found.roc is found.scores is None


@pytest.mark.parametrize("task", list(Task))
def test_a_slice_without_rows_has_no_points(task):
    shape = (2, 3, 2) if task is Task.MULTICLASS else (2, 3)
    batch = batch_of(np.full(shape, 0.5), [0, 1, 1])
    with np.errstate(all="raise"):
        found = _curves(batch, task, slice_id=5)
    assert found.differences.difference.size == 0
    if task is not Task.MULTICLASS:
        assert found.scores.counts.sum() == 0


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_has_no_roc(label):
    _, scores = two_models(np.random.default_rng(0), 500)
    found = _curves(batch_of(scores, np.full(500, label)))
    assert found.roc is None
    assert (found.precision_recall is None) == (label == 0)
    assert (found.reliability.observed_rate == label).all()
