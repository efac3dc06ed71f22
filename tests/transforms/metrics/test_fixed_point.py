import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.errors import InvalidArgumentError
from transforms.metrics import fixed_point
from transforms.metrics.grouping import group

_NUMBERS = st.lists(st.floats(-(2.0**120), 2.0**120), min_size=1, max_size=30)


def _sum(values, keys=None):
    values = np.array(values, dtype=np.float64)
    keys = np.zeros(values.size, dtype=np.int64) if keys is None else keys
    return fixed_point.sum_rows(group(keys), values, np.arange(values.size))


def _exact(words):
    return sum(Fraction(int(w)) * Fraction(2) ** (32 * j - 44) for j, w in enumerate(words))


@given(_NUMBERS)
def test_a_sum_is_that_of_the_rounded_numbers(values):
    expected = sum(Fraction(round(Fraction(each) * 2**44), 2**44) for each in values)
    words = fixed_point.normalise(_sum(values))
    assert _exact(words[0]) == expected
    assert math.isclose(fixed_point.to_floats(words)[0], float(expected), rel_tol=1e-15)


@given(_NUMBERS, st.randoms())
def test_the_order_of_numbers_does_not_matter(values, random):
    first = fixed_point.normalise(_sum(values))
    random.shuffle(values)
    second = fixed_point.normalise(_sum(values))
    assert first.tobytes() == second.tobytes()


@given(_NUMBERS)
def test_normal_words_are_as_few_as_hold_the_sum(values):
    words = fixed_point.normalise(_sum(values))
    assert (
        fixed_point.normalise(fixed_point.align([words, np.zeros((1, 9), np.int64)])[0]).shape
        == words.shape
    )
    assert (words[:, :-1] >= 0).all()
    assert (words[:, :-1] < 2**32).all()
    assert abs(int(words[0, -1])) <= 2**40


def test_means_agree_with_floats():
    values = np.random.default_rng(0).normal(size=100_000)
    total = fixed_point.to_floats(_sum(values))[0]
    assert abs(total / values.size - math.fsum(values) / values.size) < 1e-13


def test_more_rows_than_one_float_sum_may_hold():
    rows = (1 << 20) + 3
    groups = group(np.zeros(rows, dtype=np.int64))
    words = fixed_point.sum_rows(groups, np.array([2.0**-12 - 2.0**-44]), np.zeros(rows, np.int64))
    assert _exact(fixed_point.normalise(words)[0]) == rows * Fraction(2**32 - 1, 2**44)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0**145])
def test_what_cannot_be_summed_is_refused(value):
    with pytest.raises(InvalidArgumentError, match="must be finite"):
        _sum([1.0, value])
