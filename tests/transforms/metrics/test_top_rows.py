import numpy as np
import pytest

from tests.transforms.metrics.evaluated import batch_of, evaluation_of, parquet_bytes
from transforms.metrics import NO_SLICE, Task, TopRow, top_rows


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


def test_zeros_of_either_sign_tie_however_they_came():
    batches = [batch_of([[each], [0.5]], [1]) for each in (0.0, -0.0, 0.0, -0.0)]
    evaluation = evaluation_of(max_top_rows=3)
    found = [evaluation.merge(map(evaluation.update, each)) for each in (batches, batches[::-1])]
    forth, back = (parquet_bytes(each["most_different"].to_table()) for each in found)
    assert forth == back


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


def test_they_are_found_by_slice_and_version():
    predictions = np.array([[0.5, 0.5], [0.5, 0.9], [0.1, 0.5]])
    batch = batch_of(predictions, [0, 1], slices=[[1], [2]], keys=["a", "b"])
    states = evaluation_of(num_versions=3).update(batch)
    (only,) = top_rows(states, 0, 1)
    assert only == TopRow(
        key="b", difference=pytest.approx(0.4), label=1.0, baseline=0.5, candidate=0.9
    )
    assert [each.key for each in top_rows(states, 0, 2)] == ["a"]
    assert [each.key for each in top_rows(states, 1, 2)] == ["a"]
    assert top_rows(states, 2, 2) == top_rows(states, 3, 1) == ()


@pytest.mark.parametrize("has_ties", [False, True])
@pytest.mark.parametrize("are_nested", [False, True])
def test_of_many_rows_the_same_are_kept_as_if_all_were_sorted(has_ties, are_nested):
    rng = np.random.default_rng(0)
    rows = 100_000
    predictions = np.stack([np.zeros(rows), rng.beta(1, 9, rows)])
    if has_ties:
        predictions = predictions.round(2)
    slices = rng.integers(1, 6, (rows, 1))
    if are_nested:  # each in one of the first ones
        slices = np.hstack([slices, 3 + 3 * slices + rng.integers(0, 3, (rows, 1))])
    else:
        slices[rng.random(rows) < 0.1] = NO_SLICE
    keys = np.array([f"{each:06}" for each in rng.permutation(rows)])
    evaluation = evaluation_of(max_top_rows=7, is_labelled=False)
    states = evaluation.update(batch_of(predictions, slices=slices, keys=keys))
    for slice_id in range(1 + slices.max()):
        where = np.flatnonzero((slices == slice_id).any(axis=1)) if slice_id else np.arange(rows)
        order = where[np.lexsort((keys[where], -predictions[1][where]))][:7]
        assert [each.key for each in top_rows(states, slice_id, 1)] == keys[order].tolist()
