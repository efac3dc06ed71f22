"""Merging: who may share a model call."""

from concurrent.futures import Future

import numpy as np
import pytest

from servable_core.batching.merging import group_by_layout, merge_inputs, num_rows
from servable_core.batching.ragged_array import RaggedArray
from servable_core.batching.session_task import SessionTask
from servable_core.errors import InvalidArgumentError


def task(**inputs):
    rows = num_rows(inputs, "m", {"k"})
    return SessionTask(inputs, rows, 0.0, Future(), unbatched={"k"})


def groups_of(*tasks):
    groups = group_by_layout(tasks, {"k"})
    return [[tasks.index(each) for each in group] for group in groups]


X = np.zeros(2)
RAGGED = RaggedArray.from_rows([[1], [2, 3]], "int64")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"x": X}, {"y": X}),
        ({"x": X}, {"x": X, "y": X}),
        ({"x": X}, {"x": X.astype(np.float32)}),
        ({"x": X}, {"x": np.zeros((2, 1))}),
        ({"x": X}, {"x": X[:0]}),
        ({"x": np.zeros((2, 3), np.int64)}, {"x": RAGGED}),
        ({"x": X, "k": np.int32(1)}, {"x": X, "k": np.int32(2)}),
        ({"x": X, "k": np.int32(0)}, {"x": X, "k": np.float32(0)}),
        ({"x": X, "k": np.zeros((1, 2))}, {"x": X, "k": np.zeros((2, 1))}),
        ({"x": X, "k": "en"}, {"x": X, "k": "de"}),
        ({"x": X, "k": np.array([b"a"], object)}, {"x": X, "k": np.array([b"b"], object)}),
    ],
)
def test_what_differs_is_not_merged(first, second):
    """Names, types, shapes, whether there are rows, or values of inputs without a batch dimension."""
    assert groups_of(task(**first), task(**second), task(**first)) == [[0, 2], [1]]


@pytest.mark.parametrize(
    "inputs",
    [
        lambda: {"x": np.ones(3)},
        lambda: {"x": RaggedArray.from_rows([[1]], "int64")},
        lambda: {"x": X, "k": 3},
        lambda: {"x": X, "k": np.array([bytes([1, 2])], object)},
        lambda: {"x": np.zeros((0, 4))},
    ],
    ids=["dense", "ragged", "number", "objects", "no rows"],
)
def test_what_agrees_is_merged(inputs):
    """However many rows, of whatever lengths; equal values need not be the same objects."""
    assert groups_of(task(**inputs()), task(**inputs())) == [[0, 1]]


def test_merged_inputs_are_in_order():
    """Dense and ragged; those without a batch dimension once."""
    tasks = [
        task(x=np.array([1, 2]), r=RaggedArray.from_rows([[1], []], "int64"), k=7),
        task(x=np.array([3]), r=RaggedArray.from_rows([[2, 3]], "int64"), k=7),
    ]
    merged = merge_inputs(tasks, np.concatenate, {"k"})
    assert merged["x"].tolist() == [1, 2, 3]
    assert merged["r"].lengths.tolist() == [1, 0, 2]
    assert merged["r"].values.tolist() == [1, 2, 3]
    assert merged["k"] == 7


def test_inputs_without_a_batch_dimension_do_not_say_how_many_rows():
    """At least one has to."""
    assert num_rows({"k": 3.5, "x": X}, "m", {"k"}) == 2
    with pytest.raises(InvalidArgumentError, match="m: inputs must hold at least one array"):
        num_rows({"k": np.zeros(3)}, "m", {"k"})
