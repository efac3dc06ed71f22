"""Batch threads in front of a device that does one thing at a time."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from servable_core.batching.batch import BatchTask
from servable_core.batching.in_flight_limit import PendingTunedLimit
from servable_core.batching.limited_turns import LimitedTurns
from servable_core.batching.shared_batch_queue import SharedBatchQueue
from servable_core.batching.shared_batch_scheduler import (
    SharedBatchScheduler,
    SharedBatchSchedulerOptions,
)
from servable_core.runtime.clock import Clock, SystemClock

T = TypeVar("T", bound=BatchTask)

_SYSTEM_CLOCK = SystemClock()


@dataclass(frozen=True, kw_only=True, slots=True)
class SerialDeviceBatchSchedulerOptions:
    """The threads in front of one serial device.

    Attributes:
        num_batch_threads: Threads, and so the highest limit of batches in flight. 0: `step` does
            the work on its caller's thread.
        thread_name_prefix: The threads are called `<prefix>_<i>`.
        target_pending: Batches that should wait on the device: enough that it is never idle, few
            enough that a new batch starts soon.
        initial_in_flight_batches_limit: Batches in flight before anything is measured; not above
            `num_batch_threads`.
        batches_to_average_over: The limit changes after so many batches.
        full_batch_scheduling_boost_secs: A full batch counts as so much older than it is, one that
            is half full as half of that. 0: the oldest batch first.
    """

    num_batch_threads: int
    thread_name_prefix: str = "serial_device_batch_thread"
    target_pending: float = 2.0
    initial_in_flight_batches_limit: int = 3
    batches_to_average_over: int = 1000
    full_batch_scheduling_boost_secs: float = 0.0

    def __post_init__(self) -> None:
        self.thread_options()
        self.create_turns(self.create_limit(), lambda: 0)

    def thread_options(self) -> SharedBatchSchedulerOptions:
        """Returns the threads."""
        return SharedBatchSchedulerOptions(
            num_batch_threads=self.num_batch_threads, thread_name_prefix=self.thread_name_prefix
        )

    def create_limit(self) -> PendingTunedLimit:
        """Returns the limit as it is at first."""
        return PendingTunedLimit(
            target_pending=self.target_pending,
            initial=self.initial_in_flight_batches_limit,
            maximum=self.num_batch_threads or math.inf,
            batches_to_average_over=self.batches_to_average_over,
        )

    def create_turns(
        self, limit: PendingTunedLimit, get_pending: Callable[[], int]
    ) -> LimitedTurns[SharedBatchQueue[Any]]:
        """Returns turns within `limit`, which learns from what `get_pending` returns."""
        return LimitedTurns(
            limit,
            lambda _: get_pending(),
            full_batch_boost_secs=self.full_batch_scheduling_boost_secs,
            run_full_beyond_limit=False,
        )


class SerialDeviceBatchScheduler(SharedBatchScheduler[T], Generic[T]):
    """A `SharedBatchScheduler` that keeps the queue of an accelerator short but not empty.

    `process_batch` prepares its batch, enqueues it on the device and waits for it. The limit of
    batches in flight is tuned so that about `target_pending` of them wait on the device. Queues
    have no ranks.

    Args:
        options: Threads and target.
        get_pending_on_serial_device: Returns how many batches wait on the device now. Called on
            batch threads, after each batch, without a lock; must be thread-safe. An error of its
            is logged, and that batch teaches nothing.
        clock: Whose time counts.
    """

    def __init__(
        self,
        options: SerialDeviceBatchSchedulerOptions,
        get_pending_on_serial_device: Callable[[], int],
        *,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> None:
        self._limit = options.create_limit()
        turns = options.create_turns(self._limit, get_pending_on_serial_device)
        super().__init__(options.thread_options(), clock=clock, turns=turns)

    @property
    def in_flight_batches_limit(self) -> int:
        """The limit at present, between 1 and the number of threads."""
        with self._lock:
            return self._limit.num_allowed
