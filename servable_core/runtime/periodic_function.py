"""Runs a function again and again on a thread of its own, until it is closed."""

import logging
import threading
from collections.abc import Callable

from typing_extensions import override

from servable_core.runtime.clock import Clock
from servable_core.runtime.closeable import Closeable
from servable_core.runtime.executor import start_thread

_logger = logging.getLogger(__name__)


class PeriodicFunction(Closeable):
    """Calls `function` at once, then at each time that it asks for; thread-safe.

    A call that raises is logged and tried again after `retry_secs`.

    Args:
        function: Returns when to call it next, in terms of `clock.now()`; None is not before
            `wake`. Only ever called by one thread.
        name: Name of the thread.
        clock: Times the waits.
        retry_secs: Wait after a call that raised.
    """

    def __init__(
        self, function: Callable[[], float | None], *, name: str, clock: Clock, retry_secs: float
    ) -> None:
        self._function = function
        self._name = name
        self._clock = clock
        self._retry_secs = retry_secs
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._is_closed = False  # Guarded by _lock.
        self._is_woken = False  # Guarded by _lock.
        self._thread = start_thread(self._run, name=name)

    def wake(self) -> None:
        """Has the function called now, or once more after a call that is under way."""
        with self._lock:
            self._is_woken = True
            self._changed.notify_all()

    @override
    def close(self) -> None:
        """Ends the thread, after a call that is under way; further calls do nothing."""
        with self._lock:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while self._wait_until(self._call()):
            pass

    def _call(self) -> float | None:
        try:
            return self._function()
        except Exception:
            _logger.exception("%s failed; it will be tried again", self._name)
            return self._clock.now() + self._retry_secs

    def _wait_until(self, due: float | None) -> bool:
        """Waits until `due` or a wake; returns False when closed."""
        with self._lock:
            while not self._is_closed and not self._is_woken:
                left_secs = None if due is None else due - self._clock.now()
                if left_secs is not None and left_secs <= 0:
                    break
                self._clock.wait(self._changed, left_secs)
            self._is_woken = False
            return not self._is_closed
