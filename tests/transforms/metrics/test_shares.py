"""Intervals of shares of rows, also where no row counts, or each does."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from tests.transforms.metrics.evaluated import batch_of, evaluate
from transforms.evaluation.significance import p_above
from transforms.metrics import Task

_ROWS = 40


def _batch(num_wrong=0):
    """Returns rows of three classes, of which the candidate gets `num_wrong` quite wrong."""
    labels = np.arange(_ROWS) % 3
    right = np.eye(3)[labels] * 0.7 + 0.1
    candidate = right.copy()
    candidate[:num_wrong] = 1 - candidate[:num_wrong]
    return batch_of(np.stack([right, candidate]), labels)


@pytest.mark.parametrize("num_wrong", [0, 7, _ROWS])
def test_the_interval_of_a_share_is_that_of_wilson(num_wrong):
    values = evaluate(_batch(num_wrong), Task.MULTICLASS, num_classes=3, top_k=(2,))
    kept = _ROWS - num_wrong
    expected = proportion_confint(kept, _ROWS, method="wilson")
    for estimate in (
        values.estimate("top_2_accuracy", 1),
        values.estimate("equal_to_baseline", 1, is_difference=True),
    ):
        assert estimate.value == pytest.approx(kept / _ROWS)
        assert estimate.interval(0.95) == pytest.approx(expected)


def test_forty_equal_rows_do_not_show_that_nearly_all_are():
    values = evaluate(_batch(), Task.MULTICLASS, num_classes=3, top_k=(2,))
    equal = values.estimate("equal_to_baseline", 1, is_difference=True)
    assert p_above(equal, 0.99, or_equal=True) > 0.05


def test_a_change_of_a_share_is_that_of_a_mean():
    values = evaluate(_batch(7), Task.MULTICLASS, num_classes=3, top_k=(2,))
    change = values.estimate("top_2_accuracy", 1, is_difference=True)
    assert change.value == pytest.approx(-7 / _ROWS)
    differences = -(np.arange(_ROWS) < 7).astype(float)
    assert change.standard_error == pytest.approx(differences.std() / np.sqrt(_ROWS))
