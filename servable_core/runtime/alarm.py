"""Calls back when a time has come; has a thread only while a time is set."""

import threading
from collections.abc import Callable

from servable_core.runtime.clock import Clock
from servable_core.runtime.executor import start_thread


class Alarm:
    """Rings at the earliest of the times set; thread-safe.

    Args:
        ring: Called on the alarm's thread, without a lock; must be quick.
        clock: Whose time counts.
        name: Of the thread.
    """

    def __init__(self, ring: Callable[[], None], *, clock: Clock, name: str) -> None:
        self._ring = ring
        self._clock = clock
        self._name = name
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._due_secs: float | None = None  # Guarded by _lock.
        self._has_thread = False  # Guarded by _lock.

    def set(self, due_secs: float) -> None:
        """Rings when the clock shows `due_secs`, and maybe earlier; returns at once."""
        with self._lock:
            if self._due_secs is not None and self._due_secs <= due_secs:
                return
            self._due_secs = due_secs
            self._changed.notify_all()
            if not self._has_thread:
                self._has_thread = True
                start_thread(self._run, name=self._name)

    def cancel(self) -> None:
        """Forgets the time set."""
        with self._lock:
            self._due_secs = None
            self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            self._ring()

    def _wait(self) -> bool:
        """Returns whether to ring; if not, no time is set and the thread has to end."""
        with self._lock:
            while self._due_secs is not None:
                remaining_secs = self._due_secs - self._clock.now()
                if remaining_secs <= 0:
                    self._due_secs = None
                    return True
                self._clock.wait(self._changed, remaining_secs)
            self._has_thread = False
            return False
