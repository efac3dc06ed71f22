"""Model calls that take too long: their tasks fail, the rest goes on."""

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from servable_core.batching.session_task import SessionTask
from servable_core.errors import DeadlineExceededError
from servable_core.runtime.alarm import Alarm
from servable_core.runtime.clock import Clock
from servable_core.runtime.stack_dump import all_stacks


class RunWatch:
    """Watches the batches of one session while they run; thread-safe.

    A call that hangs keeps its batch thread, for threads cannot be killed; but its tasks fail with
    the stacks of all threads, and what it returns later is dropped.

    Args:
        timeout_secs: What one batch may take; infinity for no limit.
        clock: Whose time counts.
        name: What to call the session in messages.
    """

    def __init__(self, timeout_secs: float, clock: Clock, name: str) -> None:
        self._timeout_secs = timeout_secs
        self._clock = clock
        self._name = name
        self._lock = threading.Lock()
        # Start and tasks of each batch that runs, in the order of their starts.
        self._running: dict[int, tuple[float, Sequence[SessionTask]]] = {}  # Guarded by _lock.
        self._next_key = 0  # Guarded by _lock.
        self._alarm = Alarm(self._fail_overdue, clock=clock, name="run_watch")

    @contextmanager
    def watching(self, tasks: Sequence[SessionTask]) -> Iterator[None]:
        """Watches during the body, which runs `tasks`."""
        if self._timeout_secs == math.inf:
            yield
            return
        now = self._clock.now()
        with self._lock:
            key = self._next_key
            self._next_key += 1
            self._running[key] = (now, tasks)
            is_first = len(self._running) == 1
        if is_first:
            self._alarm.set(now + self._timeout_secs)
        try:
            yield
        finally:
            with self._lock:
                self._running.pop(key, None)

    def close(self) -> None:
        """Ends the watch's thread."""
        self._alarm.cancel()

    def _fail_overdue(self) -> None:
        now = self._clock.now()
        with self._lock:
            keys = [
                key
                for key, (start, _) in self._running.items()
                if now - start >= self._timeout_secs
            ]
            overdue = [self._running.pop(key)[1] for key in keys]
            starts = [start for start, _ in self._running.values()]
        if starts:
            self._alarm.set(min(starts) + self._timeout_secs)
        for tasks in overdue:
            self._fail(tasks)

    def _fail(self, tasks: Sequence[SessionTask]) -> None:
        rows = sum(task.num_rows for task in tasks)
        message = f"{self._name}: a batch of {rows} rows took longer than {self._timeout_secs:g} s; what the threads are doing:\n{all_stacks()}"
        for task in tasks:
            task.fail(DeadlineExceededError(message))
