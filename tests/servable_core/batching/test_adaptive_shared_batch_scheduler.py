"""The adaptive scheduler: the limit at work, on real threads and on a clock turned by hand."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from servable_core.batching.adaptive_shared_batch_scheduler import (
    AdaptiveSharedBatchScheduler,
    AdaptiveSharedBatchSchedulerOptions,
)
from servable_core.batching.batch_queue import QueueOptions
from servable_core.errors import InvalidArgumentError
from servable_core.testing import FakeClock
from servable_core.testing.batch_recorder import BatchRecorder, RowsTask, split_rows

QUEUE = QueueOptions(max_batch_size=2, max_enqueued_batches=10)


def make(clock, **options):
    defaults = {"num_batch_threads": 4, "initial_in_flight_batches_limit": 1.0}
    return AdaptiveSharedBatchScheduler(
        AdaptiveSharedBatchSchedulerOptions(**(defaults | options)), clock=clock
    )


def test_batches_grow_while_the_limit_is_reached():
    """Threads are free, but the limit holds them back, so later tasks share one batch."""
    recorder, clock = BatchRecorder(), FakeClock()
    with make(clock) as scheduler:
        clock.block_until_waiters(4)
        queue = scheduler.add_queue(QUEUE, recorder, split_rows)
        recorder.hold()
        queue.schedule(RowsTask((0,)))
        recorder.block_until_started(1)
        queue.schedule(RowsTask((1,)))
        clock.block_until_waiters(3)
        assert queue.num_enqueued_tasks == 1
        recorder.release()
    assert recorder.rows == [0, 1]


def test_full_batches_use_all_threads():
    """The limit of 1 counts only for batches that may still fill up."""
    recorder = BatchRecorder()
    with make(FakeClock()) as scheduler:
        queue = scheduler.add_queue(QUEUE, recorder, split_rows)
        recorder.hold()
        queue.schedule(RowsTask(tuple(range(8))))
        recorder.block_until_started(4)
        recorder.release()
    assert sorted(recorder.rows) == list(range(8))


def test_full_batches_keep_to_the_limit_if_told_so():
    """Without the option, the limit holds for all."""
    recorder, clock = BatchRecorder(), FakeClock()
    limit = {"initial_in_flight_batches_limit": 2.0, "run_full_batches_beyond_limit": False}
    with make(clock, **limit) as scheduler:
        clock.block_until_waiters(4)
        queue = scheduler.add_queue(QUEUE, recorder, split_rows)
        recorder.hold()
        queue.schedule(RowsTask(tuple(range(8))))
        recorder.block_until_started(2)
        clock.block_until_waiters(2)
        assert queue.num_enqueued_tasks == 2
        recorder.release()
    assert sorted(recorder.rows) == list(range(8))


def test_limit_follows_the_latency_since_the_first_task():
    """Waiting counts: falling latency moves the limit on, rising latency back."""
    clock = FakeClock()
    seconds = iter([5.0, 3.0, 9.0])
    options = {
        "num_batch_threads": 0,
        "initial_in_flight_batches_limit": 8.0,
        "batches_to_average_over": 1,
    }
    limits = []
    with make(clock, **options) as scheduler:
        queue = scheduler.add_queue(QUEUE, lambda _: clock.advance(1.0), split_rows)
        for wait_secs in seconds:
            queue.schedule(RowsTask((0,)))
            clock.advance(wait_secs)
            assert scheduler.step()
            limits.append(scheduler.in_flight_batches_limit)
    assert limits == [8.0 * 9 / 8, 8.0 * (9 / 8) ** 2, 8.0 * (9 / 8) ** 2 * 7 / 8]


@pytest.mark.parametrize(("boost_secs", "order"), [(0.0, [0, 1, 2]), (10.0, [1, 2, 0])])
def test_full_batch_of_another_queue_may_go_first(boost_secs, order):
    """The boost says how much age fullness is worth."""
    clock, recorder = FakeClock(), BatchRecorder()
    options = {"num_batch_threads": 0, "full_batch_scheduling_boost_secs": boost_secs}
    with make(clock, **options) as scheduler:
        partial = scheduler.add_queue(QUEUE, recorder, split_rows)
        full = scheduler.add_queue(QUEUE, recorder, split_rows)
        partial.schedule(RowsTask((0,)))
        clock.advance(4.0)
        full.schedule(RowsTask((1, 2)))
        while scheduler.step():
            pass
    assert recorder.rows == order


@pytest.mark.parametrize(
    "options",
    [
        {"num_batch_threads": -1},
        {"initial_in_flight_batches_limit": 5.0},
        {"min_in_flight_batches_limit": 0.0},
        {"min_in_flight_batches_limit": 3.5},
        {"batches_to_average_over": 0},
        {"full_batch_scheduling_boost_secs": -1.0},
    ],
)
def test_options_out_of_range_are_errors(options):
    """They are found when the options are made; 3 batches in flight need 3 threads."""
    with pytest.raises(InvalidArgumentError):
        AdaptiveSharedBatchSchedulerOptions(**({"num_batch_threads": 4} | options))


def test_close_without_threads_runs_what_a_step_elsewhere_has_held_up():
    """Closing waits for the batch that uses up the limit, and then processes the rest itself."""
    recorder, clock = BatchRecorder(), FakeClock()
    options = {"num_batch_threads": 0, "run_full_batches_beyond_limit": False}
    scheduler = make(clock, **options)
    queue = scheduler.add_queue(QUEUE, recorder, split_rows)
    recorder.hold()
    queue.schedule(RowsTask(tuple(range(6))))
    with ThreadPoolExecutor(2) as pool:
        stepping = pool.submit(scheduler.step)
        recorder.block_until_started(1)
        closing = pool.submit(queue.close)
        clock.block_until_waiters(1)
        recorder.release()
        assert stepping.result(60)
        closing.result(60)
    scheduler.close()
    assert recorder.rows == list(range(6))
