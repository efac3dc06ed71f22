"""A batch scheduler that does what a test tells it, and remembers what it was given."""

import threading
from collections.abc import Iterable
from typing import Generic, TypeVar

from typing_extensions import override

from servable_core.batching.batch import BatchTask
from servable_core.batching.batch_scheduler import BatchScheduler

T = TypeVar("T", bound=BatchTask)


class PuppetBatchScheduler(BatchScheduler[T], Generic[T]):
    """Takes every task and processes none; thread-safe.

    Args:
        errors: One for each of the first calls of `schedule`: what it raises, None for nothing.
        num_enqueued_tasks: What the property of that name says.
        scheduling_capacity: What the property of that name says.
        max_task_size: What the property of that name says.

    Attributes:
        tasks: The tasks that were taken, in order.
        timeouts: The `timeout_secs` of each call of `schedule`, failed ones included.
        num_flushes: How often `flush` was called.
    """

    def __init__(
        self,
        errors: Iterable[Exception | None] = (),
        *,
        num_enqueued_tasks: int = 0,
        scheduling_capacity: int = 1,
        max_task_size: int = 1,
    ) -> None:
        self._lock = threading.Lock()
        self._errors = iter(errors)  # Guarded by _lock.
        self._num_enqueued_tasks = num_enqueued_tasks
        self._scheduling_capacity = scheduling_capacity
        self._max_task_size = max_task_size
        self.tasks: list[T] = []  # Guarded by _lock.
        self.timeouts: list[float | None] = []  # Guarded by _lock.
        self.num_flushes = 0  # Guarded by _lock.

    @override
    def schedule(self, task: T, *, timeout_secs: float | None = None) -> None:
        with self._lock:
            self.timeouts.append(timeout_secs)
            error = next(self._errors, None)
            if error is not None:
                raise error
            self.tasks.append(task)

    @property
    @override
    def num_enqueued_tasks(self) -> int:
        return self._num_enqueued_tasks

    @property
    @override
    def scheduling_capacity(self) -> int:
        return self._scheduling_capacity

    @property
    @override
    def max_task_size(self) -> int:
        return self._max_task_size

    @override
    def flush(self) -> None:
        with self._lock:
            self.num_flushes += 1
