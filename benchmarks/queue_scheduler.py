"""A batch scheduler as one writes it in an afternoon: one queue, one condition, a few threads.

It knows no limits, no errors, no rows and no second model; `benchmarks.batch_scheduler` measures what
these cost.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class Pending:
    """A future that is a lock: held until there is a value."""

    __slots__ = ("_missing", "_value")

    def __init__(self) -> None:
        self._missing = threading.Lock()
        self._missing.acquire()
        self._value: Any = None

    def set_result(self, value: Any) -> None:
        """Wakes whoever waits."""
        self._value = value
        self._missing.release()

    def result(self) -> Any:
        """Waits for the value."""
        with self._missing:
            return self._value


class QueueScheduler:
    """Runs tasks in batches, each as soon as it is full or its first task has waited long enough."""

    def __init__(
        self,
        run: Callable[[list[Any]], list[Any]],
        *,
        max_batch_tasks: int,
        batch_timeout_secs: float,
        num_threads: int,
    ) -> None:
        self._run = run
        self._max_batch_tasks = max_batch_tasks
        self._batch_timeout_secs = batch_timeout_secs
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[tuple[Any, Pending]] = deque()  # Guarded by _changed.
        self._is_closed = False  # Guarded by _changed.
        self._threads = [threading.Thread(target=self._run_batches) for _ in range(num_threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Any) -> Pending:
        """Queues a task."""
        pending = Pending()
        with self._changed:
            self._waiting.append((task, pending))
            if len(self._waiting) in {1, self._max_batch_tasks}:
                self._changed.notify()
        return pending

    def close(self) -> None:
        """Runs what waits and joins the threads."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run_batches(self) -> None:
        while (batch := self._next_batch()) is not None:
            if batch:  # another thread may have been quicker
                results = self._run([task for task, _ in batch])
                for (_, pending), result in zip(batch, results, strict=True):
                    pending.set_result(result)

    def _next_batch(self) -> list[tuple[Any, Pending]] | None:
        with self._changed:
            while not self._waiting and not self._is_closed:
                self._changed.wait()
            if not self._waiting:
                return None
            if self._batch_timeout_secs and not self._is_due():
                self._changed.wait_for(self._is_due, self._batch_timeout_secs)
            size = min(len(self._waiting), self._max_batch_tasks)
            return [self._waiting.popleft() for _ in range(size)]

    def _is_due(self) -> bool:
        return self._is_closed or len(self._waiting) >= self._max_batch_tasks
