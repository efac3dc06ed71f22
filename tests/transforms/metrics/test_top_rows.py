import numpy as np
import pytest

from tests.transforms.metrics.evaluated import batch_of, evaluation_of
from transforms.metrics import Task


def _rows(evaluation, states):
    return evaluation.to_tables(states)["most_different"].to_pylist()


def test_the_most_different_rows_are_kept_with_their_keys():
    predictions = np.array([[0.5, 0.5, 0.5, 0.5], [0.5, 0.9, 0.1, 0.6]])
    batch = batch_of(predictions, [0, 1, 1, 0], slices=[[1], [1], [2], [2]], keys=list("abcd"))
    evaluation = evaluation_of(max_top_rows=2)
    found = _rows(evaluation, evaluation.update(batch))
    assert [(each["slice"], each["key"]) for each in found] == [
        (0, "b"),
        (0, "c"),
        (1, "b"),
        (1, "a"),
        (2, "c"),
        (2, "d"),
    ]
    assert found[0] == {
        "slice": 0,
        "version": 1,
        "difference": pytest.approx(0.4),
        "key": "b",
        "label": 1.0,
        "baseline": 0.5,
        "prediction": 0.9,
    }


def test_equal_differences_are_ordered_by_key_however_they_came():
    batches = [batch_of([[0.5], [0.75]], [1], keys=[each]) for each in ("c", "a", "d", "b")]
    evaluation = evaluation_of(max_top_rows=3)
    for order in (batches, batches[::-1]):
        found = _rows(evaluation, evaluation.merge(map(evaluation.update, order)))
        assert [each["key"] for each in found] == ["a", "b", "c"]


def test_classes_are_shown_by_their_number():
    predictions = np.array([[[0.7, 0.2, 0.1]], [[0.1, 0.2, 0.7]]])
    evaluation = evaluation_of(Task.MULTICLASS, num_classes=3)
    (row,) = _rows(evaluation, evaluation.update(batch_of(predictions, [2])))
    assert (row["baseline"], row["prediction"]) == (0, 2)
    assert row["difference"] == pytest.approx(0.6)


def test_rows_without_keys_have_none():
    batch = batch_of([[0.5], [0.75]])
    object.__setattr__(batch, "example_keys", None)
    evaluation = evaluation_of(is_labelled=False)
    (row,) = _rows(evaluation, evaluation.update(batch))
    assert row["key"] is None
