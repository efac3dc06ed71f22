"""Tries again for a short while when a scheduler has no room."""

import math
import threading
from dataclasses import dataclass
from typing import Generic, TypeVar

from typing_extensions import override

from servable_core.batching.batch import BatchTask
from servable_core.batching.batch_scheduler import BatchScheduler
from servable_core.errors import InvalidArgumentError, UnavailableError
from servable_core.runtime.clock import Clock, SystemClock

T = TypeVar("T", bound=BatchTask)

_SYSTEM_CLOCK = SystemClock()


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSchedulerRetrierOptions:
    """How long to try again, and how often.

    Attributes:
        max_time_secs: No attempt starts later than this after the first one; 0 is one attempt.
        retry_delay_secs: Between two attempts.
    """

    max_time_secs: float = 0.01
    retry_delay_secs: float = 0.0001

    def __post_init__(self) -> None:
        if not 0 <= self.max_time_secs < math.inf:
            raise InvalidArgumentError(
                f"max_time_secs must be finite and 0 or more, got {self.max_time_secs}"
            )
        if not 0 < self.retry_delay_secs < math.inf:
            raise InvalidArgumentError(
                f"retry_delay_secs must be finite and more than 0, got {self.retry_delay_secs}"
            )


class BatchSchedulerRetrier(BatchScheduler[T], Generic[T]):
    """Schedules on another scheduler, again and again while that is UNAVAILABLE; thread-safe.

    The caller waits meanwhile. All other errors pass at once. A scheduler whose `schedule` can wait
    for room does better by itself, since it serves callers in their order; this is for those that
    answer UNAVAILABLE for reasons of their own. Owns nothing: close `scheduler` yourself.

    Args:
        scheduler: Gets the tasks, and for each attempt the caller's `timeout_secs`. Where it can
            wait for room itself, 0 is what leaves the waiting to the retrier.
        options: How long, and how often.
        clock: Whose time counts.
    """

    def __init__(
        self,
        scheduler: BatchScheduler[T],
        options: BatchSchedulerRetrierOptions,
        *,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> None:
        self._scheduler = scheduler
        self._options = options
        self._clock = clock

    @override
    def schedule(self, task: T, *, timeout_secs: float | None = None) -> None:
        last_secs = self._clock.now() + self._options.max_time_secs
        while True:
            try:
                self._scheduler.schedule(task, timeout_secs=timeout_secs)
            except UnavailableError:
                retry_secs = self._clock.now() + self._options.retry_delay_secs
                if retry_secs > last_secs:
                    raise
                self._sleep_until(retry_secs)
            else:
                return

    @property
    @override
    def num_enqueued_tasks(self) -> int:
        return self._scheduler.num_enqueued_tasks

    @property
    @override
    def scheduling_capacity(self) -> int:
        return self._scheduler.scheduling_capacity

    @property
    @override
    def max_task_size(self) -> int:
        return self._scheduler.max_task_size

    @override
    def flush(self) -> None:
        self._scheduler.flush()

    def __repr__(self) -> str:
        return f"BatchSchedulerRetrier({self._scheduler!r})"

    def _sleep_until(self, secs: float) -> None:
        nobody_notifies = threading.Condition()
        with nobody_notifies:
            while (left_secs := secs - self._clock.now()) > 0:
                self._clock.wait(nobody_notifies, left_secs)
