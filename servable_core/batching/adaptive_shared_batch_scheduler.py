"""Batch threads whose number in use is tuned by measured latency."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from servable_core.batching.batch import Batch, BatchTask
from servable_core.batching.in_flight_limit import LatencyTunedLimit
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
class AdaptiveSharedBatchSchedulerOptions:
    """The threads of one adaptive scheduler, and how their use is tuned.

    Attributes:
        num_batch_threads: Threads, and so the highest limit of batches in flight. 0: `step` does
            the work on its caller's thread.
        thread_name_prefix: The threads are called `<prefix>_<i>`.
        initial_in_flight_batches_limit: Batches in flight before anything is measured; may be a
            fraction.
        min_in_flight_batches_limit: The lowest limit. No limit may be above `num_batch_threads`.
        batches_to_average_over: The limit changes after so many batches.
        full_batch_scheduling_boost_secs: A full batch counts as so much older than it is, one that
            is half full as half of that. 0: the oldest batch first.
        run_full_batches_beyond_limit: Whether full batches may use all threads, so that the limit
            only holds back batches that might still fill up.
    """

    num_batch_threads: int
    thread_name_prefix: str = "adaptive_batch_thread"
    initial_in_flight_batches_limit: float = 3.0
    min_in_flight_batches_limit: float = 1.0
    batches_to_average_over: int = 1000
    full_batch_scheduling_boost_secs: float = 0.0
    run_full_batches_beyond_limit: bool = True

    def __post_init__(self) -> None:
        self.thread_options()
        self.create_turns(self.create_limit(), lambda _: 0.0)

    def thread_options(self) -> SharedBatchSchedulerOptions:
        """Returns the threads."""
        return SharedBatchSchedulerOptions(
            num_batch_threads=self.num_batch_threads, thread_name_prefix=self.thread_name_prefix
        )

    def create_limit(self) -> LatencyTunedLimit:
        """Returns the limit as it is at first."""
        return LatencyTunedLimit(
            initial=self.initial_in_flight_batches_limit,
            minimum=self.min_in_flight_batches_limit,
            maximum=self.num_batch_threads or math.inf,
            batches_to_average_over=self.batches_to_average_over,
        )

    def create_turns(
        self, limit: LatencyTunedLimit, measure: Callable[[Batch[Any]], float]
    ) -> LimitedTurns[SharedBatchQueue[Any]]:
        """Returns turns within `limit`, which learns from what `measure` returns."""
        return LimitedTurns(
            limit,
            measure,
            full_batch_boost_secs=self.full_batch_scheduling_boost_secs,
            run_full_beyond_limit=self.run_full_batches_beyond_limit,
        )


class AdaptiveSharedBatchScheduler(SharedBatchScheduler[T], Generic[T]):
    """A `SharedBatchScheduler` that finds by itself how many batches to process at a time.

    While the limit is reached, batches wait and grow; so there is no timeout to tune, and
    `batch_timeout_secs` may stay 0. Suits models that use several cores for one batch. The limit
    follows the average latency, from the first task of a batch to its end. Queues have no ranks.
    """

    def __init__(
        self, options: AdaptiveSharedBatchSchedulerOptions, *, clock: Clock = _SYSTEM_CLOCK
    ) -> None:
        self._limit = options.create_limit()
        turns = options.create_turns(self._limit, lambda batch: clock.now() - batch.started_secs)
        super().__init__(options.thread_options(), clock=clock, turns=turns)

    @property
    def in_flight_batches_limit(self) -> float:
        """The limit at present, between the minimum and the number of threads."""
        with self._lock:
            return self._limit.limit
