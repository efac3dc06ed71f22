"""How the limits of batches in flight are tuned, given what is measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.batching.in_flight_limit import LatencyTunedLimit, PendingTunedLimit
from servable_core.errors import InvalidArgumentError


def latency_limit(**options):
    defaults = {"initial": 3.0, "minimum": 1.0, "maximum": 16, "batches_to_average_over": 10}
    return LatencyTunedLimit(**(defaults | options))


def pending_limit(**options):
    defaults = {
        "target_pending": 2.0,
        "initial": 3,
        "maximum": 16,
        "batches_to_average_over": 10,
    }
    return PendingTunedLimit(**(defaults | options))


def record(limit, *measured, has_more=True):
    for value in measured:
        limit.record(value, has_more=has_more)


@pytest.mark.parametrize("best", [1.0, 2.5, 6.0, 12.0, 16.0])
@pytest.mark.parametrize("initial", [1.0, 3.0, 16.0])
def test_latency_limit_finds_the_minimum(best, initial):
    """From anywhere it comes near the limit at which latency is lowest, and stays there."""
    limit = latency_limit(initial=initial)
    visited = []
    for _ in range(2000):
        record(limit, 1.0 + (limit.limit - best) ** 2)
        visited.append(limit.limit)
    settled = visited[1000:]
    assert sum(settled) / len(settled) == pytest.approx(best, rel=0.15)
    assert all(1.0 <= value <= 16.0 for value in visited)


def test_latency_limit_moves_only_with_a_whole_average():
    """One slow batch among many does not turn the search around."""
    limit = latency_limit(batches_to_average_over=4)
    record(limit, 9.0, 1.0, 1.0)
    assert limit.limit == 3.0
    record(limit, 1.0)
    assert limit.limit == 3.0 * 9 / 8


def test_latency_limit_goes_on_while_latency_falls_and_back_when_it_rises():
    """The step is halved once the way back has proved right, and doubled on a way that is."""
    limit = latency_limit(initial=8.0, batches_to_average_over=1)
    moves = []
    for latency in (5.0, 4.0, 6.0, 5.0, 4.0):
        before = limit.limit
        record(limit, latency)
        moves.append(limit.limit / before - 1)
    assert moves == pytest.approx([1 / 8, 1 / 8, -1 / 8, -1 / 16, -1 / 8])


def test_latency_limit_has_steps_of_bounded_size():
    """Without end there and back, it still moves."""
    limit = latency_limit(initial=8.0, batches_to_average_over=1)
    for _ in range(20):
        record(limit, 2.0, 1.0)
    before = limit.limit
    record(limit, 2.0)
    assert abs(limit.limit / before - 1) == pytest.approx(1 / 128)


@given(limit=st.floats(1.0, 8.0), number=st.integers(1, 200))
def test_latency_limit_keeps_to_fractions_on_average(limit, number):
    """Over many batches, what is allowed adds up to the limit."""
    tuned = latency_limit(initial=limit, batches_to_average_over=1000)
    allowed = []
    for _ in range(number):
        record(tuned, 1.0)
        allowed.append(tuned.num_allowed)
    assert {int(limit), int(limit) + 1} >= set(allowed)
    assert sum(allowed) == pytest.approx(limit * number, abs=1.001)


def test_pending_limit_moves_by_the_difference_to_the_target():
    """Too few batches on the device: more are let through; too many: fewer."""
    limit = pending_limit()
    record(limit, *[0] * 10)
    assert limit.num_allowed == 5
    record(limit, *[3] * 5, *[4] * 5)
    assert limit.num_allowed == 3


def test_pending_limit_stays_between_one_and_the_threads():
    """However far the device is from its target."""
    limit = pending_limit(maximum=4)
    record(limit, *[0] * 30)
    assert limit.num_allowed == 4
    record(limit, *[50] * 10)
    assert limit.num_allowed == 1


@pytest.mark.parametrize(("num_without_more", "allowed"), [(1, 5), (2, 3)])
def test_pending_limit_learns_nothing_from_a_low_load(num_without_more, allowed):
    """A device is idle for want of batches, not of threads: up to a tenth of that is forgiven."""
    limit = pending_limit()
    record(limit, *[0] * num_without_more, has_more=False)
    record(limit, *[0] * (10 - num_without_more))
    assert limit.num_allowed == allowed
    record(limit, *[0] * 10)
    assert limit.num_allowed == allowed + 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: latency_limit(minimum=0.5), "minimum 0.5"),
        (lambda: latency_limit(initial=17.0), "initial 17.0, num_batch_threads 16"),
        (lambda: latency_limit(initial=1.0, minimum=2.0), "minimum 2.0, initial 1.0"),
        (lambda: latency_limit(batches_to_average_over=0), "1 or more, got 0"),
        (lambda: pending_limit(initial=0), "initial 0"),
        (lambda: pending_limit(initial=17), "initial 17"),
        (lambda: pending_limit(target_pending=-1.0), "target_pending must be .* got -1.0"),
    ],
)
def test_options_out_of_range_are_errors(make, message):
    """The message names the option and its value."""
    with pytest.raises(InvalidArgumentError, match=message):
        make()
