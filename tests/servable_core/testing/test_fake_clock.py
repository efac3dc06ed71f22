"""The fake clock turns only by hand."""

import threading
from concurrent.futures import ThreadPoolExecutor

from servable_core.testing import FakeClock


def _wait_until(clock: FakeClock, deadline: float) -> float:
    condition = threading.Condition()
    with condition:
        while clock.now() < deadline:
            clock.wait(condition, deadline - clock.now())
    return clock.now()


def test_time_passes_in_advance_only() -> None:
    """Both readings move together."""
    clock = FakeClock(now=5.0, wall_time=100.0)

    clock.advance(2.5)

    assert clock.now() == 7.5
    assert clock.wall_time() == 102.5


def test_advance_ends_the_waits_that_are_due_and_no_others() -> None:
    """A wait for a later time goes on."""
    clock = FakeClock(now=0.0)
    with ThreadPoolExecutor() as pool:
        early = pool.submit(_wait_until, clock, 1.0)
        late = pool.submit(_wait_until, clock, 3.0)
        clock.block_until_waiters(2)

        clock.advance(1.0)
        assert early.result(10) == 1.0
        assert not late.done()

        clock.advance(2.0)
        assert late.result(10) == 3.0


def test_a_notification_ends_a_wait_without_time_passing() -> None:
    """Waits are ordinary waits on a condition."""
    clock, condition = FakeClock(), threading.Condition()

    def wait() -> float:
        with condition:
            clock.wait(condition, None)
        return clock.now()

    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(wait)
        clock.block_until_waiters(1)
        with condition:
            condition.notify_all()
        assert waiting.result(10) == clock.now()
