"""One queue of a shared scheduler: admission of tasks, back-pressure, draining."""

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from typing_extensions import override

from servable_core.batching.batch import Batch, BatchTask
from servable_core.batching.batch_former import BatchFormer
from servable_core.batching.batch_queue import QueueOptions
from servable_core.batching.batch_scheduler import BatchScheduler
from servable_core.batching.idle_threads import IdleThreads
from servable_core.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    UnavailableError,
)
from servable_core.runtime.clock import Clock
from servable_core.runtime.closeable import Closeable

T = TypeVar("T", bound=BatchTask)

_logger = logging.getLogger(__name__)


class SharedBatchQueue(BatchScheduler[T], Closeable, Generic[T]):
    """What `SharedBatchScheduler.add_queue` returns; thread-safe.

    Callers wait in line, first come first served, while the queue has no room; meanwhile its open
    batch does not wait for its timeout. A context manager: leaving it closes the queue. The lock
    is the scheduler's, which alone calls `take_locked`, `run` and `finish_locked`.
    """

    def __init__(
        self,
        options: QueueOptions,
        process_batch: Callable[[Batch[T]], None],
        split: Callable[[T, Sequence[int]], list[T]] | None,
        *,
        former: BatchFormer[T],
        rank: int,
        lock: threading.Lock,
        idle_threads: IdleThreads,
        clock: Clock,
        drain: Callable[["SharedBatchQueue[T]"], None],
    ) -> None:
        self._options = options
        self._process_batch = process_batch
        self._split = split
        self._rank = rank
        self._lock = lock
        self._idle_threads = idle_threads
        self._clock = clock
        self._drain = drain
        self._queue = former  # Guarded by _lock.
        self._line: deque[threading.Condition] = deque()  # Guarded by _lock.
        self._num_running = 0  # Guarded by _lock.

    @override
    def schedule(self, task: T, *, timeout_secs: float | None = None) -> None:
        size = task.size
        with self._lock:
            if not self._line and self._can_add_whole_locked(size):
                self._add_locked([task])
                return
        self._check_arguments(size, timeout_secs)
        if timeout_secs == 0:
            self._schedule_now(task)
        else:
            self._schedule_in_line(task, timeout_secs)

    @property
    @override
    def num_enqueued_tasks(self) -> int:
        with self._lock:
            return self._queue.num_tasks

    @property
    @override
    def scheduling_capacity(self) -> int:
        with self._lock:
            return self._queue.capacity

    @property
    @override
    def max_task_size(self) -> int:
        return self._options.max_task_size

    @override
    def flush(self) -> None:
        with self._lock:
            self._flush_locked()

    @property
    def head(self) -> Batch[T] | None:
        """The next batch, which may still be open; None while there is none."""
        with self._lock:
            return self._queue.head

    def set_target_batch_size(self, num_rows: int) -> None:
        """Lets batches that begin from now on have at most `num_rows`, where tasks allow it.

        The bounds of the options stay as they are.
        """
        with self._lock:
            self._queue.set_target_batch_size(num_rows)

    @override
    def close(self) -> None:
        """Takes no more tasks and blocks until those it has are processed; idempotent.

        Batches do not wait for their timeouts any more, and callers still in line get an error.
        Must not be called from `process_batch`, for which it would wait forever.
        """
        with self._lock:
            self._queue.close()
            self._idle_threads.wake_locked(self._queue.due_secs)
            for ticket in self._line:
                ticket.notify()
        self._drain(self)

    def __repr__(self) -> str:
        with self._lock:
            return (
                f"SharedBatchQueue(num_tasks={self._queue.num_tasks}, "
                f"num_batches={self._queue.num_batches}, num_running={self._num_running}, "
                f"num_waiting_callers={len(self._line)}, is_closed={self._queue.is_closed})"
            )

    @property
    def rank(self) -> int:
        """How urgent it is: 0 is served before 1."""
        return self._rank

    @property
    def max_batch_size(self) -> int:
        """Rows of a full batch."""
        return self._options.max_batch_size

    @property
    def due_secs_locked(self) -> float:
        """When the next batch is due."""
        return self._queue.due_secs

    @property
    def head_locked(self) -> Batch[T] | None:
        """The next batch; None while there is none."""
        return self._queue.head

    def take_locked(self, now: float) -> Batch[T] | None:
        """Takes a due batch, to be `run` without the lock, and lets the line move up."""
        batch = self._queue.take(now)
        if batch is not None:
            self._num_running += 1
            self._call_next_locked()
        return batch

    def run(self, batch: Batch[T]) -> None:
        """Processes a batch; an error stays here, since nobody above could handle it."""
        try:
            self._process_batch(batch)
        except BaseException:
            _logger.exception("process_batch must not raise; lost the results of %r", batch)

    def finish_locked(self) -> None:
        """Notes the end of a `run`."""
        self._num_running -= 1
        # A former may have room again only now, when the thread is free.
        self._call_next_locked()

    @property
    def is_drained_locked(self) -> bool:
        """Whether the queue is closed, empty, and none of its batches is running."""
        queue = self._queue
        return queue.is_closed and not queue.num_batches and not self._num_running

    def _check_arguments(self, size: int, timeout_secs: float | None) -> None:
        if timeout_secs is not None and not timeout_secs >= 0:
            raise InvalidArgumentError(
                f"timeout_secs must be None or 0 or more, got {timeout_secs}"
            )
        if size < 1:
            raise InvalidArgumentError(f"a task must have 1 or more rows, got {size}")
        if size > self.max_task_size:
            raise InvalidArgumentError(
                f"a task must have at most {self.max_task_size} rows to fit into this queue, got {size}; "
                f"send smaller tasks, or raise a limit: {self._options}"
            )

    def _can_add_whole_locked(self, size: int) -> bool:
        return size > 0 and not self._queue.is_closed and self._queue.fits_whole(size)

    def _add_locked(self, parts: Sequence[T]) -> None:
        self._queue.add(parts, self._clock.now())
        self._idle_threads.wake_locked(self._queue.due_secs)

    def _schedule_now(self, task: T) -> None:
        while True:
            with self._lock:
                self._check_open_locked()
                if not self._queue.has_room(task.size):
                    raise UnavailableError(
                        f"no room for a task of {task.size} rows: {self._full_locked()}"
                    )
            if self._try_add_in_parts(task):
                return

    def _schedule_in_line(self, task: T, timeout_secs: float | None) -> None:
        deadline = math.inf if timeout_secs is None else self._clock.now() + timeout_secs
        ticket = threading.Condition(self._lock)
        with self._lock:
            self._line.append(ticket)
        try:
            while True:
                with self._lock:
                    self._wait_for_room_locked(ticket, task.size, deadline)
                if self._try_add_in_parts(task):
                    return
        finally:
            with self._lock:
                self._line.remove(ticket)
                self._call_next_locked()

    def _try_add_in_parts(self, task: T) -> bool:
        """Splits without the lock; False if the room has changed meanwhile."""
        with self._lock:
            sizes = self._queue.part_sizes(task.size)
        parts = [task] if len(sizes) == 1 or self._split is None else self._split(task, sizes)
        with self._lock:
            self._check_open_locked()
            if not self._queue.has_room(task.size) or self._queue.part_sizes(task.size) != sizes:
                return False
            self._add_locked(parts)
            return True

    def _wait_for_room_locked(
        self, ticket: threading.Condition, size: int, deadline: float
    ) -> None:
        while True:
            self._check_open_locked()
            if self._line[0] is ticket and self._queue.has_room(size):
                return
            timeout_secs = deadline - self._clock.now()
            if timeout_secs <= 0:
                raise DeadlineExceededError(
                    f"no room for a task of {size} rows in time: {self._full_locked()}"
                )
            # The rows that would fill the open batch stand in line: it has nothing to wait for.
            self._flush_locked()
            self._clock.wait(ticket, timeout_secs if timeout_secs < math.inf else None)

    def _flush_locked(self) -> None:
        self._queue.flush()
        self._idle_threads.wake_locked(self._queue.due_secs)

    def _call_next_locked(self) -> None:
        if self._line:
            self._line[0].notify()

    def _check_open_locked(self) -> None:
        if self._queue.is_closed:
            raise FailedPreconditionError("tasks must be scheduled before the queue is closed")

    def _full_locked(self) -> str:
        return (
            f"{self._queue.num_batches} batches are enqueued with room for {self._queue.capacity} rows, "
            f"max_enqueued_batches is {self._options.max_enqueued_batches} and max_batch_size "
            f"{self._options.max_batch_size}"
        )
