"""A thread that steps whenever it is woken; nothing polls."""

import logging
import queue
import threading
from collections.abc import Callable

from servable_core.runtime.executor import start_thread

_logger = logging.getLogger(__name__)


class StepThread:
    """Calls `step` once at its start and after each `wake`, until `stop`; thread-safe.

    Args:
        step: One round of work; an exception is logged and does not end the thread.
        name: Of the thread.
        on_end: Called by the thread last of all.
    """

    def __init__(
        self, step: Callable[[], object], *, name: str, on_end: Callable[[], None] = lambda: None
    ) -> None:
        self._step = step
        self._name = name
        self._on_end = on_end
        # A queue and no condition: `put` is safe inside the garbage collector, which may
        # release a forgotten handle on a thread that holds any lock.
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_stopped = False  # set once
        self._lock = threading.Lock()
        # Waits for the end of the thread; None before its start. Guarded by _lock.
        self._join_thread: Callable[[], None] | None = None
        self._ident: int | None = None  # written once, by the thread

    def start(self) -> None:
        """Starts the thread; further calls do nothing."""
        with self._lock:
            if self._join_thread is None:
                self._join_thread = start_thread(self._run, name=self._name).join

    def wake(self) -> None:
        """Has the thread step once more; neither blocks nor takes a lock. May be called anywhere."""
        # A wake-up that is still in the queue is taken out before the step it leads to.
        if self._wakeups.empty():
            self._wakeups.put(None)

    def stop(self) -> None:
        """Lets the thread end after the step it may be in; returns at once."""
        self._is_stopped = True
        self.wake()

    def join(self) -> None:
        """Returns when the thread has ended, or at once where it never began or calls itself."""
        with self._lock:
            join_thread = self._join_thread
        if join_thread is not None and self._ident != threading.get_ident():
            join_thread()

    def _run(self) -> None:
        self._ident = threading.get_ident()
        while not self._is_stopped:
            try:
                self._step()
            except Exception:
                _logger.exception("%s failed to step", self._name)
            if not self._is_stopped:
                self._wakeups.get()
        self._on_end()
