"""One queue with threads of its own; what it promises is in the conformance suite."""

import threading

import pytest

from servable_core.batching.basic_batch_scheduler import BasicBatchScheduler
from servable_core.batching.batch_queue import QueueOptions
from servable_core.batching.shared_batch_scheduler import SharedBatchSchedulerOptions
from servable_core.errors import InvalidArgumentError
from servable_core.testing.batch_recorder import BatchRecorder, RowsTask, split_rows


def make(recorder, split=split_rows):
    threads = SharedBatchSchedulerOptions(num_batch_threads=2, thread_name_prefix="basic")
    return BasicBatchScheduler(threads, QueueOptions(max_batch_size=4), recorder, split)


def test_leaving_it_processes_everything_and_ends_the_threads():
    """The scheduler is all there is to close."""
    recorder = BatchRecorder()
    with make(recorder) as scheduler:
        scheduler.schedule(RowsTask((0, 1, 2)))
        assert scheduler.max_task_size == 40
        assert repr(scheduler).startswith("BasicBatchScheduler(SharedBatchQueue(")
    assert recorder.rows == [0, 1, 2]
    assert not any(thread.name.startswith("basic") for thread in threading.enumerate())


def test_wrong_options_leave_no_threads_behind():
    """Whoever gets an error has nothing to close."""
    with pytest.raises(InvalidArgumentError, match="split must be a function"):
        make(BatchRecorder(), split=None)
    assert not any(thread.name.startswith("basic") for thread in threading.enumerate())
