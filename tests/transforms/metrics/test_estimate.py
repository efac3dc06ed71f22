import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from transforms.metrics import Estimate, Method
from transforms.metrics import jackknife as blocks_left_out
from transforms.metrics.jackknife import MIN_BLOCKS


def _jackknife(value, others, weights):
    """Returns the estimate of a single slice."""
    return blocks_left_out.jackknife(np.array([value]), others[None], weights[None]).at(0)


def test_the_jackknife_of_a_mean_of_equal_blocks_is_its_standard_error():
    blocks = np.random.default_rng(0).normal(size=(32, 50))
    means = blocks.mean(axis=1)
    others = (means.sum() - means) / 31
    found = _jackknife(means.mean(), others, np.ones(32))
    assert math.isclose(found.standard_error, means.std(ddof=1) / math.sqrt(32), rel_tol=1e-12)
    low, high = found.interval(0.9)
    expected = stats.t.interval(0.9, 31, found.value, found.standard_error)
    assert (low, high) == pytest.approx(expected)


def test_blocks_without_rows_take_no_part():
    others = np.random.default_rng(0).normal(size=32)
    weights = np.ones(32)
    weights[20:] = 0
    found = _jackknife(0.0, others, weights)
    expected = _jackknife(0.0, others[:20], weights[:20])
    assert found.standard_error == pytest.approx(expected.standard_error, rel=1e-14)
    assert replace(found, standard_error=0.0) == replace(expected, standard_error=0.0)
    assert found.degrees_of_freedom == 19


@pytest.mark.parametrize("broken", [np.zeros(MIN_BLOCKS - 1), np.array([math.nan] + [0.0] * 31)])
def test_too_few_blocks_and_undefined_ones_have_no_interval(broken):
    found = _jackknife(1.0, broken, np.ones(broken.size))
    assert found.value == 1
    assert found.method is Method.NONE
    assert math.isnan(found.interval()[0])


def test_bounds_widen_the_interval():
    found = Estimate(
        value=0.5, standard_error=0.1, method=Method.DELONG, lower_bound=0.49, upper_bound=0.53
    )
    reach = stats.norm.ppf(0.975) * 0.1
    assert found.interval(0.95) == pytest.approx((0.49 - reach, 0.53 + reach))
    assert found.certified_error == pytest.approx(0.03)


def test_bounds_widen_the_interval_of_a_share():
    found = Estimate(
        value=0.98, method=Method.WILSON, effective_rows=60, lower_bound=0.97, upper_bound=0.99
    )
    low, _ = proportion_confint(0.97 * 60, 60, method="wilson")
    _, high = proportion_confint(0.99 * 60, 60, method="wilson")
    assert found.interval(0.95) == pytest.approx((low, high))


def test_a_share_has_an_interval_even_where_it_is_zero():
    found = Estimate(value=0.0, standard_error=0.0, method=Method.WILSON, effective_rows=30)
    low, high = found.interval()
    assert low == pytest.approx(0)
    assert 0.1 < high < 0.13
