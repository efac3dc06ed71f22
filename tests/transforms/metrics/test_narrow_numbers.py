import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.metrics import fixed_point
from transforms.metrics.narrow_numbers import joined, narrowed, widened

_WHOLE = st.integers(-(2**61), 2**61)
_NUMBERS = st.one_of(_WHOLE.map(lambda n: n << 44), st.integers(-(2**120), 2**120))


def _words(units):
    """Returns the words of whole multiples of 2^-44."""
    words = np.zeros((len(units), 4), dtype=np.int64)
    for i, number in enumerate(units):
        for position in range(3):
            words[i, position] = number >> (32 * position) & (2**32 - 1)
        words[i, 3] = number >> 96
    return words


def _units(column):
    return [
        sum(int(word) << (32 * position) for position, word in enumerate(words))
        for words in widened(column)
    ]


@given(st.lists(_NUMBERS, max_size=8), st.lists(_NUMBERS, max_size=8))
def test_columns_hold_their_numbers_joined_or_at_once(first, second):
    parts = [narrowed(_words(each)) for each in (first, second)]
    whole = narrowed(_words(first + second))
    assert _units(whole) == first + second
    together = joined(parts)
    if first and second:
        assert together.dtype == whole.dtype
        assert together.shape == whole.shape
    assert _units(together) == first + second


@pytest.mark.parametrize(
    ("largest", "kind"),
    [(127, np.int8), (128, np.int16), (-(2**15), np.int16), (2**31, np.int64), (2**49, np.int64)],
)
def test_whole_numbers_take_few_bytes(largest, kind):
    column = narrowed(_words([0, largest << 44]))
    assert column.tolist() == [0, largest]
    assert column.dtype == kind


def test_other_numbers_are_words():
    column = narrowed(fixed_point.to_words(np.array([0.5, 3.0]))[0].values[:, None])
    assert column.shape == (2, 1)
    assert (fixed_point.to_floats(column) == [0.5, 3.0]).all()
