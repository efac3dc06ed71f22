"""Rungs: few, near, and above the lengths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.batching.length_ladder import LengthLadder
from servable_core.errors import InvalidArgumentError

LENGTHS = st.lists(st.integers(0, 10**6), max_size=50)


@pytest.mark.parametrize(
    ("length", "rung"),
    [
        (0, 16), (1, 16), (16, 16), (17, 20), (20, 20), (29, 32), (32, 32), (33, 40), (65, 80),
        (128, 128), (129, 160), (257, 320), (512, 512), (513, 640), (2**40 + 1, 5 * 2**38),
    ],
)  # fmt: skip
def test_four_rungs_to_each_doubling(length, rung):
    """From 16 on."""
    assert LengthLadder().rung(length) == rung


@pytest.mark.parametrize(
    ("length", "rung"), [(0, 10), (10, 10), (11, 25), (25, 25), (26, 50), (50, 50), (51, 75)]
)
def test_given_rungs_and_multiples_of_the_last(length, rung):
    """Nothing is too long."""
    assert LengthLadder(rungs=(10, 25)).rung(length) == rung


@given(lengths=LENGTHS)
def test_rungs_are_rungs_and_near(lengths):
    """Rounding twice changes nothing, and a long row grows by less than a quarter."""
    ladder = LengthLadder()
    rungs = ladder.round_up(lengths)
    values = np.array(lengths, np.int64)
    assert rungs.shape == values.shape
    assert (rungs >= values).all()
    assert (ladder.round_up(rungs) == rungs).all()
    assert (rungs[values > 16] < 1.25 * values[values > 16]).all()


@given(lengths=LENGTHS, rungs=st.lists(st.integers(1, 2000), min_size=1, max_size=8, unique=True))
def test_given_rungs_are_the_nearest_above(lengths, rungs):
    """As a search of all of them would find."""
    rungs = sorted(rungs)
    last = rungs[-1]
    expected = [next((r for r in rungs if r >= n), -(-n // last) * last) for n in lengths]
    assert LengthLadder(rungs=tuple(rungs)).round_up(lengths).tolist() == expected


@pytest.mark.parametrize("rungs", [(0, 1), (2, 2), (3, 2)])
def test_malformed_rungs_are_errors(rungs):
    """They have to increase from 1 or more."""
    with pytest.raises(InvalidArgumentError, match="must be 1 or more and increase"):
        LengthLadder(rungs=rungs)
