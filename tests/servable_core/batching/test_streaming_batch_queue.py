"""Which task streams into which batch, without threads."""

import math
import threading

import pytest

from servable_core.batching.streaming_batch import StreamingBatch
from servable_core.batching.streaming_batch_queue import StreamingBatchQueue
from servable_core.testing import FakeClock
from servable_core.testing.batch_recorder import RowsTask


def make(num_threads=2, timeout_secs=10.0):
    lock, clock = threading.RLock(), FakeClock()
    lock.acquire()  # as the owner of the queue does; nobody else wants it here

    def create_batch(now):
        return StreamingBatch(now, due_secs=now + timeout_secs, lock=lock, clock=clock)

    return StreamingBatchQueue(4, num_threads, create_batch)


def add(queue, size, now=0.0):
    assert queue.has_room(size)
    assert queue.part_sizes(size) == [size]
    queue.add([RowsTask(tuple(range(size)))], now)


def test_empty_queue_has_nothing_due():
    """Its capacity is that of its free threads."""
    queue = make()
    assert (queue.due_secs, queue.take(1e9), queue.head) == (math.inf, None, None)
    assert (queue.capacity, queue.num_tasks, queue.num_batches) == (8, 0, 0)


def test_batch_is_due_when_it_opens():
    """Tasks join it after it was taken, and count as waiting until it is closed."""
    queue = make()
    add(queue, 1)
    assert queue.due_secs == -math.inf
    batch = queue.take(0.0)
    add(queue, 2)
    assert (batch.size, batch.is_closed) == (3, False)
    assert (queue.num_batches, queue.num_tasks, queue.capacity) == (0, 2, 5)
    add(queue, 1)
    assert batch.is_closed
    assert (queue.num_tasks, queue.capacity) == (0, 4)


def test_batch_needs_a_thread_until_it_is_processed():
    """Taken or not, closed or not, it occupies one."""
    queue = make()
    add(queue, 4)
    taken = queue.take(0.0)
    add(queue, 3)
    assert (queue.has_room(1), queue.has_room(2)) == (True, False)
    taken.finish()
    assert queue.has_room(2)
    add(queue, 2)
    assert queue.take(0.0).is_closed
    assert (queue.has_room(2), queue.has_room(3), queue.capacity) == (True, False, 2)


def test_task_larger_than_a_batch_never_fits():
    """Tasks are not cut."""
    assert (make().has_room(4), make().has_room(5), make().fits_whole(5)) == (True, False, False)


@pytest.mark.parametrize("end", ["flush", "close"])
def test_flush_and_close_close_the_open_batch(end):
    """What was not taken can still be."""
    queue = make()
    add(queue, 1)
    getattr(queue, end)()
    assert queue.is_closed == (end == "close")
    assert queue.take(0.0).is_closed


def test_batch_that_its_reader_has_closed_takes_no_more():
    """The next task opens another one."""
    queue = make()
    add(queue, 1)
    queue.take(0.0).close()
    assert (queue.capacity, queue.num_tasks) == (4, 0)
    add(queue, 1)
    assert (queue.num_batches, queue.num_tasks) == (1, 1)


def test_without_threads_only_closed_batches_are_taken():
    """Whoever steps cannot wait for tasks: a batch is due with its timeout, and closed from then on."""
    queue = make(num_threads=0)
    add(queue, 1, now=5.0)
    assert (queue.due_secs, queue.take(14.9), queue.capacity) == (15.0, None, 3)
    batch = queue.take(15.0)
    assert batch.is_closed
    assert not queue.has_room(1)
    batch.finish()
    assert queue.capacity == 4


def test_without_threads_a_full_batch_is_due_at_once():
    """Nothing can be added to it any more."""
    queue = make(num_threads=0)
    add(queue, 4)
    assert queue.due_secs == -math.inf
