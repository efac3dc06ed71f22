"""What the monitor remembers, and what it waits for."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from servable_core.errors import (
    AbortedError,
    CancelledError,
    DeadlineExceededError,
    InvalidArgumentError,
)
from servable_core.lifecycle import ManagerState, ServableId, ServableRequest, ServableState
from servable_core.managers import ServableStateMonitor
from servable_core.runtime.event_bus import EventBus
from servable_core.testing import FakeClock

PATIENCE_SECS = 10.0
A1, A2, B1 = ServableId("a", 1), ServableId("a", 2), ServableId("b", 1)
S = ManagerState
ERROR = OSError("unreadable")


class Told:
    """A monitor, and a way to tell it things."""

    def __init__(self, **options: int) -> None:
        self.clock = FakeClock(wall_time=100.0)
        self.bus: EventBus[ServableState] = EventBus(self.clock)
        self.monitor = ServableStateMonitor(self.bus, clock=self.clock, **options)

    def tell(
        self, servable_id: ServableId, manager_state: ManagerState, error: Exception | None = None
    ) -> None:
        state = ServableState(servable_id=servable_id, manager_state=manager_state, error=error)
        self.bus.publish(state)


def test_the_newest_state_counts() -> None:
    """With the time since when."""
    told = Told()
    assert told.monitor.state(A1) is None
    told.tell(A1, S.START)
    told.clock.advance(5)
    told.tell(A1, S.LOADING)

    stamped = told.monitor.state_and_time(A1)
    assert stamped is not None
    assert (stamped.event.manager_state, stamped.wall_time_secs) == (S.LOADING, 105.0)


def test_versions_come_highest_first() -> None:
    """Of one servable."""
    told = Told()
    for servable_id in (A1, A2, B1):
        told.tell(servable_id, S.START)

    assert list(told.monitor.version_states("a")) == [2, 1]


def test_what_is_live_and_what_is_available() -> None:
    """Ended servables are not live; others may be neither."""
    told = Told()
    told.tell(A1, S.END, ERROR)
    told.tell(A2, S.AVAILABLE)
    told.tell(B1, S.LOADING)

    assert set(told.monitor.states()) == {A1, A2, B1}
    assert set(told.monitor.states(is_live_only=True)) == {A2, B1}
    assert told.monitor.available_names() == {"a"}


def test_of_ended_servables_the_newest_are_remembered() -> None:
    """So memory is bounded; what begins anew has not ended."""
    told = Told(max_num_ended=2)
    for servable_id in (A1, B1):
        told.tell(servable_id, S.END)
    told.tell(A1, S.AVAILABLE)
    for version in (7, 8, 9):
        told.tell(ServableId("c", version), S.END)

    assert set(told.monitor.states()) == {A1, ServableId("c", 8), ServableId("c", 9)}
    with pytest.raises(InvalidArgumentError, match="max_num_ended must be 1 or more, got 0"):
        Told(max_num_ended=0)


@pytest.mark.parametrize(("max_history", "kept"), [(0, []), (2, [S.LOADING, S.AVAILABLE])])
def test_the_history_is_bounded(max_history: int, kept: list[ManagerState]) -> None:
    """The newest events stay."""
    told = Told(max_history=max_history)
    for state in (S.START, S.LOADING, S.AVAILABLE):
        told.tell(A1, state)

    assert [stamped.event.manager_state for stamped in told.monitor.history()] == kept


def test_a_closed_monitor_hears_nothing_more() -> None:
    """What it knows stays."""
    told = Told()
    with told.monitor:
        told.tell(A1, S.START)
    told.tell(A2, S.START)

    assert set(told.monitor.states()) == {A1}


SPECIFIC, LATEST = ServableRequest.from_id(A1), ServableRequest.latest("a")


@pytest.mark.parametrize(
    ("request_", "states", "goal", "is_reached"),
    [
        pytest.param(SPECIFIC, [], S.AVAILABLE, None, id="unknown"),
        pytest.param(SPECIFIC, [(A1, S.LOADING, None)], S.AVAILABLE, None, id="not yet"),
        pytest.param(SPECIFIC, [(A2, S.AVAILABLE, None)], S.AVAILABLE, None, id="another version"),
        pytest.param(SPECIFIC, [(A1, S.AVAILABLE, None)], S.AVAILABLE, True, id="at it"),
        pytest.param(SPECIFIC, [(A1, S.AVAILABLE, None)], S.LOADING, True, id="past it"),
        pytest.param(SPECIFIC, [(A1, S.END, ERROR)], S.AVAILABLE, False, id="failed before"),
        pytest.param(SPECIFIC, [(A1, S.END, None)], S.AVAILABLE, False, id="unloaded before"),
        pytest.param(SPECIFIC, [(A1, S.END, None)], S.END, True, id="waited for the end"),
        pytest.param(LATEST, [], S.AVAILABLE, None, id="latest of nothing"),
        pytest.param(LATEST, [(A1, S.AVAILABLE, None)], S.AVAILABLE, True, id="any version"),
        pytest.param(
            LATEST,
            [(A2, S.LOADING, None), (A1, S.END, ERROR)],
            S.AVAILABLE,
            None,
            id="an old failure does not count",
        ),
        pytest.param(
            LATEST,
            [(A1, S.AVAILABLE, None), (A2, S.END, ERROR)],
            S.AVAILABLE,
            True,
            id="the old version serves",
        ),
        pytest.param(LATEST, [(A1, S.END, ERROR)], S.AVAILABLE, False, id="all failed"),
        pytest.param(LATEST, [(A1, S.END, None)], S.AVAILABLE, None, id="unloaded: one may follow"),
        pytest.param(
            LATEST, [(A1, S.END, CancelledError("c"))], S.AVAILABLE, None, id="cancelled: same"
        ),
    ],
)
def test_when_a_wait_is_over(
    request_: ServableRequest,
    states: list[tuple[ServableId, ManagerState, Exception | None]],
    goal: ManagerState,
    is_reached: bool | None,
) -> None:
    """At the goal, past it, or failed; whether that was before the wait or comes later."""
    told = Told()
    before = told.monitor.notify_when_reached([request_], goal)
    for state in states:
        told.tell(*state)
    after = told.monitor.notify_when_reached([request_], goal)

    for future in (before, after):
        assert future.done() is (is_reached is not None)
        if future.done():
            assert future.result(0).is_reached is is_reached


def test_no_requests_are_reached_at_once() -> None:
    """There is nothing to wait for."""
    assert Told().monitor.wait_until_reached([]).is_reached


def test_a_wait_ends_when_all_are_decided() -> None:
    """The result has the state of each; it is told once."""
    told, results = Told(), list[bool]()
    requests = [SPECIFIC, ServableRequest.latest("b")]
    future = told.monitor.notify_when_reached(requests, S.AVAILABLE)
    future.add_done_callback(lambda f: results.append(f.result().is_reached))
    told.tell(A1, S.AVAILABLE)
    assert results == []
    told.tell(B1, S.END, ERROR)
    told.tell(A1, S.UNLOADING)

    assert results == [False]
    assert future.result(0).ended == {requests[1]: future.result(0).states[requests[1]]}
    assert future.result(0).states[requests[1]].error is ERROR


def test_a_cancelled_wait_is_forgotten() -> None:
    """Nothing is kept of it after the next event."""
    told = Told()
    future = told.monitor.notify_when_reached([SPECIFIC], S.AVAILABLE)
    assert future.cancel()
    told.tell(A2, S.START)
    assert told.monitor._waits == []
    told.tell(A1, S.AVAILABLE)
    assert future.cancelled()


def test_a_blocking_wait_ends_with_the_event() -> None:
    """It is told on another thread."""
    told = Told()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(told.monitor.wait_until_reached, [SPECIFIC])
        told.clock.block_until_waiters(1)
        told.tell(A1, S.LOADING)
        told.tell(A1, S.AVAILABLE)
        assert waiting.result(PATIENCE_SECS).is_reached


def test_a_blocking_wait_ends_when_time_runs_out() -> None:
    """The message tells how far everything has come."""
    told = Told()
    told.tell(A1, S.LOADING)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(told.monitor.wait_until_reached, [SPECIFIC], timeout_secs=5)
        told.clock.block_until_waiters(1)
        told.clock.advance(5)
        with pytest.raises(DeadlineExceededError, match=r"after 5 seconds: a/1 \(LOADING\)"):
            waiting.result(PATIENCE_SECS)


def test_what_is_decided_once_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it begins anew before anybody looks: one wait has one deadline."""
    told = Told()
    states = told.monitor.states

    def begin_anew_and_look() -> dict[ServableId, ServableState]:
        told.tell(A1, S.START)
        return states()

    monkeypatch.setattr(told.monitor, "states", begin_anew_and_look)
    told.tell(A1, S.AVAILABLE)

    reached = told.monitor.wait_until_reached([SPECIFIC], timeout_secs=0)

    assert reached.is_reached


def test_a_blocking_wait_can_be_cancelled() -> None:
    """By whoever has it look again."""
    told, cancelled = Told(), threading.Event()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(
            told.monitor.wait_until_reached, [SPECIFIC], is_cancelled=cancelled.is_set
        )
        told.clock.block_until_waiters(1)
        cancelled.set()
        told.monitor.recheck()
        with pytest.raises(AbortedError):
            waiting.result(PATIENCE_SECS)


def test_any_predicate_can_be_waited_for() -> None:
    """Here: that two servables are known."""
    told = Told()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(told.monitor.wait_until, lambda states: len(states) == 2)
        told.clock.block_until_waiters(1)
        told.tell(A1, S.START)
        told.tell(B1, S.START)
        waiting.result(PATIENCE_SECS)
