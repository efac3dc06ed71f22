"""Functions that are called again and again."""

import threading

import pytest

from servable_core.runtime.periodic_function import PeriodicFunction
from servable_core.testing import FakeClock


class _Function:
    """Asks for its next call after `secs`, and fails when told to."""

    def __init__(self, clock: FakeClock, secs: float | None) -> None:
        self.clock = clock
        self.secs = secs
        self.times: list[float] = []
        self.error: Exception | None = None
        self.called = threading.Event()

    def __call__(self) -> float | None:
        self.times.append(self.clock.now())
        self.called.set()
        if self.error is not None:
            raise self.error
        return None if self.secs is None else self.clock.now() + self.secs


def test_it_is_called_at_once_and_when_it_asks_to_be() -> None:
    """Not before, and not after close."""
    clock = FakeClock(now=0)
    function = _Function(clock, 10)

    with PeriodicFunction(function, name="f", clock=clock, retry_secs=1):
        for _ in range(3):
            clock.block_until_waiters(1)
            clock.advance(5)
    clock.advance(100)

    assert function.times == [0, 10]


def test_a_wake_calls_it_now() -> None:
    """Also where it asked for no further call."""
    clock = FakeClock(now=0)
    function = _Function(clock, None)

    with PeriodicFunction(function, name="f", clock=clock, retry_secs=1) as periodic:
        clock.block_until_waiters(1)
        clock.advance(7)
        function.called.clear()
        periodic.wake()
        assert function.called.wait(10)

    assert function.times == [0, 7]


def test_a_failure_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """After the retry time."""
    clock = FakeClock(now=0)
    function = _Function(clock, None)
    function.error = OSError("broken")

    with PeriodicFunction(function, name="poller", clock=clock, retry_secs=3):
        clock.block_until_waiters(1)
        function.error = None
        clock.advance(3)
        clock.block_until_waiters(1)

    assert function.times == [0, 3]
    assert "poller failed" in caplog.text


def test_close_waits_for_a_call_that_is_under_way() -> None:
    """So that what the function uses may be torn down."""
    entered, leave = threading.Event(), threading.Event()
    finished: list[bool] = []

    def function() -> float | None:
        entered.set()
        leave.wait(10)
        finished.append(True)
        return None

    periodic = PeriodicFunction(function, name="f", clock=FakeClock(), retry_secs=1)
    assert entered.wait(10)
    leave.set()
    periodic.close()
    periodic.close()

    assert finished == [True]
