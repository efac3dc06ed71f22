"""One queue of ordinary batches, with batch threads of its own."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from servable_core.batching.batch import Batch, BatchTask
from servable_core.batching.batch_queue import QueueOptions
from servable_core.batching.shared_batch_scheduler import (
    SharedBatchScheduler,
    SharedBatchSchedulerOptions,
)
from servable_core.batching.single_queue_scheduler import SingleQueueScheduler
from servable_core.runtime.clock import Clock, SystemClock

T = TypeVar("T", bound=BatchTask)

_SYSTEM_CLOCK = SystemClock()


class BasicBatchScheduler(SingleQueueScheduler[T], Generic[T]):
    """Batches homogeneous tasks; where there are several kinds, share threads between queues.

    A task waits at most as long as the batches take that are ahead of it, at most
    `max_enqueued_batches` over `num_batch_threads` threads, or `batch_timeout_secs` if that is
    longer.

    Args:
        threads: The threads.
        queue: How batches are formed.
        process_batch: As in `SharedBatchScheduler.add_queue`.
        split: As in `SharedBatchScheduler.add_queue`.
        clock: Whose time counts.
    """

    def __init__(
        self,
        threads: SharedBatchSchedulerOptions,
        queue: QueueOptions,
        process_batch: Callable[[Batch[T]], None],
        split: Callable[[T, Sequence[int]], list[T]] | None = None,
        *,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> None:
        super().__init__(
            SharedBatchScheduler(threads, clock=clock),
            lambda scheduler: scheduler.add_queue(queue, process_batch, split),
        )
