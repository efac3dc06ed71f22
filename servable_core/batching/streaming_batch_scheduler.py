"""Hands a batch to a thread when it opens, and lets tasks stream in until it closes."""

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from typing_extensions import override

from servable_core.batching.batch import Batch, BatchTask
from servable_core.batching.batch_queue import QueueOptions
from servable_core.batching.shared_batch_queue import SharedBatchQueue
from servable_core.batching.shared_batch_scheduler import (
    SharedBatchScheduler,
    SharedBatchSchedulerOptions,
)
from servable_core.batching.single_queue_scheduler import SingleQueueScheduler
from servable_core.batching.streaming_batch import StreamingBatch
from servable_core.batching.streaming_batch_queue import StreamingBatchQueue
from servable_core.errors import DeadlineExceededError, UnavailableError
from servable_core.runtime.clock import Clock, SystemClock

T = TypeVar("T", bound=BatchTask)

_logger = logging.getLogger(__name__)
_SYSTEM_CLOCK = SystemClock()


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamingBatchSchedulerOptions:
    """How batches are formed, and the threads that process them.

    Attributes:
        max_batch_size: Most rows in one batch.
        num_batch_threads: Batches open or in processing at the same time. 0: `step` does the work
            on its caller's thread, and only of batches that are closed.
        batch_timeout_secs: How long a batch stays open for more tasks; 0 closes it as soon as it is
            read to its end, None only when it is full.
        thread_name_prefix: The threads are called `<prefix>_<i>`.
    """

    max_batch_size: int
    num_batch_threads: int
    batch_timeout_secs: float | None = 0.0
    thread_name_prefix: str = "streaming_batch_thread"

    def __post_init__(self) -> None:
        self.queue_options()
        self.thread_options()

    def queue_options(self) -> QueueOptions:
        """Returns what bounds the queue; who never closes a batch has no timeout there either."""
        return QueueOptions(
            max_batch_size=self.max_batch_size,
            batch_timeout_secs=self.batch_timeout_secs or 0.0,
            max_enqueued_batches=max(self.num_batch_threads, 1),
            enable_large_batch_splitting=False,
        )

    def thread_options(self) -> SharedBatchSchedulerOptions:
        """Returns the threads."""
        return SharedBatchSchedulerOptions(
            num_batch_threads=self.num_batch_threads, thread_name_prefix=self.thread_name_prefix
        )

    def due_secs(self, started_secs: float) -> float:
        """Returns when a batch that starts at `started_secs` closes at the latest."""
        timeout_secs = self.batch_timeout_secs
        return math.inf if timeout_secs is None else started_secs + timeout_secs


class StreamingBatchScheduler(SingleQueueScheduler[T], Generic[T]):
    """For callbacks that prepare each task (parse, copy to a device) while others still come.

    A task that opens a batch needs a free thread: there is no queue in front of the threads, and a
    batch that nobody could fill in time holds its thread until its timeout.

    Args:
        options: Batches and threads.
        process_batch: Gets a batch when its first task has come. It must iterate over it to its end,
            or wait until it is closed; tasks that come later than that would be lost. It should
            not raise: an error is logged.
        clock: Whose time counts.

    Example:
        >>> def process(batch):
        ...     prepared = [prepare(task) for task in batch]  # waits for tasks
        ...     run(prepared)
    """

    def __init__(
        self,
        options: StreamingBatchSchedulerOptions,
        process_batch: Callable[[StreamingBatch[T]], None],
        *,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> None:
        self._options = options
        self._process_batch = process_batch
        self._clock = clock
        scheduler: SharedBatchScheduler[T] = SharedBatchScheduler(
            options.thread_options(), clock=clock
        )
        super().__init__(scheduler, self._add_queue)

    @override
    def schedule(self, task: T, *, timeout_secs: float | None = None) -> None:
        try:
            super().schedule(task, timeout_secs=timeout_secs)
        except (UnavailableError, DeadlineExceededError) as error:
            raise type(error)(
                f"no batch thread is free to start a batch for a task of {task.size} rows, which "
                "fits into no open one; try again later, or raise num_batch_threads, now "
                f"{self._options.num_batch_threads}"
            ) from error

    def _add_queue(self, scheduler: SharedBatchScheduler[T]) -> SharedBatchQueue[T]:
        return scheduler.add_queue(
            self._options.queue_options(), self._process, create_former=self._create_former
        )

    def _create_former(self, lock: threading.Lock) -> StreamingBatchQueue[T]:
        options, clock = self._options, self._clock

        def create_batch(now: float) -> StreamingBatch[T]:
            return StreamingBatch(now, due_secs=options.due_secs(now), lock=lock, clock=clock)

        return StreamingBatchQueue(options.max_batch_size, options.num_batch_threads, create_batch)

    def _process(self, batch: Batch[T]) -> None:
        streaming = cast(StreamingBatch[T], batch)  # its former makes no others
        try:
            self._process_batch(streaming)
        finally:
            if not streaming.finish():
                _logger.error(
                    "process_batch must read a batch until it is closed; it may have missed tasks of %r",
                    batch,
                )
