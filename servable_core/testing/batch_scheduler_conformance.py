"""What every batch scheduler must do, as tests to inherit."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from servable_core.batching.batch_queue import QueueOptions
from servable_core.batching.batch_scheduler import BatchScheduler
from servable_core.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    ServableCoreError,
    UnavailableError,
)
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.executor import start_thread
from servable_core.testing.batch_recorder import BatchRecorder, RowsTask
from servable_core.testing.fake_clock import FakeClock

_PATIENCE_SECS = 10.0  # of real time, before a test that waits in vain fails
_TIMEOUT_SECS = 10.0  # of fake time, of batches
_MAX_BATCH_SIZE = 4

E = TypeVar("E", bound=ServableCoreError)


@dataclass(frozen=True, kw_only=True, slots=True)
class SchedulerUnderTest:
    """A scheduler, and what its protocol leaves to its owner.

    Attributes:
        scheduler: What tasks are handed to.
        step: Processes one due batch on the caller's thread, and returns whether there was one.
        close: Closes it, and all that was made for it.
    """

    scheduler: BatchScheduler[RowsTask]
    step: Callable[[], bool]
    close: Callable[[], None]


class BatchSchedulerConformance(ABC):
    """Inherit it in a test module, as `Test...`, and implement `make`.

    The tests need no test framework: they raise AssertionError. One half of them turns a fake clock
    and steps, without any thread; the other half uses threads and bounded waits.
    """

    splits: bool = True
    """Whether the scheduler cuts tasks that are larger than a batch."""

    @abstractmethod
    def make(
        self,
        options: QueueOptions,
        recorder: BatchRecorder,
        *,
        num_batch_threads: int,
        clock: Clock,
    ) -> SchedulerUnderTest:
        """Returns a new scheduler with these limits that has `recorder` process its batches.

        With no batch threads, nothing may happen but in `step` and `close`.
        """

    def options(self, **options: float) -> QueueOptions:
        """Returns limits: batches of 4 rows, 2 of them enqueued, and a timeout of 10 seconds."""
        return QueueOptions(
            max_batch_size=int(options.get("max_batch_size", _MAX_BATCH_SIZE)),
            batch_timeout_secs=options.get("batch_timeout_secs", _TIMEOUT_SECS),
            max_enqueued_batches=int(options.get("max_enqueued_batches", 2)),
            enable_large_batch_splitting=self.splits,
        )

    @contextmanager
    def scheduler(
        self, *, num_batch_threads: int = 0, clock: Clock | None = None, **options: float
    ) -> Iterator[tuple[SchedulerUnderTest, BatchRecorder]]:
        """Makes a scheduler, and closes it in the end."""
        recorder = BatchRecorder()
        under_test = self.make(
            self.options(**options),
            recorder,
            num_batch_threads=num_batch_threads,
            clock=clock or FakeClock(),
        )
        try:
            yield under_test, recorder
        finally:
            recorder.release()
            _call_on_thread(under_test.close).result(_PATIENCE_SECS)

    def test_tasks_that_fit_share_a_batch_in_their_order(self) -> None:
        """A full batch runs at once, with its tasks in the order in which they came."""
        with self.scheduler() as (under_test, recorder):
            for rows in ((0,), (1, 2), (3,)):
                under_test.scheduler.schedule(RowsTask(rows))
            _expect(under_test.step(), True)
            _expect(under_test.step(), False)
            _expect(recorder.batches, [[0, 1, 2, 3]])

    def test_batch_that_is_not_full_runs_after_its_timeout(self) -> None:
        """Not before it, and without another task."""
        clock = FakeClock()
        with self.scheduler(clock=clock) as (under_test, recorder):
            under_test.scheduler.schedule(RowsTask((0,)))
            clock.advance(_TIMEOUT_SECS - 1)
            _expect(under_test.step(), False)
            clock.advance(1)
            _expect(under_test.step(), True)
            _expect(recorder.batches, [[0]])

    def test_later_tasks_do_not_prolong_the_timeout(self) -> None:
        """It runs from the first task of the batch."""
        clock = FakeClock()
        with self.scheduler(clock=clock) as (under_test, recorder):
            under_test.scheduler.schedule(RowsTask((0,)))
            clock.advance(_TIMEOUT_SECS - 1)
            under_test.scheduler.schedule(RowsTask((1,)))
            clock.advance(1)
            _expect(under_test.step(), True)
            _expect(recorder.batches, [[0, 1]])

    def test_zero_timeout_runs_at_once(self) -> None:
        """Whoever has time takes what there is."""
        with self.scheduler(batch_timeout_secs=0.0) as (under_test, recorder):
            under_test.scheduler.schedule(RowsTask((0,)))
            _expect(under_test.step(), True)
            _expect(recorder.batches, [[0]])

    def test_flush_runs_without_waiting(self) -> None:
        """After a flush, a batch that is not full runs before its timeout."""
        with self.scheduler() as (under_test, recorder):
            under_test.scheduler.flush()
            under_test.scheduler.schedule(RowsTask((0,)))
            _expect(under_test.step(), False)
            under_test.scheduler.flush()
            _expect(under_test.step(), True)
            _expect(recorder.batches, [[0]])

    def test_capacity_is_what_fits(self) -> None:
        """As many tasks of one row as the capacity says are taken, and then it is UNAVAILABLE."""
        with self.scheduler() as (under_test, recorder):
            scheduler = under_test.scheduler
            _expect(scheduler.num_enqueued_tasks, 0)
            capacity = scheduler.scheduling_capacity
            for row in range(capacity):
                _expect(scheduler.scheduling_capacity, capacity - row)
                scheduler.schedule(RowsTask((row,)), timeout_secs=0)
                _expect(scheduler.num_enqueued_tasks, row + 1)
            _expect_error(
                UnavailableError,
                lambda: scheduler.schedule(RowsTask((capacity,)), timeout_secs=0),
            )
            _expect((scheduler.num_enqueued_tasks, scheduler.scheduling_capacity), (capacity, 0))
            under_test.step()
            scheduler.schedule(RowsTask((capacity,)), timeout_secs=0)
            under_test.close()
            _expect(recorder.rows, list(range(capacity + 1)))

    def test_impossible_tasks_are_invalid(self) -> None:
        """No rows, and more rows than ever fit: errors at once, however long one would wait."""
        with self.scheduler() as (under_test, recorder):
            scheduler = under_test.scheduler
            limit = scheduler.max_task_size
            for size in (0, limit + 1):
                task = RowsTask(tuple(range(size)))
                for timeout_secs in (0, None):
                    call = partial(scheduler.schedule, task, timeout_secs=timeout_secs)
                    _expect_error(InvalidArgumentError, call)
            _expect(scheduler.num_enqueued_tasks, 0)
            scheduler.schedule(RowsTask(tuple(range(limit))), timeout_secs=0)
            under_test.close()
            _expect(recorder.rows, list(range(limit)))
            self._expect_bounded(recorder)

    def test_negative_wait_is_invalid(self) -> None:
        """A wait of less than nothing is an error where a wait would be needed."""
        with self.scheduler() as (under_test, _):
            self._fill(under_test.scheduler)
            _expect_error(
                InvalidArgumentError,
                lambda: under_test.scheduler.schedule(RowsTask((-1,)), timeout_secs=-1),
            )

    def test_large_tasks_are_cut_or_kept_whole(self) -> None:
        """With splitting a batch is filled up first; without, a task that does not fit opens the next."""
        with self.scheduler(batch_timeout_secs=0.0) as (under_test, recorder):
            under_test.scheduler.schedule(RowsTask((0, 1, 2)), timeout_secs=0)
            if under_test.scheduler.scheduling_capacity < 3:
                under_test.step()
            under_test.scheduler.schedule(RowsTask((3, 4, 5)), timeout_secs=0)
            under_test.close()
            whole = [[0, 1, 2], [3, 4, 5]]
            _expect(recorder.batches, [[0, 1, 2, 3], [4, 5]] if self.splits else whole)

    def test_close_runs_what_waits_and_takes_no_more(self) -> None:
        """Closing does not wait for timeouts, loses nothing, and may be repeated."""
        with self.scheduler() as (under_test, recorder):
            under_test.scheduler.schedule(RowsTask((0,)))
            under_test.close()
            _expect(recorder.batches, [[0]])
            for timeout_secs in (0, None):
                schedule = under_test.scheduler.schedule
                call = partial(schedule, RowsTask((1,)), timeout_secs=timeout_secs)
                _expect_error(FailedPreconditionError, call)
            under_test.close()
            _expect(recorder.batches, [[0]])
            _expect(under_test.scheduler.num_enqueued_tasks, 0)

    def test_wait_for_room_ends_with_its_deadline(self) -> None:
        """Whoever waits for room in vain keeps the task, and gets DEADLINE_EXCEEDED."""
        clock = FakeClock()
        with self.scheduler(clock=clock) as (under_test, recorder):
            num_rows = self._fill(under_test.scheduler)
            schedule = partial(under_test.scheduler.schedule, RowsTask((-1,)), timeout_secs=5.0)
            call = _call_on_thread(schedule)
            clock.block_until_waiters(1)
            clock.advance(5.0)
            _expect_error(DeadlineExceededError, lambda: call.result(_PATIENCE_SECS))
            under_test.close()
            _expect(recorder.rows, list(range(num_rows)))

    def test_wait_for_room_ends_when_there_is_some(self) -> None:
        """A processed batch lets in who waits."""
        clock = FakeClock()
        with self.scheduler(clock=clock) as (under_test, recorder):
            num_rows = self._fill(under_test.scheduler)
            call = _call_on_thread(partial(under_test.scheduler.schedule, RowsTask((num_rows,))))
            clock.block_until_waiters(1)
            _expect(under_test.step(), True)
            call.result(_PATIENCE_SECS)
            under_test.close()
            _expect(recorder.rows, list(range(num_rows + 1)))

    def test_wait_for_room_ends_when_it_closes(self) -> None:
        """Whoever waits for room gets FAILED_PRECONDITION, and what was taken still runs."""
        clock = FakeClock()
        with self.scheduler(clock=clock) as (under_test, recorder):
            num_rows = self._fill(under_test.scheduler)
            call = _call_on_thread(partial(under_test.scheduler.schedule, RowsTask((-1,))))
            clock.block_until_waiters(1)
            under_test.close()
            _expect_error(FailedPreconditionError, lambda: call.result(_PATIENCE_SECS))
            _expect(recorder.rows, list(range(num_rows)))

    def test_thread_runs_a_batch_after_its_timeout(self) -> None:
        """A thread wakes by itself when the time has come, and not earlier."""
        clock = FakeClock()
        with self.scheduler(num_batch_threads=2, clock=clock) as (under_test, recorder):
            under_test.scheduler.schedule(RowsTask((0,)))
            clock.block_until_waiters(2)
            _expect(recorder.batches, [])
            clock.advance(_TIMEOUT_SECS)
            recorder.block_until_rows(1)
            _expect(recorder.batches, [[0]])

    def test_thread_runs_a_batch_after_its_timeout_in_real_time(self) -> None:
        """So it does with the clock of the machine."""
        with self.scheduler(num_batch_threads=2, clock=SystemClock(), batch_timeout_secs=0.01) as (
            under_test,
            recorder,
        ):
            under_test.scheduler.schedule(RowsTask((0,)))
            recorder.block_until_rows(1)

    def test_busy_threads_make_it_unavailable_in_the_end(self) -> None:
        """While nothing is processed, a scheduler takes a bounded number of rows."""
        with self.scheduler(num_batch_threads=1) as (under_test, recorder):
            recorder.hold()
            num_rows = self._fill(under_test.scheduler)
            recorder.release()
            under_test.close()
            _expect(recorder.rows, list(range(num_rows)))

    def test_close_waits_for_running_batches(self) -> None:
        """When `close` returns, every batch has been processed to its end."""
        with self.scheduler(num_batch_threads=1) as (under_test, recorder):
            recorder.hold()
            under_test.scheduler.schedule(RowsTask((0, 1, 2, 3)))
            recorder.block_until_started(1)
            closing = _call_on_thread(under_test.close)
            _expect(closing.done(), False)
            recorder.release()
            closing.result(_PATIENCE_SECS)
            _expect(recorder.batches, [[0, 1, 2, 3]])

    def test_many_callers_and_threads_lose_and_double_nothing(self) -> None:
        """Each row is processed once, and in a batch the rows of one caller keep their order."""
        num_callers, num_tasks = 4, 60
        with self.scheduler(
            num_batch_threads=3, clock=SystemClock(), batch_timeout_secs=0.0005
        ) as (under_test, recorder):

            def call(caller: int) -> None:
                for index in range(num_tasks):
                    first = 1000 * caller + 3 * index
                    rows = tuple(range(first, first + 1 + index % 3))
                    under_test.scheduler.schedule(RowsTask(rows))

            calls = [_call_on_thread(partial(call, caller)) for caller in range(num_callers)]
            for each in calls:
                each.result(_PATIENCE_SECS)
            _call_on_thread(under_test.close).result(_PATIENCE_SECS)
            _expect(len(recorder.rows), num_callers * num_tasks * 2)
            _expect(len(set(recorder.rows)), num_callers * num_tasks * 2)
            self._expect_bounded(recorder)
            for batch in recorder.batches:
                _expect(sorted(batch, key=lambda row: row // 1000), sorted(batch))

    def _fill(self, scheduler: BatchScheduler[RowsTask]) -> int:
        """Schedules rows 0, 1, ... until there is no room; returns how many."""
        for row in range(1000):
            try:
                scheduler.schedule(RowsTask((row,)), timeout_secs=0)
            except UnavailableError:
                return row
        raise AssertionError("1000 rows were taken, and not one processed")

    def _expect_bounded(self, recorder: BatchRecorder) -> None:
        sizes = [len(batch) for batch in recorder.batches]
        if not all(0 < size <= _MAX_BATCH_SIZE for size in sizes):
            raise AssertionError(f"batches had {sizes} rows, not 1 to {_MAX_BATCH_SIZE}")


def _expect(actual: object, expected: object) -> None:
    if actual != expected:
        raise AssertionError(f"got {actual!r}, not {expected!r}")


def _expect_error(error_type: type[E], call: Callable[[], object]) -> None:
    try:
        call()
    except error_type:
        return
    raise AssertionError(f"no {error_type.__name__} was raised")


def _call_on_thread(call: Callable[[], None]) -> Future[None]:
    """Makes a call that may block; one that never returns holds nobody up."""
    result: Future[None] = Future()

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - the future carries it to the one who asks
            result.set_exception(error)
        else:
            result.set_result(None)

    start_thread(run, name="caller")
    return result
