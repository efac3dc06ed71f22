"""Turns by age and fullness within a limit, without a scheduler."""

import math
from types import SimpleNamespace

import pytest

from servable_core.batching.batch_queue import BatchQueue, QueueOptions
from servable_core.batching.limited_turns import LimitedTurns
from servable_core.errors import InvalidArgumentError


class FixedLimit:
    """A limit that the test sets, and that remembers what it was told."""

    def __init__(self, num_allowed):
        self.num_allowed = num_allowed
        self.records = []

    def record(self, measured, *, has_more):
        self.records.append((measured, has_more))


class Queue:
    """A queue as its policy sees it."""

    rank = 0
    max_batch_size = 4

    def __init__(self, *sizes_and_starts, timeout_secs=0.0):
        self.former = BatchQueue(
            QueueOptions(max_batch_size=4, batch_timeout_secs=timeout_secs, max_enqueued_batches=9)
        )
        for size, start in sizes_and_starts:
            self.former.add([SimpleNamespace(size=size)], start)

    @property
    def due_secs_locked(self):
        return self.former.due_secs

    @property
    def head_locked(self):
        return self.former.head


def make_turns(*queues, num_allowed=9, boost_secs=0.0, beyond=False, measure=lambda _: 0.0):
    limit = FixedLimit(num_allowed)
    turns = LimitedTurns(
        limit, measure, full_batch_boost_secs=boost_secs, run_full_beyond_limit=beyond
    )
    for queue in queues:
        turns.add_queue(queue)
    return turns, limit


def start(turns, now=100.0):
    """Starts a turn and takes the batch, as a scheduler does."""
    queue = turns.start_turn(now)
    return queue and (queue, queue.former.take(now))


def test_oldest_batch_goes_first():
    """Whichever queue it is in, and however full the others are."""
    young, old = Queue((4, 2.0)), Queue((1, 1.0))
    turns, _ = make_turns(young, old)
    assert [start(turns)[0] for _ in range(2)] == [old, young]
    assert start(turns) is None


def test_full_batch_may_overtake():
    """With a boost, fullness counts like age: here a full batch 10 seconds, a quarter of one 2.5."""
    full, quarter = Queue((4, 8.0)), Queue((1, 1.0))
    turns, _ = make_turns(quarter, full, boost_secs=10.0)
    assert start(turns)[0] is full
    full, quarter = Queue((4, 9.0)), Queue((1, 1.0))
    turns, _ = make_turns(quarter, full, boost_secs=10.0)
    assert start(turns)[0] is quarter


def test_batch_that_is_not_due_has_no_turn():
    """Its timeout is the least age at which it may be closed."""
    turns, _ = make_turns(Queue((1, 0.0), timeout_secs=5.0))
    assert (start(turns, now=4.9), turns.due_secs) == (None, 5.0)
    assert start(turns, now=5.0) is not None
    assert turns.due_secs == math.inf


def test_limit_holds_turns_back_until_one_ends():
    """At the limit nothing is due, whatever waits."""
    turns, limit = make_turns(Queue((4, 0.0), (4, 0.0), (4, 0.0)), num_allowed=2)
    first = start(turns)[1]
    start(turns)
    assert (start(turns), turns.due_secs) == (None, math.inf)
    turns.end_turn(first, 100.0, 0.25)
    assert turns.due_secs == -math.inf
    assert start(turns) is not None
    assert limit.records == [(0.25, True)]


def test_full_batches_may_run_beyond_the_limit():
    """They leave the limit alone: it holds the others back, and learns from those alone."""
    queue = Queue((1, 0.0))
    other = Queue((4, 1.0), (4, 1.0), (3, 1.0))
    turns, limit = make_turns(queue, other, num_allowed=1, beyond=True)
    counted = start(turns)[1]
    beyond = [start(turns)[1], start(turns)[1]]
    assert [batch.size for batch in beyond] == [4, 4]
    assert (start(turns), turns.due_secs) == (None, math.inf)
    for batch in beyond:
        turns.end_turn(batch, 100.0, 9.0)
    assert (start(turns), limit.records) == (None, [])
    turns.end_turn(counted, 100.0, 1.0)
    assert start(turns)[1].size == 3
    assert limit.records == [(1.0, True)]


def test_limit_learns_whether_more_was_due():
    """A batch that is still waiting for its timeout does not count as more."""
    turns, limit = make_turns(Queue((4, 0.0), (1, 90.0), timeout_secs=20.0))
    batch = start(turns)[1]
    turns.end_turn(batch, 100.0, 1.0)
    assert limit.records == [(1.0, False)]


def test_batch_without_measurement_teaches_nothing():
    """But it makes room."""
    turns, limit = make_turns(Queue((4, 0.0), (4, 0.0)), num_allowed=1)
    turns.end_turn(start(turns)[1], 100.0, None)
    assert start(turns) is not None
    assert limit.records == []


def test_removed_queue_has_no_turns():
    """Removing it twice is no error."""
    queue = Queue((4, 0.0))
    turns, _ = make_turns(queue)
    turns.remove_queue(queue)
    turns.remove_queue(queue)
    assert start(turns) is None


def test_ranks_are_an_error():
    """Age decides here; a rank that did nothing would surprise."""
    queue = Queue()
    queue.rank = 1
    with pytest.raises(InvalidArgumentError, match=r"rank must be 0 .* got 1; use a Shared"):
        make_turns(queue)


def test_negative_boost_is_an_error():
    """It would make full batches wait."""
    with pytest.raises(InvalidArgumentError, match=r"full_batch_boost_secs must be .* got -1"):
        make_turns(boost_secs=-1)
