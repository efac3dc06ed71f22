"""Multiclass metrics of a whole evaluation against scikit-learn, on digits."""

import functools
import math

import numpy as np
import pytest
from sklearn import metrics as sk

from tests.transforms.metrics.evaluated import batch_of, evaluate
from transforms.metrics import Task


@functools.cache
def _digits():
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    rows, labels = load_digits(return_X_y=True)
    scores = [
        cross_val_predict(
            LogisticRegression(C=0.01), rows[:, :columns] / 16, labels, cv=3, method="predict_proba"
        )
        for columns in (30, 40)
    ]
    return labels, np.array(scores)


def _evaluate(labels, scores, weights=None, **options):
    return evaluate(
        batch_of(scores, labels, weights),
        Task.MULTICLASS,
        num_classes=scores.shape[2],
        top_k=(1, 2, 5),
        **options,
    )


@pytest.mark.parametrize("is_weighted", [False, True])
def test_every_number_of_digits_is_that_of_scikit_learn(is_weighted):
    labels, scores = _digits()
    weights = np.random.default_rng(0).integers(1, 9, labels.size) / 8 if is_weighted else None
    found = _evaluate(labels, scores, weights)
    weighted = {"sample_weight": weights}
    for version, each in enumerate(scores):
        decided = each.argmax(axis=1)
        as_held = each.astype(np.float32)
        expected = {
            "accuracy": sk.accuracy_score(labels, decided, **weighted),
            "balanced_accuracy": sk.balanced_accuracy_score(labels, decided, **weighted),
            "mcc": sk.matthews_corrcoef(labels, decided, **weighted),
            "kappa": sk.cohen_kappa_score(labels, decided, **weighted),
            "log_loss": sk.log_loss(labels, each, **weighted),
            "brier": sk.brier_score_loss(labels, each, scale_by_half=False, **weighted),
            **{
                f"top_{k}_accuracy": sk.top_k_accuracy_score(labels, each, k=k, **weighted)
                for k in (1, 2, 5)
            },
        }
        for average in ("micro", "macro", "weighted"):
            scored = sk.precision_recall_fscore_support(
                labels, decided, average=average, zero_division=0, **weighted
            )
            for name, value in zip(("precision", "recall", "f1"), scored, strict=False):
                expected[f"{average}_{name}"] = value
        aucs = [sk.roc_auc_score(labels == c, as_held[:, c], **weighted) for c in range(10)]
        expected["macro_auc"] = np.mean(aucs)
        for metric, value in expected.items():
            assert math.isclose(found.value(metric, version), value, abs_tol=1e-12), metric
        by_class = [found.value("auc", version, f"class={c}") for c in range(10)]
        assert by_class == pytest.approx(aucs, abs=1e-12)
        matrix = sk.confusion_matrix(labels, decided, **weighted)
        held = found.value("confusion", version, "label=3,decision=3")
        assert math.isclose(held, matrix[3, 3], abs_tol=1e-9)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_every_number_of_a_class_is_that_of_scikit_learn(is_weighted):
    labels, scores = _digits()
    weights = np.random.default_rng(0).integers(1, 9, labels.size) / 8 if is_weighted else None
    found = _evaluate(labels, scores, weights)
    weighted = {"sample_weight": weights}
    for version, each in enumerate(scores):
        decided, as_held = each.argmax(axis=1), each.astype(np.float32)
        of_classes = sk.precision_recall_fscore_support(
            labels, decided, zero_division=0, **weighted
        )
        for c in range(10):
            fpr, tpr, _ = sk.roc_curve(
                labels == c, as_held[:, c], drop_intermediate=False, **weighted
            )
            expected = {
                "class_precision": of_classes[0][c],
                "class_recall": of_classes[1][c],
                "class_f1": of_classes[2][c],
                "average_precision": sk.average_precision_score(
                    labels == c, as_held[:, c], **weighted
                ),
                "partial_auc_0.1": sk.roc_auc_score(
                    labels == c, as_held[:, c], max_fpr=0.1, **weighted
                ),
                "ks": np.abs(tpr - fpr).max(),
            }
            for metric, value in expected.items():
                held = found.value(metric, version, f"class={c}")
                assert math.isclose(held, value, abs_tol=1e-12), metric


def test_ranks_and_calibration_are_those_of_their_definitions():
    labels, scores = _digits()
    found = _evaluate(labels, scores)
    for version, each in enumerate(scores):
        own = each[np.arange(labels.size), labels][:, None]
        ranks = 1 + (each > own).sum(axis=1) + ((each == own).sum(axis=1) - 1) / 2
        assert math.isclose(found.value("reciprocal_rank", version), (1 / ranks).mean())
        top, is_right = each.max(axis=1), each.argmax(axis=1) == labels
        bins = np.minimum((top * 15).astype(int), 14)
        gaps = [abs((is_right - top)[bins == b].sum()) / labels.size for b in np.unique(bins)]
        held = found.value("expected_calibration_error", version)
        assert math.isclose(held, sum(gaps), abs_tol=1e-12)


def test_how_the_classes_change():
    labels, scores = _digits()
    found = _evaluate(labels, scores)
    before, after = scores.argmax(axis=2)
    assert math.isclose(found.change("churn"), (before != after).mean())
    assert math.isclose(
        found.change("negative_flip_rate"), ((before == labels) & (after != labels)).mean()
    )
    assert math.isclose(
        found.change("accuracy"), (after == labels).mean() - (before == labels).mean()
    )
    assert (before != after).mean() > 0.05
    assert found.change("wins") == ((before != labels) & (after == labels)).sum()


def test_one_vs_rest_aucs_are_certified_in_bins():
    labels, scores = _digits()
    found = _evaluate(labels, scores, max_distinct=50)
    for version, each in enumerate(scores):
        for c in range(10):
            estimate = found.estimate("auc", version, f"class={c}")
            truth = sk.roc_auc_score(labels == c, each[:, c])
            assert estimate.lower_bound <= truth <= estimate.upper_bound
            assert estimate.certified_error > 0


def test_the_matrix_differences_have_jackknife_intervals():
    labels, scores = _digits()
    estimate = _evaluate(labels, scores).estimate("macro_f1", 1, is_difference=True)
    low, high = estimate.interval()
    assert low < estimate.value < high


def test_ties_of_scores_count_half_a_rank():
    scores = np.array([[[0.4, 0.4, 0.2], [0.2, 0.6, 0.2]]])
    found = _evaluate(np.array([1.0, 0.0]), scores)
    assert found.value("reciprocal_rank") == pytest.approx((1 / 1.5 + 1 / 2.5) / 2)


def test_a_class_that_never_occurs_has_no_auc_but_does_not_hide_the_rest():
    scores = np.random.default_rng(0).dirichlet([1, 1, 1], size=(1, 60))
    found = _evaluate(np.arange(60) % 2, scores)
    assert math.isnan(found.value("auc", 0, "class=2"))
    assert 0 <= found.value("auc", 0, "class=1") <= 1
    assert 0 <= found.value("macro_f1") <= 1
