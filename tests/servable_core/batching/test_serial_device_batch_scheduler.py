"""The serial device scheduler: what waits on the device decides how much is let through."""

import logging

import pytest

from servable_core.batching.batch_queue import QueueOptions
from servable_core.batching.serial_device_batch_scheduler import (
    SerialDeviceBatchScheduler,
    SerialDeviceBatchSchedulerOptions,
)
from servable_core.errors import InvalidArgumentError
from servable_core.testing import FakeClock
from servable_core.testing.batch_recorder import BatchRecorder, RowsTask, split_rows

QUEUE = QueueOptions(max_batch_size=1, max_enqueued_batches=20)


def make(get_pending, **options):
    defaults = {"num_batch_threads": 0, "batches_to_average_over": 2}
    return SerialDeviceBatchScheduler(
        SerialDeviceBatchSchedulerOptions(**(defaults | options)), get_pending, clock=FakeClock()
    )


def run(scheduler, num_batches):
    """Has so many batches processed, with another one always due."""
    queue = scheduler.add_queue(QUEUE, BatchRecorder(), split_rows)
    queue.schedule(RowsTask(tuple(range(num_batches + 1))))
    for _ in range(num_batches):
        assert scheduler.step()


@pytest.mark.parametrize(("pending", "limit"), [(0, 5), (1, 4), (2, 3), (3, 2), (7, 1)])
def test_limit_moves_towards_the_target(pending, limit):
    """An idle device gets more batches at a time, a busy one fewer."""
    with make(lambda: pending) as scheduler:
        run(scheduler, 2)
        assert scheduler.in_flight_batches_limit == limit


def test_low_load_leaves_the_limit():
    """When nothing else was due, an idle device says nothing about the threads."""
    with make(lambda: 0) as scheduler:
        queue = scheduler.add_queue(QUEUE, BatchRecorder(), split_rows)
        for row in range(4):
            queue.schedule(RowsTask((row,)))
            assert scheduler.step()
        assert scheduler.in_flight_batches_limit == 3


def test_pending_is_asked_after_the_batch_and_without_a_lock():
    """The callback may look at the scheduler, and may be slow."""
    seen = []
    recorder = BatchRecorder()

    def get_pending():
        seen.append((recorder.rows, scheduler.in_flight_batches_limit))
        return 2

    with make(get_pending) as scheduler:
        queue = scheduler.add_queue(QUEUE, recorder, split_rows)
        queue.schedule(RowsTask((0,)))
        assert scheduler.step()
    assert seen == [([0], 3)]


def test_failing_callback_costs_nothing_but_the_lesson(caplog):
    """Batches go on, the limit stays, and the error is in the log."""
    with make(lambda: 1 // 0) as scheduler, caplog.at_level(logging.ERROR):
        run(scheduler, 4)
        assert scheduler.in_flight_batches_limit == 3
    assert "nothing could be measured" in caplog.text


def test_raised_limit_lets_waiting_threads_run():
    """When the device runs dry, more threads process at the same time, up to all of them."""
    recorder = BatchRecorder()
    options = {
        "num_batch_threads": 4,
        "initial_in_flight_batches_limit": 1,
        "batches_to_average_over": 1,
        "target_pending": 3.0,
    }
    with make(lambda: 0, **options) as scheduler:
        queue = scheduler.add_queue(QUEUE, recorder, split_rows)
        recorder.hold()
        queue.schedule(RowsTask(tuple(range(9))))
        recorder.block_until_started(1)
        recorder.release()
        recorder.block_until_rows(9)
        assert scheduler.in_flight_batches_limit == 4
    assert sorted(recorder.rows) == list(range(9))


def test_limit_holds_threads_back():
    """No more batches run at a time than the limit says."""
    recorder, clock = BatchRecorder(), FakeClock()
    options = SerialDeviceBatchSchedulerOptions(
        num_batch_threads=4, initial_in_flight_batches_limit=2
    )
    with SerialDeviceBatchScheduler(options, lambda: 2, clock=clock) as scheduler:
        clock.block_until_waiters(4)
        queue = scheduler.add_queue(QUEUE, recorder, split_rows)
        recorder.hold()
        queue.schedule(RowsTask(tuple(range(9))))
        recorder.block_until_started(2)
        clock.block_until_waiters(2)
        assert queue.num_enqueued_tasks == 7
        recorder.release()
    assert sorted(recorder.rows) == list(range(9))


@pytest.mark.parametrize(
    "options",
    [
        {"num_batch_threads": -1},
        {"num_batch_threads": 2},
        {"initial_in_flight_batches_limit": 0},
        {"target_pending": -1.0},
        {"batches_to_average_over": 0},
        {"full_batch_scheduling_boost_secs": -1.0},
    ],
)
def test_options_out_of_range_are_errors(options):
    """They are found when the options are made; 3 batches in flight need 3 threads."""
    with pytest.raises(InvalidArgumentError):
        SerialDeviceBatchSchedulerOptions(**({"num_batch_threads": 4} | options))
