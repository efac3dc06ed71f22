"""At the edge of what is possible a number of few rows is no certainty, though it does not vary."""

import math

import numpy as np
import pytest

from tests.transforms.metrics.evaluated import batch_of, evaluate, evaluation_of
from transforms.metrics import Method, Task
from transforms.metrics.reference_distributions import wilson_interval

_HALF = "threshold=0.5"
_CLUSTERS, _CLUSTER_ROWS = 60, 5


def _clustered(predictions, labels, **options):
    """Returns the metrics of rows of which each five are of one cluster."""
    clusters = np.arange(np.asarray(predictions).shape[1]) // _CLUSTER_ROWS
    return evaluate(batch_of(predictions, labels, keys=clusters), is_clustered=True, **options)


@pytest.fixture(name="labels")
def _labels():
    return (np.random.default_rng(0).random(_CLUSTERS * _CLUSTER_ROWS) < 0.4).astype(float)


@pytest.fixture(name="separating")
def _separating(labels):
    """Scores of two versions that both separate the classes, in other orders within them."""
    rng = np.random.default_rng(1)
    return (labels + rng.random((2, labels.size))) / 2 * 0.98 + 0.01


def _width(estimate):
    low, high = estimate.interval(0.95)
    return high - low


class TestClusters:
    @pytest.mark.parametrize("metric", ["accuracy", "positive_flip_rate", "churn"])
    def test_a_share_that_does_not_vary_has_the_interval_of_as_many_clusters(
        self, labels, separating, metric
    ):
        found = _clustered(separating, labels)
        estimate = found.estimate(metric, 1, _HALF, is_difference=metric != "accuracy")
        assert estimate.value == (1 if metric == "accuracy" else 0)
        assert estimate.method is Method.WILSON
        # Blocks tell the number of clusters within a quarter or so, and Student's t takes off a little.
        assert 0.4 * _CLUSTERS < estimate.effective_rows < 1.9 * _CLUSTERS
        expected = wilson_interval(estimate.value, estimate.effective_rows, 0.95)
        assert estimate.interval(0.95) == expected
        assert 0.02 < _width(estimate) < 0.15

    def test_a_share_that_varies_keeps_its_standard_error(self, labels):
        rng = np.random.default_rng(2)
        wrong = np.repeat(rng.random(_CLUSTERS) < 0.3, _CLUSTER_ROWS)  # whole clusters
        scores = np.where(wrong, 1 - labels, labels) * 0.8 + 0.1
        found = _clustered(np.stack([scores, scores]), labels).estimate("accuracy", 1, _HALF)
        assert found.method is Method.WILSON
        low, high = found.interval(0.95)
        assert 0 < low < found.value < high < 1
        # As sure as of about 60 rows, not of 300.
        assert 0.4 * _CLUSTERS < found.effective_rows < 1.9 * _CLUSTERS
        assert high - low == pytest.approx(2 * 2.04 * found.standard_error, rel=0.15)

    @pytest.mark.parametrize("metric", ["precision", "recall", "f1", "mcc", "kappa"])
    def test_other_metrics_of_decisions_neither(self, labels, separating, metric):
        found = _clustered(separating, labels)
        own = found.estimate(metric, 1, _HALF)
        change = found.estimate(metric, 1, _HALF, is_difference=True)
        assert (own.value, change.value) == pytest.approx((1, 0))
        for estimate in (own, change):
            assert estimate.method is Method.DELTA
            assert 0.005 < _width(estimate) < 0.3

    def test_a_change_of_nothing_is_no_certainty(self, labels, separating):
        change = _clustered(separating, labels).estimate("accuracy", 1, _HALF, is_difference=True)
        assert change.value == 0
        assert 0.005 < _width(change) < 0.2

    def test_shares_of_means(self, labels, separating):
        same = np.stack([separating[0]] * 2)
        found = _clustered(same, labels).estimate("equal_to_baseline", 1, is_difference=True)
        assert found.value == 1
        assert found.method is Method.WILSON
        assert found.interval(0.95)[0] < 0.99

    @pytest.mark.parametrize("seed", range(6))
    def test_clusters_of_one_row_are_worth_no_more_than_their_rows(self, seed):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 3, 200).astype(float)
        scores = rng.dirichlet([1, 1, 1], (2, 200))
        batch = batch_of(scores, labels, keys=np.arange(200))
        options = {"task": Task.MULTICLASS, "num_classes": 3, "top_k": (1,)}
        found = evaluate(batch, is_clustered=True, **options)
        assert found.estimate("top_1_accuracy", 1).effective_rows <= 200
        assert found.estimate("accuracy", 1).effective_rows <= 200

    def test_classes(self):
        rng = np.random.default_rng(3)
        labels = rng.integers(0, 3, _CLUSTERS * _CLUSTER_ROWS).astype(float)
        scores = np.eye(3)[labels.astype(int)] * 0.7 + 0.1
        found = _clustered(np.stack([scores] * 2), labels, task=Task.MULTICLASS, num_classes=3)
        for metric in ("accuracy", "top_1_accuracy"):
            estimate = found.estimate(metric, 1)
            assert estimate.method is Method.WILSON
            assert 0.02 < _width(estimate) < 0.15


class TestSeparatedClasses:
    def test_the_auc_has_the_interval_of_the_smaller_class(self, labels, separating):
        found = evaluate(batch_of(separating, labels)).estimate("auc", 1)
        fewer = min(labels.sum(), labels.size - labels.sum())
        assert (found.value, found.method) == (1, Method.WILSON)
        assert found.interval(0.95) == wilson_interval(1, fewer, 0.95)

    def test_two_that_separate_them_may_differ(self, labels, separating):
        own = evaluate(batch_of(separating, labels)).estimate("auc", 1)
        change = evaluate(batch_of(separating, labels)).estimate("auc", 1, is_difference=True)
        low, high = change.interval(0.95)
        assert (change.value, change.method) == (0, Method.BOUND)
        assert -low == high == pytest.approx(1 - own.interval(0.95)[0])

    def test_of_clusters_there_are_as_many_as_clusters(self, labels, separating):
        labels = np.repeat(labels[::_CLUSTER_ROWS], _CLUSTER_ROWS)
        rng = np.random.default_rng(1)
        scores = (labels + rng.random((2, labels.size))) / 2 * 0.98 + 0.01
        found = _clustered(scores, labels).estimate("auc", 1)
        assert found.method is Method.WILSON
        fewer = min(labels.sum(), labels.size - labels.sum())
        assert 0.25 * fewer / _CLUSTER_ROWS < found.effective_rows < 2.5 * fewer / _CLUSTER_ROWS

    def test_the_same_scores_do_not_differ(self, labels, separating):
        found = evaluate(batch_of(np.stack([separating[0]] * 2), labels))
        for metric in ("auc", "average_precision", "ks"):
            change = found.estimate(metric, 1, is_difference=True)
            assert change.interval(0.95) == (0, 0), metric

    def test_nor_do_they_beside_a_slice_on_which_they_do(self, labels, separating):
        evaluation, scores = evaluation_of(), separating[:, :200].copy()
        slices = np.repeat([1, 2], [60, 140])
        scores[1] = np.where(slices == 1, scores[0], labels[:200])  # in slice 2 of two scores
        states = evaluation.update(batch_of(scores, labels[:200], slices=slices))
        changes = [
            each
            for each in evaluation.finalise_slices(states, np.array([1, 2]))
            if each.metric == "auc" and each.is_difference
        ]
        (of_same,) = [v for each in changes for v in each.values() if v.slice_id == 1]
        assert of_same.estimate.interval(0.95) == (0, 0)

    @pytest.mark.parametrize("metric", ["average_precision", "ks", "partial_auc_0.1"])
    def test_what_has_no_such_bound_is_not_known(self, labels, separating, metric):
        found = evaluate(batch_of(separating, labels))
        for estimate in (found.estimate(metric, 1), found.estimate(metric, 1, is_difference=True)):
            assert estimate.method is Method.NONE
            assert math.isnan(estimate.interval(0.95)[0])

    def test_the_mean_of_several_is_no_surer_than_the_smallest_class(self):
        rng = np.random.default_rng(6)
        labels = np.repeat([0, 1, 2], [50, 30, 20])
        scores = np.stack([np.eye(3)[labels] * 0.6 + rng.random((100, 3)) * 0.2 for _ in range(2)])
        found = evaluate(batch_of(scores, labels), Task.MULTICLASS, num_classes=3)
        own = found.estimate("macro_auc", 1)
        assert own.interval(0.95) == wilson_interval(1, 20, 0.95)
        low, high = found.estimate("macro_auc", 1, is_difference=True).interval(0.95)
        assert -low == high == pytest.approx(1 - own.interval(0.95)[0])


class TestClasses:
    @pytest.fixture(name="perfect")
    def _perfect(self):
        """Two versions that are right on all rows, by other scores."""
        rng = np.random.default_rng(3)
        labels = np.arange(90) % 3
        right = np.eye(3)[labels]
        scores = np.stack([right * 0.6 + rng.random((90, 3)) * 0.2 for _ in range(2)])
        scores /= scores.sum(axis=2, keepdims=True)
        return evaluate(batch_of(scores, labels), Task.MULTICLASS, num_classes=3)

    @pytest.mark.parametrize("metric", ["class_precision", "class_recall"])
    def test_a_class_that_is_always_right_is_no_certainty(self, perfect, metric):
        found = perfect.estimate(metric, 1, "class=2")
        assert (found.value, found.method) == (1, Method.WILSON)
        assert 10 < found.effective_rows < 60  # the blocks tell that there are about 30
        assert found.interval(0.95) == wilson_interval(1, found.effective_rows, 0.95)

    @pytest.mark.parametrize("metric", ["macro_f1", "mcc", "kappa", "balanced_accuracy"])
    def test_what_else_does_not_vary_is_as_sure_as_four_wrong_rows_leave_it(self, perfect, metric):
        own = perfect.estimate(metric, 1)
        change = perfect.estimate(metric, 1, is_difference=True)
        assert (own.value, change.value) == pytest.approx((1, 0))
        for found in (own, change):
            low, high = found.interval(0.95)
            assert 0.03 < high - found.value < 0.2
            assert 0.03 < found.value - low < 0.2

    @pytest.mark.parametrize("metric", ["macro_f1", "mcc", "balanced_accuracy"])
    def test_a_version_that_is_always_wrong_is_no_certainty_either(self, metric):
        labels = np.arange(90) % 3
        scores = np.eye(3)[np.stack([labels, labels + 1]) % 3] * 0.7 + 0.1
        found = evaluate(batch_of(scores, labels), Task.MULTICLASS, num_classes=3)
        own = found.estimate(metric, 1)
        low, high = own.interval(0.95)
        assert own.value <= 0
        assert 0.02 < high - own.value < 0.2
        assert 0.02 < own.value - low < 0.2

    @pytest.mark.parametrize("metric", ["class_recall", "class_f1"])
    def test_a_class_that_is_never_decided_is_surely_bad(self, metric):
        labels = np.arange(90) % 3
        scores = np.eye(3)[np.stack([labels, np.minimum(labels, 1)])] * 0.7 + 0.1
        found = evaluate(batch_of(scores, labels), Task.MULTICLASS, num_classes=3)
        own = found.estimate(metric, 1, "class=2")
        low, high = own.interval(0.95)
        assert (own.value, own.method, low) == (0, Method.WILSON, 0)
        assert 0.03 < high < 0.4
        nothing = found.estimate("class_precision", 1, "class=2")
        assert math.isnan(nothing.interval(0.95)[0])

    def test_a_class_that_never_changes_may_change_in_one_row_of_as_many(self, perfect):
        found = perfect.estimate("class_recall", 1, "class=2", is_difference=True)
        assert found.value == 0
        assert 0.05 < found.interval(0.95)[1] < 0.25
