"""A clock that stands still until a test turns it."""

import threading

from typing_extensions import override

from servable_core.runtime.clock import Clock

_PATIENCE_SECS = 10.0  # of real time, before a test that waits in vain fails


class FakeClock(Clock):
    """Time passes only in `advance`; thread-safe. Waits still end when they are notified.

    Args:
        now: The first monotonic time.
        wall_time: The first Unix time.
    """

    def __init__(self, now: float = 1000.0, wall_time: float = 1_700_000_000.0) -> None:
        self._lock = threading.Lock()
        self._waiters_changed = threading.Condition(self._lock)
        self._now = now  # Guarded by _lock.
        self._offset = wall_time - now
        # The deadline and the condition of each wait. Guarded by _lock.
        self._waiters: dict[object, tuple[float | None, threading.Condition]] = {}

    @override
    def now(self) -> float:
        with self._lock:
            return self._now

    @override
    def wall_time(self) -> float:
        return self.now() + self._offset

    @override
    def wait(self, condition: threading.Condition, timeout_secs: float | None) -> None:
        waiter = object()
        with self._lock:
            deadline = None if timeout_secs is None else self._now + timeout_secs
            self._waiters[waiter] = (deadline, condition)
            self._waiters_changed.notify_all()
        try:
            condition.wait()
        finally:
            with self._lock:
                self._waiters.pop(waiter, None)

    def advance(self, secs: float) -> None:
        """Lets `secs` pass; ends the waits that are due. Hold no condition meanwhile."""
        with self._lock:
            self._now += secs
            due = {
                waiter: condition
                for waiter, (deadline, condition) in self._waiters.items()
                if deadline is not None and deadline <= self._now
            }
            # No longer waiting from here on, so that the next block_until_waiters is not
            # satisfied by a thread that has yet to wake.
            for waiter in due:
                del self._waiters[waiter]
        # Outside the lock: a waiter holds its condition while it takes the lock.
        for condition in due.values():
            with condition:
                condition.notify_all()

    def block_until_waiters(self, num_waiters: int) -> None:
        """Returns when at least `num_waiters` threads are inside `wait`, timed or not.

        Raises:
            AssertionError: If they are not within ten real seconds.
        """
        with self._lock:
            if not self._waiters_changed.wait_for(
                lambda: len(self._waiters) >= num_waiters, _PATIENCE_SECS
            ):
                raise AssertionError(f"{len(self._waiters)} threads wait, not {num_waiters}")
