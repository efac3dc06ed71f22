import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.metrics import float_bins
from transforms.metrics.float_bins import Scale

_REALS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1)
_CHANCES = st.lists(st.floats(0, 1, width=32), min_size=1)


@given(_REALS)
def test_ordered_bits_keep_numbers_and_their_order(values):
    values = np.sort(np.array(values))
    ordered = float_bins.to_ordered_bits(values)
    assert (np.diff(ordered) >= 0).all()
    assert (float_bins.from_ordered_bits(ordered) == values).all()
    assert ordered.max() < 2**32


def test_both_zeros_are_one_number():
    assert len(set(float_bins.to_ordered_bits(np.array([0.0, -0.0])).tolist())) == 1


@pytest.mark.parametrize("mantissa_bits", [3, 5, 9])
@pytest.mark.parametrize("scale", list(Scale))
@given(data=st.data())
def test_bins_keep_the_order_and_hold_their_numbers(scale, mantissa_bits, data):
    values = np.sort(data.draw(_CHANCES if scale is Scale.PROBABILITY else _REALS))
    bins = float_bins.to_bins(float_bins.to_ordered_bits(values), scale, mantissa_bits)
    assert (np.diff(bins) >= 0).all()
    assert 0 <= bins.min() <= bins.max() < float_bins.num_bins(scale, mantissa_bits)
    lower, upper = float_bins.bin_edges(bins, scale, mantissa_bits)
    assert (lower <= values).all()
    assert (values <= upper).all()


def test_bins_are_narrow_next_to_one_too():
    values = 1 - np.array([1e-6, 2e-6, 3e-6])
    bins = float_bins.to_bins(float_bins.to_ordered_bits(values), Scale.PROBABILITY, 5)
    assert np.unique(bins).size == 3


def test_a_real_bin_is_no_wider_than_its_precision():
    bins = float_bins.to_bins(float_bins.to_ordered_bits(np.geomspace(1e-30, 1e30)), Scale.REAL, 7)
    lower, upper = float_bins.bin_edges(bins, Scale.REAL, 7)
    assert ((upper - lower) / lower < 2.0**-7).all()
