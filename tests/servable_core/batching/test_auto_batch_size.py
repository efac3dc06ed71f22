"""Calibration on simulated traffic whose best size is known."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servable_core.batching.auto_batch_size import AutoBatchSize, CalibrationOptions
from servable_core.errors import InvalidArgumentError

LADDER = [2**exponent for exponent in range(5, 13)]  # 32 ... 4096


def drive(auto, rate, *, noise=0.0, seed=0, num_batches=20_000):
    """Runs batches of the size wanted, at `rate(size)` rows per second; returns how many it took."""
    generator = random.Random(seed)
    for index in range(num_batches):
        if auto.is_frozen:
            return index
        secs = auto.size / rate(auto.size) * max(0.2, generator.gauss(1, noise))
        auto.record(auto.size, secs, is_full=True)
    raise AssertionError(f"still moving after {num_batches} batches: {auto.report()}")


def unimodal(peak, rise, fall):
    """Returns a curve that grows by `rise` with each rung up to `peak`, and by `fall` shrinks behind."""

    def rate(size):
        index = LADDER.index(size)
        return 1e5 * (1 + rise) ** min(index - peak, 0) * (1 + fall) ** min(peak - index, 0)

    return rate


@settings(deadline=None)
@given(
    first=st.sampled_from(LADDER),
    peak=st.integers(0, len(LADDER) - 1),
    rise=st.floats(0.015, 1),
    fall=st.floats(0.025, 1),
)
def test_ends_within_three_percent_of_the_best(first, peak, rise, fall):
    """Wherever it starts, and wherever the best size is."""
    rate = unimodal(peak, rise, fall)
    auto = AutoBatchSize(LADDER, first)
    drive(auto, rate)
    assert rate(auto.size) >= 0.97 * rate(LADDER[peak])


@settings(deadline=None)
@given(
    first=st.sampled_from(LADDER),
    peak=st.integers(0, len(LADDER) - 1),
    seed=st.integers(0, 2**32),
)
def test_noise_does_not_lead_it_astray(first, peak, seed):
    """A few percent of noise on every batch."""
    rate = unimodal(peak, 0.3, 0.3)
    auto = AutoBatchSize(LADDER, first)
    drive(auto, rate, noise=0.05, seed=seed)
    assert auto.size == LADDER[peak]


def test_hiccup_does_not_lead_it_astray():
    """A window that is ten times slower than its neighbours has no say."""
    auto = AutoBatchSize(LADDER, 256)
    rate = unimodal(5, 0.3, 0.3)
    for index in range(400):
        slow = 10 if index % 24 == 17 else 1
        auto.record(auto.size, slow * auto.size / rate(auto.size), is_full=True)
    assert auto.is_frozen
    assert auto.size == LADDER[5]


def test_flat_curve_keeps_the_first_size():
    """Where size does not matter now, it may later; and only neighbours are tried."""
    auto = AutoBatchSize(LADDER, 256)
    drive(auto, lambda size: 1e5)
    assert auto.size == 256
    assert sorted(auto.report().curve) == [64, 128, 256, 512, 1024]


def test_curve_is_what_was_measured():
    """The report has the rate of each size that was tried."""
    auto = AutoBatchSize([1, 2], 1)
    assert (auto.report().size, auto.report().is_frozen, auto.report().curve) == (1, False, {})
    drive(auto, lambda size: 100.0 * size)
    assert (auto.report().size, auto.report().is_frozen) == (2, True)
    assert auto.report().curve == pytest.approx({1: 100.0, 2: 200.0})


def test_ladder_of_one_is_frozen_at_once():
    """There is nothing to choose."""
    auto = AutoBatchSize([64], 1000)
    auto.record(64, 1.0, is_full=True)
    assert (auto.size, auto.is_frozen) == (64, True)


@pytest.mark.parametrize(("first", "size"), [(1, 32), (32, 32), (63, 32), (64, 64), (10**9, 4096)])
def test_starts_at_the_nearest_rung_below(first, size):
    """Or at the lowest."""
    assert AutoBatchSize(LADDER, first).size == size


@given(
    first=st.sampled_from(LADDER),
    num_batches=st.integers(0, 400),
    max_size=st.integers(1, 5000),
    peak=st.integers(0, len(LADDER) - 1),
)
def test_limit_holds_from_then_on(first, num_batches, max_size, peak):
    """Mid-way or when all is settled: it comes to an end, and at the best that is still allowed."""
    rate = unimodal(peak, 0.3, 0.3)
    auto = AutoBatchSize(LADDER, first)
    for _ in range(num_batches):
        auto.record(auto.size, auto.size / rate(auto.size), is_full=True)
    was_frozen = auto.is_frozen
    auto.limit(max_size)
    assert auto.size <= max(max_size, LADDER[0])
    drive(auto, rate)
    allowed = [size for size in LADDER if size <= max(max_size, LADDER[0])]
    if was_frozen or len(allowed) > 1:
        assert auto.size == max(allowed, key=rate)


@pytest.mark.parametrize(("max_size", "size"), [(2048, 2048), (1024, 1024), (512, 512), (40, 32)])
def test_limit_after_the_end_keeps_the_best_that_is_left(max_size, size):
    """And what was measured stays in the report."""
    auto = AutoBatchSize(LADDER, 1024)
    drive(auto, unimodal(7, 0.3, 0.3))
    curve = auto.report().curve
    auto.limit(max_size)
    assert (auto.size, auto.is_frozen) == (size, True)
    assert auto.report().curve == curve


def test_tails_are_work_but_not_batches():
    """Smaller batches count as rows done, and neither settle a size nor fill a window."""
    options = CalibrationOptions(
        window_secs=0.0, window_batches=1, num_windows=1, num_settling_batches=1
    )
    auto = AutoBatchSize([10, 20], 10, options)
    auto.record(3, 1.0, is_full=False)
    auto.record(10, 1.0, is_full=True)  # has settled
    auto.record(5, 1.0, is_full=False)
    assert auto.report().curve == {}
    auto.record(10, 2.0, is_full=True)
    assert auto.report().curve == {10: 5.0}
    assert auto.size == 20


@pytest.mark.parametrize("sizes", [[], [2, 1], [1, 1]])
def test_malformed_ladder_is_an_error(sizes):
    """Sizes have to increase."""
    with pytest.raises(InvalidArgumentError, match="batch sizes must be given and increase"):
        AutoBatchSize(sizes, 1)


@pytest.mark.parametrize("name", ["window_batches", "num_windows"])
def test_malformed_options_are_errors(name):
    """The message names the option."""
    with pytest.raises(InvalidArgumentError, match=f"{name} must be 1 or more, got 0"):
        CalibrationOptions(**{name: 0})


def test_size_that_traffic_does_not_fill_is_given_up():
    """What was measured by then decides; before anything was, it goes on watching."""
    auto = AutoBatchSize(LADDER, 32)
    given_up = CalibrationOptions().max_batches_passed_over
    for _ in range(given_up):
        auto.record(1, 0.001, is_full=False)
    assert not auto.is_frozen
    while auto.size == 32:
        auto.record(32, 0.01, is_full=True)
    for _ in range(given_up):
        assert not auto.is_frozen
        auto.record(33, 0.01, is_full=False)
    assert auto.is_frozen
    assert auto.size == 32
    assert list(auto.report().curve) == [32]


def test_full_batches_among_others_keep_a_size():
    """Only batches in a row say that none will come."""
    auto = AutoBatchSize(LADDER, 32, CalibrationOptions(max_batches_passed_over=2))
    for _ in range(1000):
        auto.record(auto.size, 0.01, is_full=True)
        auto.record(1, 0.001, is_full=False)
    assert auto.is_frozen
    assert len(auto.report().curve) > 1


@pytest.mark.parametrize("growth", [0.5, 2.0])
def test_what_changes_with_time_is_no_merit_of_a_size(growth):
    """A job that quickens while it starts, or slows down: the curve itself is flat."""
    auto = AutoBatchSize(LADDER, 512)
    start_rate, now = 1e5, 0.0
    while not auto.is_frozen:
        rate = start_rate * growth ** (now / 3)
        secs = auto.size / rate
        now += secs
        auto.record(auto.size, secs, is_full=True)
    assert auto.size == 512
