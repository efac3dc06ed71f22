"""Which queue is served next, without a scheduler."""

import math
from dataclasses import dataclass

import pytest

from servable_core.batching.turn_policy import RankedRoundRobin
from servable_core.errors import InvalidArgumentError


@dataclass(eq=False)
class Queue:
    """What a policy sees of a queue."""

    name: str
    rank: int = 0
    due_secs_locked: float = -math.inf


def make_policy(*queues, max_turns_passed_over=None):
    policy = RankedRoundRobin(max_turns_passed_over)
    for queue in queues:
        policy.add_queue(queue)
    return policy


def turns(policy, number, now=0.0):
    return "".join(queue.name if queue else "-" for queue in _served(policy, number, now))


def _served(policy, number, now):
    return [policy.start_turn(now) for _ in range(number)]


def test_queues_of_one_rank_take_turns():
    """Each due queue is served once before any is served again."""
    assert turns(make_policy(Queue("a"), Queue("b"), Queue("c")), 7) == "abcabca"


def test_queue_that_is_not_due_keeps_its_place():
    """Who had to wait for its batch is served before those who had turns meanwhile."""
    late = Queue("a", due_secs_locked=5.0)
    policy = make_policy(late, Queue("b"), Queue("c"))
    assert turns(policy, 3, now=4.9) == "bcb"
    assert turns(policy, 3, now=5.0) == "acb"


def test_nothing_due_is_no_turn():
    """The policy tells when there will be one."""
    policy = make_policy(Queue("a", due_secs_locked=5.0), Queue("b", 1, due_secs_locked=3.0))
    assert (turns(policy, 1, now=2.0), policy.due_secs) == ("-", 3.0)
    assert (turns(make_policy(), 1), make_policy().due_secs) == ("-", math.inf)


def test_better_rank_goes_first():
    """A worse rank is served only when no better one has anything due."""
    first, second = Queue("a"), Queue("b")
    policy = make_policy(Queue("z", rank=2), first, Queue("m", rank=1), second)
    assert turns(policy, 4) == "abab"
    first.due_secs_locked = second.due_secs_locked = 5.0
    assert turns(policy, 2) == "mm"


def test_bound_on_passed_over_turns_prevents_starvation():
    """Each queue of worse rank gets a turn after it was passed over so often."""
    policy = make_policy(
        Queue("z", rank=2), Queue("a"), Queue("m", rank=1), max_turns_passed_over=3
    )
    assert turns(policy, 15) == "aaazmaaazmaaazm"


def test_peers_are_not_passed_over_by_each_other():
    """Queues of the best rank that wait for their turn do not keep a worse rank from its own."""
    policy = make_policy(
        Queue("a"), Queue("b"), Queue("c"), Queue("z", rank=1), max_turns_passed_over=2
    )
    assert turns(policy, 9) == "abzcazbcz"


def test_turn_starts_the_count_anew():
    """Turns that a queue was passed over before its last one do not count."""
    urgent = Queue("a")
    policy = make_policy(urgent, Queue("z", rank=1), max_turns_passed_over=3)
    assert turns(policy, 2) == "aa"
    urgent.due_secs_locked = math.inf
    assert turns(policy, 1) == "z"
    urgent.due_secs_locked = -math.inf
    assert turns(policy, 4) == "aaaz"


def test_removed_queue_has_no_turns():
    """Removing it twice is no error."""
    queue = Queue("a")
    policy = make_policy(queue, Queue("b", rank=1))
    policy.remove_queue(queue)
    policy.remove_queue(queue)
    assert turns(policy, 2) == "bb"


def test_bound_below_one_is_an_error():
    """Zero would turn the ranks around."""
    with pytest.raises(InvalidArgumentError, match="None or 1 or more, got 0"):
        RankedRoundRobin(0)
