import math

import pytest

from pipelines.report.number_format import (
    counted,
    decimals_of,
    format_bound,
    format_change,
    format_interval,
    format_number,
    printable,
)
from transforms.metrics import Estimate, Method


def _estimate(value, error=math.nan, **fields):
    method = Method.NONE if math.isnan(error) else Method.MEAN
    return Estimate(value=value, standard_error=error, method=method, **fields)


@pytest.mark.parametrize(
    ("estimate", "decimals"),
    [
        (_estimate(0.8, 0.0046), 4),  # the half width is 0.0090
        (_estimate(0.8, 0.046), 3),
        (_estimate(1234.0, 40.0), 0),
        (_estimate(0.8, 1e-9), 6),
        (_estimate(0.012345), 5),
        (_estimate(12.345), 2),
        (_estimate(541.0), 0),
        (_estimate(0.0), 0),
        (_estimate(math.nan), 0),
    ],
)
def test_digits_are_those_that_mean_something(estimate, decimals):
    assert decimals_of(estimate) == decimals


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (1234.5, 1, "1,234.5"),
        (-0.25, 2, "\N{MINUS SIGN}0.25"),
        (-0.0001, 2, "0.00"),
        (math.nan, 2, "\N{EN DASH}"),
        (3e-9, 2, "3e\N{MINUS SIGN}09"),
    ],
)
def test_numbers(value, decimals, text):
    assert format_number(value, decimals) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.25, "+0.25"), (-0.25, "\N{MINUS SIGN}0.25"), (0.001, "0.00"), (math.nan, "\N{EN DASH}")],
)
def test_changes_have_a_sign_where_they_are_not_zero(value, text):
    assert format_change(value, 2) == text


def test_intervals():
    assert format_interval(_estimate(0.5, 0.1), 0.95, 2, signed=False) == "[0.30, 0.70]"
    assert (
        format_interval(_estimate(0.0, 0.1), 0.95, 2, signed=True) == "[\N{MINUS SIGN}0.20, +0.20]"
    )
    assert not format_interval(_estimate(0.5), 0.95, 2, signed=False)


def test_only_what_is_not_exact_has_a_bound():
    assert not format_bound(_estimate(0.5))
    assert format_bound(_estimate(0.5, lower_bound=0.4999, upper_bound=0.5003)) == "±0.0003"


def test_text_from_the_data_cannot_steer_a_terminal():
    assert printable("a\x1b[31mb\nc") == "a�[31mb�c"
    assert printable("x" * 300) == "x" * 199 + "…"


def test_nouns():
    assert (counted(1, "row"), counted(1200, "row")) == ("1 row", "1,200 rows")
