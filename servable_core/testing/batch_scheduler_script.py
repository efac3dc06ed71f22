"""Plays any sequence of actions to a batch scheduler without threads, and checks it after each."""

from servable_core.batching.batch_queue import QueueOptions
from servable_core.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from servable_core.testing.batch_recorder import BatchRecorder, RowsTask
from servable_core.testing.batch_scheduler_conformance import SchedulerUnderTest
from servable_core.testing.fake_clock import FakeClock


class BatchSchedulerScript:
    """Knows what every scheduler must answer; for tests that make up actions at random.

    Args:
        under_test: A new scheduler that has no threads, over `clock`.
        options: Its limits.
        recorder: What processes its batches.
        clock: Stands still but in `advance`.
    """

    def __init__(
        self,
        under_test: SchedulerUnderTest,
        options: QueueOptions,
        recorder: BatchRecorder,
        clock: FakeClock,
    ) -> None:
        self._under_test = under_test
        self._options = options
        self._recorder = recorder
        self._clock = clock
        self._num_rows = 0  # that were taken
        self._is_closed = False

    def do(self, action: str, argument: int) -> None:
        """Does one of submit, advance, step, flush and close.

        Args:
            action: Which.
            argument: The rows of a task, or seconds; 0 where there is nothing to say.

        Raises:
            AssertionError: The scheduler did what it must not.
        """
        actions = {
            "submit": self._submit,
            "advance": self._advance,
            "step": self._step,
            "flush": self._flush,
            "close": self._close,
        }
        actions[action](argument)
        self._check_numbers()

    def finish(self) -> None:
        """Closes the scheduler and checks that each row was processed once, in order.

        Raises:
            AssertionError: One was not.
        """
        self._close(0)
        _check(self._recorder.rows == list(range(self._num_rows)), "rows were lost or moved")
        limit = self._options.max_batch_size
        sizes = [len(batch) for batch in self._recorder.batches]
        _check(all(0 < size <= limit for size in sizes), f"batches had {sizes} rows, not {limit}")

    def _submit(self, size: int) -> None:
        scheduler = self._under_test.scheduler
        capacity = scheduler.scheduling_capacity
        task = RowsTask(tuple(range(self._num_rows, self._num_rows + size)))
        try:
            scheduler.schedule(task, timeout_secs=0)
        except UnavailableError:
            _check(size > capacity or not self._is_cut(size), f"no room for {size} of {capacity}")
        except InvalidArgumentError:
            _check(not 0 < size <= scheduler.max_task_size, f"{size} rows were invalid")
        except FailedPreconditionError:
            _check(self._is_closed, "an open scheduler took no task")
        else:
            _check(not self._is_closed, "a closed scheduler took a task")
            _check(size <= capacity, f"{size} rows were taken, but the capacity was {capacity}")
            self._num_rows += size

    def _is_cut(self, size: int) -> bool:
        return self._options.enable_large_batch_splitting or size == 1

    def _advance(self, secs: int) -> None:
        self._clock.advance(secs)
        if secs >= self._options.batch_timeout_secs:
            while self._waiting():
                _check(self._under_test.step(), "rows waited longer than the timeout")

    def _step(self, _: int) -> None:
        num_batches = len(self._recorder.batches)
        did_run = self._under_test.step()
        num_run = len(self._recorder.batches) - num_batches
        _check(num_run == did_run, f"a step ran {num_run} batches and returned {did_run}")

    def _flush(self, _: int) -> None:
        self._under_test.scheduler.flush()
        while self._waiting():
            _check(self._under_test.step(), "rows waited after a flush")

    def _close(self, _: int) -> None:
        self._is_closed = True
        self._under_test.close()
        _check(not self._waiting(), "rows were not processed at the close")

    def _waiting(self) -> int:
        return self._num_rows - len(self._recorder.rows)

    def _check_numbers(self) -> None:
        num_tasks = self._under_test.scheduler.num_enqueued_tasks
        waiting = self._waiting()
        _check((num_tasks == 0) == (waiting == 0), f"{num_tasks} tasks for {waiting} rows")
        _check(num_tasks <= waiting, f"{num_tasks} tasks for {waiting} rows")
        _check(self._under_test.scheduler.scheduling_capacity >= 0, "capacity below 0")


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise AssertionError(problem)
