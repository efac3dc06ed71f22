"""Tests of claims against scipy, and several of them against statsmodels."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportions_ztest

from transforms.evaluation.gate_config import Multiplicity
from transforms.evaluation.significance import adjust, p_above, p_below
from transforms.metrics import Estimate, Method

_P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=20)
_ALPHA = st.floats(0.001, 0.4)
_KINDS = [(Multiplicity.HOLM, "holm"), (Multiplicity.BH, "fdr_bh")]


def _estimate(value, error, freedom=math.inf, **fields):
    fields.setdefault("method", Method.JACKKNIFE)
    return Estimate(value=value, standard_error=error, degrees_of_freedom=freedom, **fields)


def _share(value, rows, **fields):
    return Estimate(value=value, method=Method.WILSON, effective_rows=rows, **fields)


@pytest.mark.parametrize("freedom", [1, 5, 31, math.inf])
@pytest.mark.parametrize("limit", [0.1, 0.3, 0.35])
def test_p_values_are_those_of_scipy(freedom, limit):
    found = p_above(_estimate(0.3, 0.02, freedom), limit, or_equal=True)
    expected = stats.t.sf((0.3 - limit) / 0.02, freedom)
    assert found == pytest.approx(expected, rel=1e-10)
    assert p_below(_estimate(0.3, 0.02, freedom), limit, or_equal=True) == pytest.approx(
        1 - expected, rel=1e-10
    )


@pytest.mark.parametrize(("count", "rows", "limit"), [(4, 100, 0.05), (70, 100, 0.5), (0, 30, 0.1)])
def test_p_values_of_shares_are_those_of_the_score_test(count, rows, limit):
    share = _share(count / rows, rows)
    for function, side in ((p_above, "larger"), (p_below, "smaller")):
        _, expected = proportions_ztest(count, rows, limit, alternative=side, prop_var=limit)
        assert function(share, limit, or_equal=True) == pytest.approx(expected, rel=1e-10)


@given(
    value=st.floats(0, 1),
    limit=st.floats(0.01, 0.99),
    alpha=st.floats(0.001, 0.4),
    is_share=st.booleans(),
    freedom=st.sampled_from([9, math.inf]),
)
def test_a_p_value_is_the_level_at_which_the_interval_ends(value, limit, alpha, is_share, freedom):
    bounds = {"lower_bound": max(0, value - 0.02), "upper_bound": min(1, value + 0.01)}
    estimate = _share(value, 50, **bounds) if is_share else _estimate(value, 0.1, freedom, **bounds)
    low, high = estimate.interval(1 - 2 * alpha)
    for p_value, distance in (
        (p_above(estimate, limit, or_equal=True), low - limit),
        (p_below(estimate, limit, or_equal=True), limit - high),
    ):
        if abs(distance) > 1e-9:
            assert (p_value <= alpha) is (distance >= 0)


@pytest.mark.parametrize("or_equal", [False, True])
def test_without_error_only_the_limit_itself_is_in_question(or_equal):
    sure = _estimate(0.5, 0.0)
    assert p_above(sure, 0.5, or_equal=or_equal) == (0 if or_equal else 1)
    assert p_below(sure, 0.5, or_equal=or_equal) == (0 if or_equal else 1)
    assert (p_above(sure, 0.4, or_equal=or_equal), p_above(sure, 0.6, or_equal=or_equal)) == (0, 1)
    assert (p_below(sure, 0.6, or_equal=or_equal), p_below(sure, 0.4, or_equal=or_equal)) == (0, 1)


def test_bins_are_on_the_safe_side():
    estimate = _estimate(0.5, 0.1, lower_bound=0.45, upper_bound=0.6)
    assert p_above(estimate, 0.3, or_equal=True) == pytest.approx(stats.norm.sf(1.5))
    assert p_below(estimate, 0.7, or_equal=True) == pytest.approx(stats.norm.sf(1.0))


@pytest.mark.parametrize("estimate", [_estimate(math.nan, 0.1), _estimate(0.5, math.nan)])
def test_what_is_not_known_stays_so(estimate):
    assert math.isnan(p_above(estimate, 0.4, or_equal=True))
    assert math.isnan(p_below(estimate, 0.4, or_equal=True))


@pytest.mark.parametrize(("kind", "name"), _KINDS)
@given(p_values=_P_VALUES, alpha=_ALPHA)
def test_adjusted_p_values_are_those_of_statsmodels(kind, name, p_values, alpha):
    is_rejected, adjusted, _, _ = multipletests(p_values, alpha, name)
    found = adjust(p_values, alpha, kind)
    assert [each.p_value for each in found] == pytest.approx(adjusted, abs=1e-12)
    # At the border itself, rounding decides.
    is_clear = abs(adjusted - alpha) > 1e-12
    assert [each.is_shown for each, clear in zip(found, is_clear, strict=True) if clear] == list(
        is_rejected[is_clear]
    )


@given(p_values=_P_VALUES, alpha=_ALPHA, kind=st.sampled_from(Multiplicity))
def test_the_level_tells_what_is_shown(p_values, alpha, kind):
    """So that an interval at that level says the same as the test."""
    for p_value, each in zip(p_values, adjust(p_values, alpha, kind), strict=True):
        assert each.is_shown is (p_value <= each.level)
        assert 0 < each.level <= alpha * (1 + 1e-12)


def test_alone_a_test_has_the_whole_level():
    for kind in Multiplicity:
        (found,) = adjust([0.04], 0.05, kind)
        assert (found.p_value, found.is_shown, found.level) == (0.04, True, 0.05)


def test_no_tests_are_none():
    assert [adjust([], 0.05, kind) for kind in Multiplicity] == [[], [], []]
