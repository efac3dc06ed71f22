"""Batch threads shared by any number of queues: one batch per turn, turns by rank and in order."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from typing_extensions import override

from servable_core.batching.batch import Batch, BatchTask
from servable_core.batching.batch_former import BatchFormer
from servable_core.batching.batch_queue import BatchQueue, QueueOptions
from servable_core.batching.idle_threads import IdleThreads
from servable_core.batching.shared_batch_queue import SharedBatchQueue
from servable_core.batching.turn_policy import RankedRoundRobin, TurnPolicy
from servable_core.errors import FailedPreconditionError, InvalidArgumentError
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.closeable import Closeable
from servable_core.runtime.executor import start_thread

T = TypeVar("T", bound=BatchTask)

_logger = logging.getLogger(__name__)

_SYSTEM_CLOCK = SystemClock()
_Turn: TypeAlias = tuple[SharedBatchQueue[T], Batch[T]]


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedBatchSchedulerOptions:
    """The threads of one scheduler.

    Attributes:
        num_batch_threads: Batches processed at the same time, over all queues: cores on a CPU, two
            or so per accelerator. 0: `step` does the work on its caller's thread.
        thread_name_prefix: The threads are called `<prefix>_<i>`.
        max_turns_passed_over: How often in a row a due queue is passed over for queues of better
            rank before it is served all the same; 1 or more, None for no bound. Matters only
            where queues have different ranks.
    """

    num_batch_threads: int
    thread_name_prefix: str = "batch_thread"
    max_turns_passed_over: int | None = 100

    def __post_init__(self) -> None:
        if self.num_batch_threads < 0:
            raise InvalidArgumentError(
                f"num_batch_threads must be 0 or more, got {self.num_batch_threads}"
            )


class SharedBatchScheduler(Closeable, Generic[T]):
    """Owns batch threads and hands them batches of its queues; thread-safe.

    Each queue gets one batch per turn, however full it is, so none starves another of its rank;
    queues of worse rank have the turns that those of better rank have no due batch for, and one now
    and then, see `RankedRoundRobin`. Idle threads sleep until the earliest batch is due. Make one
    per process: sharing the threads between models is the point. A context manager: leaving it
    closes the queues and joins the threads.

    Args:
        options: The threads.
        clock: Whose time counts.
        turns: Decides whose batch runs next, and whether any does; `RankedRoundRobin` by default.
            It must not be used elsewhere.

    Example:
        >>> options = SharedBatchSchedulerOptions(num_batch_threads=2)
        >>> with SharedBatchScheduler(options) as scheduler:
        ...     queue = scheduler.add_queue(QueueOptions(max_batch_size=64), process, split)
        ...     queue.schedule(task)
    """

    def __init__(
        self,
        options: SharedBatchSchedulerOptions,
        *,
        clock: Clock = _SYSTEM_CLOCK,
        turns: TurnPolicy[SharedBatchQueue[T]] | None = None,
    ) -> None:
        self._options = options
        self._clock = clock
        self._lock = threading.Lock()
        self._idle_threads = IdleThreads(self._lock, clock)
        self._turn_ended = threading.Condition(self._lock)
        # Guarded by _lock.
        self._turns = turns or RankedRoundRobin(options.max_turns_passed_over)
        self._is_learning = self._turns.is_learning
        self._queues: list[SharedBatchQueue[T]] = []  # Guarded by _lock.
        self._is_closed = False  # Guarded by _lock.
        self._is_stopped = False  # Guarded by _lock.
        self._num_draining = 0  # Threads that wait for `_turn_ended`. Guarded by _lock.
        self._threads = [
            start_thread(self._run_turns, name=f"{options.thread_name_prefix}_{index}")
            for index in range(options.num_batch_threads)
        ]

    def add_queue(
        self,
        options: QueueOptions,
        process_batch: Callable[[Batch[T]], None],
        split: Callable[[T, Sequence[int]], list[T]] | None = None,
        *,
        rank: int = 0,
        create_former: Callable[[threading.Lock], BatchFormer[T]] | None = None,
    ) -> SharedBatchQueue[T]:
        """Adds a queue, to be closed by the caller or with the scheduler.

        Args:
            options: How the queue forms batches.
            process_batch: Gets closed batches on batch threads, several at the same time, without
                any lock held. It should not raise: an error is logged and its tasks are lost.
            split: Cuts a task into parts of the given sizes, on the thread of its scheduler.
                It may be called again for the same task, and its parts may never be used.
            rank: Queues of rank 0 are served before those of rank 1, and so on.
            create_former: Makes what forms the batches, given the lock that will guard it; a
                `BatchQueue` by default.

        Raises:
            InvalidArgumentError: Splitting is on without a `split`, or the rank is below 0 or not
                for this scheduler.
            FailedPreconditionError: The scheduler is closed.
        """
        if options.enable_large_batch_splitting and split is None:
            raise InvalidArgumentError(
                "split must be a function where enable_large_batch_splitting is set, got None"
            )
        if rank < 0:
            raise InvalidArgumentError(f"rank must be 0 (the most urgent) or more, got {rank}")
        queue = SharedBatchQueue(
            options,
            process_batch,
            split,
            former=create_former(self._lock) if create_former else BatchQueue(options),
            rank=rank,
            lock=self._lock,
            idle_threads=self._idle_threads,
            clock=self._clock,
            drain=self._drain,
        )
        with self._lock:
            if self._is_closed:
                raise FailedPreconditionError("queues must be added before the scheduler is closed")
            self._turns.add_queue(queue)
            self._queues.append(queue)
        return queue

    def step(self) -> bool:
        """Processes one due batch on this thread; returns whether there was one."""
        with self._lock:
            turn = self._take_turn_locked(self._clock.now())
        if turn is None:
            return False
        self._run(turn)
        with self._lock:
            self._idle_threads.wake_locked(self._turns.due_secs)
        return True

    @override
    def close(self) -> None:
        """Closes all queues, waits until their tasks are processed, and joins the threads; idempotent.

        Must not be called from `process_batch`.
        """
        with self._lock:
            self._is_closed = True
            queues = list(self._queues)
        for queue in queues:
            queue.close()
        with self._lock:
            self._is_stopped = True
            self._idle_threads.wake_all_locked()
        for thread in self._threads:
            thread.join()

    def __repr__(self) -> str:
        with self._lock:
            return (
                f"SharedBatchScheduler({self._options.thread_name_prefix!r}, "
                f"num_batch_threads={self._options.num_batch_threads}, "
                f"num_idle={self._idle_threads.num_idle}, num_queues={len(self._queues)}, "
                f"is_closed={self._is_closed})"
            )

    def _run_turns(self) -> None:
        turn: _Turn[T] | None = None
        measured: float | None = None
        while True:
            with self._lock:
                if turn is not None:
                    self._end_turn_locked(turn, measured)
                    turn = None  # while this thread sleeps, nobody else may need what it ran
                turn = self._next_turn_locked()
            if turn is None:
                return
            measured = self._run_measured(turn)

    def _run(self, turn: _Turn[T]) -> None:
        measured = self._run_measured(turn)
        with self._lock:
            self._end_turn_locked(turn, measured)

    def _run_measured(self, turn: _Turn[T]) -> float | None:
        queue, batch = turn
        queue.run(batch)
        return self._measure(batch) if self._is_learning else None

    def _end_turn_locked(self, turn: _Turn[T], measured: float | None) -> None:
        queue, batch = turn
        if self._is_learning:
            self._turns.end_turn(batch, self._clock.now(), measured)
        queue.finish_locked()
        if self._num_draining:
            self._turn_ended.notify_all()

    def _measure(self, batch: Batch[T]) -> float | None:
        try:
            return self._turns.measure(batch)
        except Exception:
            _logger.exception("nothing could be measured after %r", batch)
            return None

    def _next_turn_locked(self) -> _Turn[T] | None:
        while not self._is_stopped:
            now = self._clock.now()
            turn = self._take_turn_locked(now)
            if turn is not None:
                return turn
            self._idle_threads.sleep_locked(now, self._turns.due_secs)
        return None

    def _take_turn_locked(self, now: float) -> _Turn[T] | None:
        queue = self._turns.start_turn(now)
        if queue is None:
            return None
        batch = queue.take_locked(now)
        if batch is None:  # the policy chose a queue that has none due
            return None
        if self._idle_threads.num_idle:
            self._idle_threads.wake_locked(self._turns.due_secs)
        return queue, batch

    def _drain(self, queue: SharedBatchQueue[T]) -> None:
        while (turn := self._turn_before_drained(queue)) is not None:
            self._run(turn)
        with self._lock:
            self._turns.remove_queue(queue)
            if queue in self._queues:
                self._queues.remove(queue)

    def _turn_before_drained(self, queue: SharedBatchQueue[T]) -> _Turn[T] | None:
        """Returns a turn for this thread, where there are no others; None when `queue` is drained."""
        with self._lock:
            while not queue.is_drained_locked:
                turn = None if self._threads else self._take_turn_locked(self._clock.now())
                if turn is not None:
                    return turn
                self._num_draining += 1
                self._clock.wait(self._turn_ended, None)
                self._num_draining -= 1
        return None
