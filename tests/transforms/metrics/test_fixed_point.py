import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.errors import InvalidArgumentError
from transforms.metrics import fixed_point
from transforms.metrics.sum_table import SumTable

_NUMBERS = st.lists(st.floats(-(2.0**120), 2.0**120), min_size=1, max_size=30)


def _sum(values, keys=None):
    values = np.array(values, dtype=np.float64)
    keys = np.zeros(values.size, dtype=np.int64) if keys is None else keys
    table = SumTable(int(keys.max()) + 1)
    table.add(keys, fixed_point.to_words(values), slice(None))
    return table.words(np.arange(int(keys.max()) + 1))


def _exact(words):
    return sum(Fraction(int(w)) * Fraction(2) ** (32 * j - 44) for j, w in enumerate(words))


@given(_NUMBERS)
def test_a_sum_is_that_of_the_rounded_numbers(values):
    expected = sum(Fraction(round(Fraction(each) * 2**44), 2**44) for each in values)
    words = fixed_point.normalise(_sum(values))
    assert _exact(words[0]) == expected
    assert math.isclose(fixed_point.to_floats(words)[0], float(expected), rel_tol=1e-15)


def test_numbers_of_32_bits_are_summed_like_others():
    values = np.array([0.1, 2.5, 1e6, 3.25], dtype=np.float32)
    words, expected = (fixed_point.to_words(each) for each in (values, values.astype(np.float64)))
    assert [each.values.tolist() for each in words] == [each.values.tolist() for each in expected]


@given(st.lists(st.floats(-200, 200), min_size=1), st.floats(1, 2**20))
def test_a_bound_on_the_numbers_changes_nothing(values, slack):
    numbers = np.array(values)
    most = float(np.abs(numbers).max()) * slack
    found, expected = (
        fixed_point.normalise(_sum_of_words(each, numbers.size))
        for each in (fixed_point.to_words(numbers, most), fixed_point.to_words(numbers))
    )
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e6, 2.0**100])
@pytest.mark.parametrize("rows", [1, 1000, 1 << 16])
def test_words_of_several_numbers_are_those_of_each(scale, rows):
    numbers = np.random.default_rng(0).normal(size=(3, rows)) * scale
    words = fixed_point.to_words(numbers)
    for place, values in enumerate(numbers):
        of_one = fixed_point.words_of(words, place)
        expected = fixed_point.normalise(_sum(values))
        assert fixed_point.normalise(_sum_of_words(of_one, rows)).tolist() == expected.tolist()
        for each in of_one:
            assert float(np.abs(each.values.astype(np.float64)).sum()) <= each.size * (1 + 1e-12)


def _sum_of_words(words, rows):
    table = SumTable(1)
    table.add(np.zeros(rows, dtype=np.int64), words, slice(None))
    return table.words(np.zeros(1, dtype=np.int64))


@given(_NUMBERS, st.randoms())
def test_the_order_of_numbers_does_not_matter(values, random):
    first = fixed_point.normalise(_sum(values))
    random.shuffle(values)
    second = fixed_point.normalise(_sum(values))
    assert first.tobytes() == second.tobytes()


@given(_NUMBERS)
def test_normal_words_are_as_few_as_hold_the_sum(values):
    words = fixed_point.normalise(_sum(values))
    assert fixed_point.normalise(fixed_point.spread(fixed_point.spread(words))).shape == words.shape
    assert (words[:, :-1] >= 0).all()
    assert (words[:, :-1] < 2**32).all()
    assert abs(int(words[0, -1])) <= 2**62


def test_means_agree_with_floats():
    values = np.random.default_rng(0).normal(size=100_000)
    total = fixed_point.to_floats(_sum(values))[0]
    assert abs(total / values.size - math.fsum(values) / values.size) < 1e-13


def test_more_numbers_than_one_word_may_hold():
    table = SumTable(2)
    large = 2.0**16 - 2.0**-37
    for _ in range(100):
        words = fixed_point.to_words(np.full(64, large))
        table.add(np.ones(64, dtype=np.int64), words, slice(None))
    assert 6400 * large * 2**44 > 2**63
    nothing, everything = table.words(np.arange(2))
    assert _exact(nothing) == 0
    assert _exact(everything) == 6400 * Fraction(large)


@given(st.lists(_NUMBERS, min_size=2, max_size=5))
def test_words_can_be_added_in_any_spelling(parts):
    each = [fixed_point.normalise(_sum(values)) for values in parts]
    most = max(words.shape[-1] for words in each)
    added = sum(fixed_point.spread(fixed_point.normalise(words, most)) for words in each)
    together = fixed_point.normalise(_sum([value for values in parts for value in values]))
    assert fixed_point.normalise(added).tobytes() == together.tobytes()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0**145])
def test_what_cannot_be_summed_is_refused(value):
    with pytest.raises(InvalidArgumentError, match="must be finite"):
        _sum([1.0, value])
