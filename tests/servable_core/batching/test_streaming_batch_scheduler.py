"""Batches that are processed while they fill up."""

import logging
import queue as queues
from concurrent.futures import ThreadPoolExecutor

import pytest

from servable_core.batching.streaming_batch_scheduler import (
    StreamingBatchScheduler,
    StreamingBatchSchedulerOptions,
)
from servable_core.errors import DeadlineExceededError, InvalidArgumentError, UnavailableError
from servable_core.testing import FakeClock
from servable_core.testing.batch_recorder import BatchRecorder, RowsTask


class Reader:
    """A process_batch that passes on each task as it reads it, and None at the end of a batch."""

    def __init__(self):
        self._read = queues.Queue()

    def __call__(self, batch):
        for task in batch:
            self._read.put(task.rows)
        assert batch.is_closed
        self._read.put(None)

    def next(self):
        return self._read.get(timeout=60)


def make(process_batch, clock=None, **options):
    defaults = {"max_batch_size": 4, "num_batch_threads": 2, "batch_timeout_secs": 10.0}
    return StreamingBatchScheduler(
        StreamingBatchSchedulerOptions(**(defaults | options)),
        process_batch,
        clock=clock or FakeClock(),
    )


def test_batch_is_handed_over_with_its_first_task():
    """Its reader sees each task when it comes, and the end when the batch is full."""
    reader = Reader()
    with make(reader) as scheduler:
        for rows in ((0,), (1, 2)):
            scheduler.schedule(RowsTask(rows))
            assert reader.next() == rows
        scheduler.schedule(RowsTask((3,)))
        assert (reader.next(), reader.next()) == ((3,), None)


def test_task_that_does_not_fit_closes_the_batch():
    """It opens the next one on another thread; sizes never exceed the limit."""
    recorder = BatchRecorder()
    with make(recorder) as scheduler:
        scheduler.schedule(RowsTask((0, 1, 2)))
        scheduler.schedule(RowsTask((3, 4)))
        recorder.block_until_rows(3)
        assert recorder.batches == [[0, 1, 2]]
    assert recorder.batches == [[0, 1, 2], [3, 4]]


def test_timeout_closes_the_batch():
    """The reader finds its end when the time has come, not earlier."""
    clock, reader = FakeClock(), Reader()
    with make(reader, clock) as scheduler:
        scheduler.schedule(RowsTask((0,)))
        assert reader.next() == (0,)
        clock.block_until_waiters(2)
        clock.advance(9.9)
        scheduler.schedule(RowsTask((1,)))
        assert reader.next() == (1,)
        clock.advance(0.1)
        assert reader.next() is None


def test_zero_timeout_batches_nothing_that_comes_later():
    """A batch closes as soon as its reader has seen the first task."""
    recorder = BatchRecorder()
    with make(recorder, batch_timeout_secs=0.0) as scheduler:
        for row in range(3):
            scheduler.schedule(RowsTask((row,)))
            recorder.block_until_rows(row + 1)
    assert recorder.batches == [[0], [1], [2]]


def test_no_timeout_waits_for_a_full_batch():
    """However long that takes."""
    clock, reader = FakeClock(), Reader()
    with make(reader, clock, batch_timeout_secs=None) as scheduler:
        scheduler.schedule(RowsTask((0,)))
        assert reader.next() == (0,)
        clock.block_until_waiters(2)
        clock.advance(1e9)
        scheduler.schedule(RowsTask((1, 2, 3)))
        assert (reader.next(), reader.next()) == ((1, 2, 3), None)


def test_timeout_in_real_time():
    """A batch that nobody fills ends by itself."""
    options = StreamingBatchSchedulerOptions(
        max_batch_size=4, num_batch_threads=1, batch_timeout_secs=0.01
    )
    reader = Reader()
    with StreamingBatchScheduler(options, reader) as scheduler:
        scheduler.schedule(RowsTask((0,)))
        assert (reader.next(), reader.next()) == ((0,), None)


@pytest.mark.parametrize("end", ["flush", "close"])
def test_flush_and_close_end_the_open_batch(end):
    """Nobody waits for the timeout of a batch that is not to be filled."""
    reader = Reader()
    with make(reader) as scheduler:
        scheduler.schedule(RowsTask((0,)))
        getattr(scheduler, end)()
        assert (reader.next(), reader.next()) == ((0,), None)


def test_busy_threads_are_unavailable_to_tasks_that_need_a_new_batch():
    """A task that fits into the open batch is still taken; capacity says what is."""
    recorder = BatchRecorder()
    with make(recorder) as scheduler:
        assert (scheduler.scheduling_capacity, scheduler.max_task_size) == (8, 4)
        recorder.hold()
        scheduler.schedule(RowsTask((0, 1, 2, 3)))
        recorder.block_until_started(1)
        scheduler.schedule(RowsTask((4, 5)))
        assert (scheduler.scheduling_capacity, scheduler.num_enqueued_tasks) == (2, 1)
        with pytest.raises(UnavailableError, match=r"free .* task of 3 rows.* now 2"):
            scheduler.schedule(RowsTask((6, 7, 8)), timeout_secs=0)
        scheduler.schedule(RowsTask((6, 7)), timeout_secs=0)
        assert scheduler.scheduling_capacity == 0
        recorder.release()
    assert sorted(recorder.rows) == list(range(8))


def test_caller_waits_for_a_thread():
    """A thread that becomes free takes the next batch; a deadline ends the wait before."""
    clock, recorder = FakeClock(), BatchRecorder()
    with make(recorder, clock, num_batch_threads=1) as scheduler, ThreadPoolExecutor(2) as pool:
        clock.block_until_waiters(1)
        recorder.hold()
        scheduler.schedule(RowsTask((0, 1, 2, 3)))
        recorder.block_until_started(1)
        impatient = pool.submit(scheduler.schedule, RowsTask((9,)), timeout_secs=5.0)
        clock.block_until_waiters(1)
        clock.advance(5.0)
        with pytest.raises(DeadlineExceededError, match="no batch thread is free"):
            impatient.result(60)
        patient = pool.submit(scheduler.schedule, RowsTask((4,)))
        clock.block_until_waiters(1)
        recorder.release()
        patient.result(60)
    assert recorder.rows == [0, 1, 2, 3, 4]


def test_callback_that_does_not_read_to_the_end_is_told_so(caplog):
    """The batch is closed when it returns, so no later task joins what nobody reads."""
    clock, seen = FakeClock(), queues.Queue()

    def look_once(batch):
        seen.put([task.rows for task in batch.tasks])

    with make(look_once, clock, num_batch_threads=1) as scheduler, caplog.at_level(logging.ERROR):
        for row in range(2):
            scheduler.schedule(RowsTask((row,)))
            assert seen.get(timeout=60) == [(row,)]
            clock.block_until_waiters(1)
    assert caplog.text.count("process_batch must read a batch until it is closed") == 2


def test_failing_callback_does_not_hurt_later_batches(caplog):
    """Its error is in the log, and its thread goes on."""
    recorder = BatchRecorder()

    def fail_first(batch):
        batch.wait_until_closed()
        if batch.tasks[0].rows[0] == 0:
            raise ValueError("bad row")
        recorder(batch)

    with make(fail_first, num_batch_threads=1) as scheduler, caplog.at_level(logging.ERROR):
        scheduler.schedule(RowsTask((0, 1, 2, 3)))
        scheduler.schedule(RowsTask((4, 5, 6, 7)))
    assert recorder.rows == [4, 5, 6, 7]
    assert "bad row" in caplog.text


@pytest.mark.parametrize(
    "options",
    [{"max_batch_size": 0}, {"num_batch_threads": -1}, {"batch_timeout_secs": -1.0}],
)
def test_options_out_of_range_are_errors(options):
    """They are found when the options are made."""
    with pytest.raises(InvalidArgumentError):
        make(BatchRecorder(), **options)
