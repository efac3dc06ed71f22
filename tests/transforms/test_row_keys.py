"""Keys of rows: equal for equal rows, and for no others."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.batching.ragged_array import RaggedArray
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from transforms.row_keys import row_keys

_TEXTS = st.sampled_from([b"", b"a", b"b", b"ab", b"\x00", b"aa"])
_LISTS = st.lists(st.integers(0, 2), max_size=3)


def _same(keys):
    """Which pairs of keys are equal."""
    return [one == other for one, other in itertools.combinations(keys, 2)]


def _objects(values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


@given(st.lists(st.tuples(st.integers(0, 2), _TEXTS, _TEXTS, _LISTS, st.lists(_TEXTS, max_size=3))))
def test_keys_are_equal_exactly_if_rows_are(rows):
    """Numbers, texts, lists of numbers and lists of texts, side by side."""
    numbers, one, other, lists, words = zip(*rows, strict=True) if rows else [()] * 5
    keys = row_keys(
        {
            "number": np.array(numbers, np.int32),
            "one": _objects(one),
            "other": _objects(other),
            "list": RaggedArray.from_rows(lists, "int64"),
            "words": RaggedArray.from_rows([_objects(each) for each in words], "object"),
        }
    )
    assert _same(keys) == _same(rows)


@pytest.mark.parametrize(
    ("values", "are_same"),
    [
        (np.array([0.0, -0.0]), False),
        (np.array([np.nan, np.nan]), True),
        (np.array([[1, 2], [1, 2]], np.float32), True),
        (np.array([[1, 2], [2, 1]], np.float32), False),
        (np.array([[1, 2, 3], [1, 2, 4]], np.float32)[:, :2], True),
        (np.zeros((2, 0)), True),
        (np.array([[b"a", b"bc"], [b"ab", b"c"]], object), False),
    ],
)
def test_bits_count(values, are_same):
    """Equal bits are equal inputs, and no others."""
    assert _same(row_keys({"x": values})) == [are_same]


def test_rows_of_other_batches():
    """Lists that are as long in all rows of a batch, but not in all batches, are told apart."""
    (short_first,) = row_keys({"a": np.zeros((1, 1), "u1"), "b": np.zeros((1, 2), "u1")})
    (long_first,) = row_keys({"a": np.zeros((1, 2), "u1"), "b": np.zeros((1, 1), "u1")})
    assert short_first != long_first


def test_records():
    """Serialized Examples come as a tensor."""
    tf = import_tensorflow()
    keys = row_keys({"examples": tf.constant([b"one", b"other", b"one"])})
    assert _same(keys) == [False, True, False]


def test_slices_of_lists():
    """Rows that begin in the middle of their values."""
    rows = RaggedArray.from_rows([[9], [1, 2], [3], [1, 2]], "int32")[1:]
    assert _same(row_keys({"x": rows})) == [False, True, False]
