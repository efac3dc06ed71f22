"""Who among the idle batch threads wakes, and when: at most one holds the alarm, nobody polls."""

import math
import threading

from servable_core.runtime.clock import Clock


class IdleThreads:
    """A pool of sleeping threads that share one lock with what they watch.

    While work is pending, one idle thread sleeps until the earliest time at which some is due; the
    others sleep until they are woken. A thread that wakes looks for work, and before it leaves to
    do it, it wakes the next one if more is pending. All methods need the lock held.
    """

    def __init__(self, lock: threading.Lock, clock: Clock) -> None:
        self._clock = clock
        self._woken = threading.Condition(lock)
        self._num_idle = 0  # Guarded by lock.
        # Whether a thread was woken and has not looked yet.
        self._is_called = False  # Guarded by lock.
        # The earliest time until which a thread sleeps.
        self._alarm_secs = math.inf  # Guarded by lock.

    @property
    def num_idle(self) -> int:
        """Threads that are asleep, or on their way out of sleep."""
        return self._num_idle

    def wake_locked(self, due_secs: float) -> None:
        """Sees to it that an idle thread, if there is one, looks for work at `due_secs` at the latest."""
        if self._num_idle and not self._is_called and due_secs < self._alarm_secs:
            self._is_called = True
            self._woken.notify()

    def wake_all_locked(self) -> None:
        """Wakes every thread."""
        self._woken.notify_all()

    def sleep_locked(self, now: float, due_secs: float) -> None:
        """Sleeps until woken, or until `due_secs` if nobody else holds an alarm as early.

        Returns early at times: look for work again in a loop.
        """
        armed_secs = due_secs if due_secs < self._alarm_secs else math.inf
        self._alarm_secs = min(self._alarm_secs, armed_secs)
        self._num_idle += 1
        self._clock.wait(self._woken, armed_secs - now if armed_secs < math.inf else None)
        self._num_idle -= 1
        self._is_called = False
        if self._alarm_secs == armed_secs:
            self._alarm_secs = math.inf
