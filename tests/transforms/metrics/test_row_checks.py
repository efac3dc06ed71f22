import math

import numpy as np
import pytest

from servable_core.errors import InvalidArgumentError
from tests.transforms.metrics.evaluated import Values, batch_of, evaluate, evaluation_of
from transforms.metrics import Task

_NAN = math.nan


def test_what_is_wrong_with_rows_is_counted_and_the_rest_evaluated():
    scores = [[0.1, _NAN, 0.3, 0.4, 0.5, 0.6], [0.1, 0.2, 0.3, 0.4, 1.5, 0.6]]
    labels = [0, 1, _NAN, 1, 1, 2]
    weights = [1, 1, 1, -1, 1, 1]
    found = evaluate(batch_of(scores, labels, weights))
    counts = {
        name: [found.value(name, version) for version in range(2)]
        for name in (
            "rows",
            "valid_rows",
            "missing_labels",
            "bad_labels",
            "bad_weights",
            "nan_scores",
            "out_of_range_scores",
        )
    }
    assert counts == {
        "rows": [6, 6],
        "valid_rows": [1, 1],
        "missing_labels": [1, 1],
        "bad_labels": [1, 1],
        "bad_weights": [1, 1],
        "nan_scores": [1, 0],
        "out_of_range_scores": [0, 1],
    }
    assert math.isclose(found.value("brier"), 0.01)


def test_a_row_that_one_version_fails_on_counts_for_neither():
    scores = np.array([[0.2, _NAN, 0.7], [0.2, 0.9, 0.7]])
    found = evaluate(batch_of(scores, [0, 0, 1]))
    alone = evaluate(batch_of(scores[:, [0, 2]], [0, 1]))
    for metric in ("log_loss", "auc"):
        assert found.value(metric, 1) == alone.value(metric, 1)


@pytest.mark.parametrize("weight", [_NAN, math.inf, -1.0, 2.0**21])
def test_a_weight_must_be_a_moderate_number(weight):
    found = evaluate(batch_of([[0.5, 0.5]], [0, 1], [1.0, weight]))
    assert found.value("bad_weights") == 1
    assert found.value("valid_rows") == 1


@pytest.mark.parametrize(
    ("task", "score", "fault"),
    [
        (Task.REGRESSION, math.inf, "out_of_range_scores"),
        (Task.REGRESSION, -1e9, "out_of_range_scores"),
        (Task.REGRESSION, _NAN, "nan_scores"),
        (Task.BINARY, -0.1, "out_of_range_scores"),
    ],
)
def test_scores_beyond_what_can_be_summed_are_counted(task, score, fault):
    found = evaluate(batch_of([[0.5, score]], [0, 1]), task)
    assert found.value(fault) == 1
    assert found.value("valid_rows") == 1


def test_a_label_is_a_class():
    scores = np.full((1, 4, 3), 1 / 3)
    found = evaluate(batch_of(scores, [0, 2, 3, 0.5]), Task.MULTICLASS, num_classes=3)
    assert found.value("bad_labels") == 2


def test_counts_are_per_slice():
    batch = batch_of([[0.5, _NAN]], [0, 1], slices=[[1], [2]])
    evaluation = evaluation_of(num_versions=1)
    states = evaluation.update(batch)
    assert [Values(evaluation, states, each).value("nan_scores") for each in (0, 1, 2)] == [1, 0, 1]
    assert evaluation.num_valid_rows(states, 2) == 0


def test_a_batch_of_other_versions_is_refused():
    with pytest.raises(InvalidArgumentError, match="expected predictions of 2 versions, got 1"):
        evaluation_of(num_versions=2).update(batch_of([[0.5]], [1]))


@pytest.mark.parametrize(
    ("options", "columns", "message"),
    [
        ({}, {"labels": [1], "weights": [1]}, "expected no weights, got some"),
        ({"is_weighted": True}, {"labels": [1]}, "expected weights, got none"),
        ({}, {}, "expected labels, got none"),
        ({"is_labelled": False}, {"labels": [1]}, "expected no labels, got some"),
    ],
)
def test_columns_are_those_of_the_options(options, columns, message):
    with pytest.raises(InvalidArgumentError, match=message):
        evaluation_of(num_versions=1, **options).update(batch_of([[0.5]], **columns))


def test_a_block_that_the_options_do_not_have_is_refused():
    batch = batch_of(np.full((1, 50), 0.5), np.zeros(50), num_blocks=32)
    with pytest.raises(InvalidArgumentError, match="blocks must be from 0 to 15, got 0 to 31"):
        evaluation_of(num_versions=1, num_blocks=16).update(batch)
