"""The queue's decisions: which tasks share a batch, when it is due, when there is room."""

import math
from types import SimpleNamespace

import pytest

from servable_core.batching import BatchQueue, QueueOptions
from servable_core.batching.batch_queue import BatchPaddingPolicy
from servable_core.errors import InvalidArgumentError


def make_queue(**options):
    return BatchQueue(QueueOptions(**{"max_batch_size": 4, "batch_timeout_secs": 10.0} | options))


def add(queue, size, now=0.0):
    assert queue.has_room(size)
    queue.add([SimpleNamespace(size=part) for part in queue.part_sizes(size)], now)


def take_sizes(queue, now=math.inf):
    batch = queue.take(now)
    return batch and [task.size for task in batch.tasks]


def test_empty_queue_has_nothing_due():
    """An empty queue is never due and has all its room."""
    queue = make_queue(max_enqueued_batches=3)
    assert queue.due_secs == math.inf
    assert queue.take(1e9) is None
    assert queue.capacity == 12


def test_batch_is_due_when_its_timeout_has_passed():
    """The timeout runs from the first task of the batch; later tasks do not prolong it."""
    queue = make_queue()
    add(queue, 1, now=5.0)
    add(queue, 1, now=7.0)
    assert queue.due_secs == 15.0
    assert queue.take(14.9) is None
    assert take_sizes(queue, now=15.0) == [1, 1]
    assert queue.due_secs == math.inf


def test_full_batch_is_due_at_once():
    """A full batch does not wait for its timeout."""
    queue = make_queue()
    add(queue, 3)
    add(queue, 1)
    assert queue.due_secs == -math.inf
    assert take_sizes(queue, now=0.0) == [3, 1]


def test_task_is_split_at_the_border_of_the_batch():
    """With splitting, the open batch is filled up before the next one starts."""
    queue = make_queue()
    add(queue, 3)
    add(queue, 6)
    assert [take_sizes(queue), take_sizes(queue), take_sizes(queue)] == [[3, 1], [4], [1]]


def test_task_that_does_not_fit_closes_the_batch_without_splitting():
    """Without splitting, tasks stay whole and batches may be less than full."""
    queue = make_queue(enable_large_batch_splitting=False)
    add(queue, 3)
    add(queue, 3)
    assert queue.part_sizes(3) == [3]
    assert take_sizes(queue, now=0.0) == [3]
    assert queue.take(0.0) is None
    assert take_sizes(queue) == [3]


def test_unmerged_tasks_are_batches_by_themselves():
    """Without merging, each task is due at once, alone, cut at multiples of the batch size only."""
    queue = make_queue(merge_tasks=False)
    add(queue, 1)
    add(queue, 6)
    assert [take_sizes(queue, now=0.0) for _ in range(4)] == [[1], [4], [2], None]


def test_flush_makes_the_open_batch_due():
    """After flush a batch is due at once; the next one waits for its timeout again."""
    queue = make_queue()
    queue.flush()
    add(queue, 1, now=0.0)
    assert queue.due_secs == 10.0
    queue.flush()
    add(queue, 1, now=0.0)
    assert take_sizes(queue, now=0.0) == [1, 1]
    add(queue, 1, now=0.0)
    assert queue.due_secs == 10.0


def test_closed_queue_ignores_timeouts():
    """Closing makes what waits due."""
    queue = make_queue()
    add(queue, 1)
    queue.close()
    assert queue.is_closed
    assert take_sizes(queue, now=0.0) == [1]


def test_batches_that_begin_later_have_the_target_size():
    """The open batch keeps its room; a target beyond `max_batch_size` is that."""
    queue = make_queue()
    add(queue, 1)
    queue.set_target_batch_size(2)
    add(queue, 6)
    assert [take_sizes(queue) for _ in range(3)] == [[1, 3], [2], [1]]
    queue.set_target_batch_size(100)
    add(queue, 5)
    assert [take_sizes(queue) for _ in range(2)] == [[4], [1]]


def test_open_batch_of_too_many_is_filled_up():
    """A task that became more batches than are allowed leaves room in the last, and nowhere else."""
    queue = make_queue(max_enqueued_batches=2)
    queue.set_target_batch_size(3)
    add(queue, 8)
    assert (queue.num_batches, queue.capacity) == (3, 1)
    assert (queue.has_room(1), queue.has_room(2)) == (True, False)
    add(queue, 1)
    assert queue.capacity == 0


def test_whole_task_beyond_the_target_is_a_batch_by_itself():
    """Without splitting, the target joins tasks, and `max_batch_size` bounds them."""
    queue = make_queue(enable_large_batch_splitting=False)
    queue.set_target_batch_size(2)
    for size in (1, 3, 1, 1):
        add(queue, size)
    assert not queue.has_room(5)
    assert [take_sizes(queue) for _ in range(3)] == [[1], [3], [1, 1]]


def test_empty_queue_takes_a_task_of_its_bound_whatever_the_target():
    """What fits once always will; then there is no room until it is gone."""
    queue = make_queue(max_enqueued_batches=2)
    queue.set_target_batch_size(1)
    add(queue, 8)
    assert not queue.has_room(1)
    assert [take_sizes(queue) for _ in range(8)] == [[1]] * 8


ALLOWED_DOWN = {
    "max_batch_size": 8,
    "allowed_batch_sizes": (2, 4, 8),
    "batch_padding_policy": BatchPaddingPolicy.BATCH_DOWN,
}


def test_batch_is_cut_to_the_allowed_size_below():
    """The rest waits on, and is counted; it has waited in proportion already."""
    queue = make_queue(**ALLOWED_DOWN)
    for now in range(6):
        add(queue, 1, now=float(now))
    assert take_sizes(queue, now=12.0) == [1] * 4
    assert (queue.num_tasks, queue.num_batches, queue.capacity) == (2, 1, 78)
    # It began at 0 and ran at 12, when four of its six rows left.
    assert queue.due_secs == 10.0 + 12.0 * 4 / 6
    add(queue, 1, now=13.0)
    assert take_sizes(queue, now=18.0) == [1, 1]
    assert take_sizes(queue) == [1]
    assert queue.num_tasks == 0


@pytest.mark.parametrize(
    ("sizes", "taken"), [([1], [1]), ([1, 2, 2], [1, 2, 2]), ([2, 3], [2, 3]), ([3, 1, 2], [3, 1])]
)
def test_batch_is_cut_between_tasks_only(sizes, taken):
    """And not below the least size; otherwise it is padded up."""
    queue = make_queue(**ALLOWED_DOWN)
    [add(queue, size) for size in sizes]
    assert take_sizes(queue, now=10.0) == taken


def test_padding_up_leaves_batches_whole():
    """The other policy cuts nothing."""
    queue = make_queue(max_batch_size=8, allowed_batch_sizes=(2, 4, 8))
    [add(queue, 1) for _ in range(6)]
    assert take_sizes(queue, now=10.0) == [1] * 6


@pytest.mark.parametrize("end", [BatchQueue.flush, BatchQueue.close])
def test_what_is_cut_off_a_flushed_batch_does_not_wait(end):
    """Nor does it after the end: all that waited is due."""
    queue = make_queue(**ALLOWED_DOWN)
    [add(queue, 1) for _ in range(7)]
    end(queue)
    assert [take_sizes(queue, now=0.0) for _ in range(4)] == [[1] * 4, [1] * 2, [1], None]


def test_taken_batches_are_closed_and_counted_out():
    """A batch leaves the queue closed, and its tasks are no longer enqueued."""
    queue = make_queue()
    add(queue, 5)
    assert (queue.num_tasks, queue.num_batches) == (2, 2)
    assert queue.take(0.0).is_closed
    assert queue.take(10.0).is_closed
    assert (queue.num_tasks, queue.num_batches) == (0, 0)


@pytest.mark.parametrize(
    ("options", "sizes", "capacity", "largest_that_fits"),
    [
        ({"max_enqueued_batches": 2}, [], 8, 8),
        ({"max_enqueued_batches": 2}, [3], 5, 5),
        ({"max_enqueued_batches": 2}, [8], 0, 0),
        ({"max_enqueued_batches": 2, "enable_large_batch_splitting": False}, [3], 5, 4),
        ({"max_enqueued_batches": 1, "enable_large_batch_splitting": False}, [3], 1, 1),
        ({"max_enqueued_batches": 2, "merge_tasks": False}, [1], 1, 4),
    ],
)
def test_capacity_and_room(options, sizes, capacity, largest_that_fits):
    """Capacity counts tasks of one row; room depends on splitting and merging."""
    queue = make_queue(**options)
    [add(queue, size) for size in sizes]
    assert queue.capacity == capacity
    assert [size for size in range(1, queue.capacity + 9) if queue.has_room(size)][-1:] == (
        [largest_that_fits] if largest_that_fits else []
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch_size": 0}, "max_batch_size must be 1 or more rows, got 0"),
        ({"batch_timeout_secs": -1.0}, "batch_timeout_secs must be .* got -1.0"),
        ({"batch_timeout_secs": math.nan}, "batch_timeout_secs must be .* got nan"),
        ({"max_enqueued_batches": 0}, "max_enqueued_batches must be 1 or more, got 0"),
        ({"allowed_batch_sizes": (0, 4)}, r"allowed_batch_sizes must .* got \[0, 4\]"),
        ({"allowed_batch_sizes": (2, 2, 4)}, r"allowed_batch_sizes must .* got \[2, 2, 4\]"),
        ({"allowed_batch_sizes": (2, 3)}, r"end with max_batch_size=4, got \[2, 3\]"),
    ],
)
def test_options_out_of_range_are_errors(options, message):
    """Messages name the value and what was expected."""
    with pytest.raises(InvalidArgumentError, match=message):
        make_queue(**options)
