"""Ragged arrays do with rows what lists of lists do."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.batching.ragged_array import RaggedArray, concat_ragged, row_mask, unpadded
from servable_core.errors import InvalidArgumentError

NUMBERS = st.lists(st.lists(st.integers(-100, 100), max_size=6), max_size=8)


def of(rows, dtype="int64"):
    return RaggedArray.from_rows(rows, dtype)


def rows_of(ragged):
    return [ragged.row(index).tolist() for index in range(len(ragged))]


@given(rows=NUMBERS)
def test_rows_come_back(rows):
    """With their lengths, shape and size."""
    ragged = of(rows)
    assert rows_of(ragged) == rows
    assert len(ragged) == len(rows)
    assert ragged.lengths.tolist() == [len(row) for row in rows]
    assert ragged.shape == (len(rows), None)
    assert ragged.dtype == np.int64
    assert ragged.nbytes == 8 * (len(rows) + 1 + sum(map(len, rows)))


@given(rows=NUMBERS, start=st.integers(-10, 10), stop=st.integers(-10, 10), data=st.data())
def test_slices_and_selections(rows, start, stop, data):
    """Slices of slices, too, and rows taken in any order."""
    ragged = of(rows)[start:stop]
    expected = rows[start:stop]
    assert rows_of(ragged) == expected
    assert np.shares_memory(ragged.values, ragged[1:].values) or not len(ragged.values)
    assert rows_of(ragged[1:]) == expected[1:]
    some = st.lists(st.integers(0, len(expected) - 1)) if expected else st.just([])
    picked = data.draw(some)
    taken = ragged.take(np.array(picked, np.int64))
    assert rows_of(taken) == [expected[index] for index in picked]


@given(rows=NUMBERS, cuts=st.lists(st.integers(0, 8), max_size=3))
def test_cut_and_joined_again(rows, cuts):
    """Slices joined are the whole."""
    ragged = of(rows)
    bounds = [0, *sorted(cuts), len(rows)]
    parts = [ragged[a:b] for a, b in pairwise(bounds)]
    assert rows_of(concat_ragged(parts)) == rows


@given(rows=NUMBERS, extra=st.integers(0, 3), first=st.integers(0, 3))
def test_padded_and_cut_again(rows, extra, first):
    """The values behind a row's own are the fill, and `unpadded` takes them away."""
    ragged = of([[7] * first, *rows])[1:]
    length = max(map(len, rows), default=0) + extra
    padded = ragged.padded(length, -999)
    assert padded.tolist() == [row + [-999] * (length - len(row)) for row in rows]
    mask = row_mask(ragged.lengths, length)
    assert mask.tolist() == [[i < len(row) for i in range(length)] for row in rows]
    assert rows_of(unpadded(padded, ragged.lengths)) == rows


@pytest.mark.parametrize("length", [0, 3])
def test_no_rows(length):
    """Have the shape of a batch."""
    assert of([]).padded(length, 0).shape == (0, length)


def test_values_may_have_dimensions():
    """A row of vectors is padded with vectors."""
    values = np.arange(6).reshape(3, 2)
    ragged = RaggedArray(values, np.array([0, 1, 3]))
    assert ragged.shape == (2, None, 2)
    assert ragged.padded(2, 9).tolist() == [[[0, 1], [9, 9]], [[2, 3], [4, 5]]]


def test_rows_of_one_length_are_not_copied():
    """They are an array already."""
    ragged = of([[1, 2], [3, 4]])
    assert np.shares_memory(ragged.padded(2, 0), ragged.values)


def test_bytes():
    """Objects of any size."""
    ragged = of([[b"a"], [], [b"bb", b""]], "object")
    assert ragged.padded(2, b"-").tolist() == [[b"a", b"-"], [b"-", b"-"], [b"bb", b""]]
    assert rows_of(ragged.take(np.array([2, 0]))) == [[b"bb", b""], [b"a"]]


def test_too_long_a_row_is_an_error():
    """Nothing is cut off in silence."""
    with pytest.raises(InvalidArgumentError, match="at most 1 values, got 2"):
        of([[1], [1, 2]]).padded(1, 0)


def test_steps_are_errors():
    """Slices share memory, which steps do not allow."""
    with pytest.raises(InvalidArgumentError, match="step of 1, got 2"):
        of([[1], [2]])[::2]
