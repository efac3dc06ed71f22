import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats import proportion

from transforms.metrics import reference_distributions as ours


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 19, 28, 31, 99])
@pytest.mark.parametrize("probability", [0.5, 0.6, 0.9, 0.975, 0.995])
def test_t_quantiles(freedom, probability):
    expected = stats.t.ppf(probability, freedom)
    assert math.isclose(
        ours.t_quantile(probability, freedom), expected, rel_tol=1e-10, abs_tol=1e-12
    )


def test_infinite_freedom_is_normal():
    assert math.isclose(ours.t_quantile(0.975, math.inf), stats.norm.ppf(0.975), rel_tol=1e-12)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 10, 11])
@pytest.mark.parametrize("value", [0.0, 0.1, 3.84, 20.0])
def test_chi_squared(freedom, value):
    tail = ours.chi_squared_tail(value, freedom)
    assert math.isclose(tail, stats.chi2.sf(value, freedom), rel_tol=1e-10)
    quantile = ours.chi_squared_quantile(0.95, freedom)
    assert math.isclose(quantile, stats.chi2.ppf(0.95, freedom), rel_tol=1e-10)


@given(st.integers(0, 400), st.integers(0, 400))
def test_fair_coins(heads, tails):
    if heads + tails:
        expected = stats.binomtest(heads, heads + tails).pvalue
        assert math.isclose(ours.fair_coin_p_value(heads, tails), expected, rel_tol=1e-9)


@pytest.mark.parametrize(("count", "rows"), [(0, 10), (3, 10), (10, 10), (500, 10_000)])
def test_wilson_intervals(count, rows):
    expected = proportion.proportion_confint(count, rows, alpha=0.1, method="wilson")
    assert ours.wilson_interval(count / rows, rows, 0.9) == pytest.approx(expected, abs=1e-12)
