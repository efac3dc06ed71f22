"""A queue together with the threads that serve it and nothing else."""

from collections.abc import Callable
from typing import Generic, TypeVar

from typing_extensions import override

from servable_core.batching.batch import BatchTask
from servable_core.batching.batch_scheduler import BatchScheduler
from servable_core.batching.shared_batch_queue import SharedBatchQueue
from servable_core.batching.shared_batch_scheduler import SharedBatchScheduler
from servable_core.runtime.closeable import Closeable

T = TypeVar("T", bound=BatchTask)


class SingleQueueScheduler(BatchScheduler[T], Closeable, Generic[T]):
    """Base of schedulers that own their threads and have one queue.

    A context manager: leaving it closes it.

    Args:
        scheduler: The threads; owned from here on.
        add_queue: Adds the queue to `scheduler`, which is closed if that fails.
    """

    def __init__(
        self,
        scheduler: SharedBatchScheduler[T],
        add_queue: Callable[[SharedBatchScheduler[T]], SharedBatchQueue[T]],
    ) -> None:
        self._scheduler = scheduler
        try:
            self._queue = add_queue(scheduler)
        except BaseException:
            scheduler.close()
            raise

    @override
    def schedule(self, task: T, *, timeout_secs: float | None = None) -> None:
        self._queue.schedule(task, timeout_secs=timeout_secs)

    @property
    @override
    def num_enqueued_tasks(self) -> int:
        return self._queue.num_enqueued_tasks

    @property
    @override
    def scheduling_capacity(self) -> int:
        return self._queue.scheduling_capacity

    @property
    @override
    def max_task_size(self) -> int:
        return self._queue.max_task_size

    @override
    def flush(self) -> None:
        self._queue.flush()

    def step(self) -> bool:
        """Processes one due batch on this thread; returns whether there was one."""
        return self._scheduler.step()

    @override
    def close(self) -> None:
        """Takes no more tasks, waits until all are processed, and joins the threads; idempotent.

        Must not be called from `process_batch`.
        """
        self._scheduler.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._queue!r})"
