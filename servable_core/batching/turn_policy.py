"""Whose turn it is: which queue gets the next free batch thread, and whether any does."""

import math
from typing import Any, Protocol, TypeVar

from typing_extensions import override

from servable_core.batching.batch import Batch
from servable_core.errors import InvalidArgumentError


class WaitingQueue(Protocol):
    """What a policy may know of a queue. All of it needs the scheduler's lock."""

    @property
    def rank(self) -> int:
        """How urgent it is: 0 is served before 1."""

    @property
    def max_batch_size(self) -> int:
        """Rows of a full batch."""

    @property
    def due_secs_locked(self) -> float:
        """When its next batch is due: -inf for at once, inf for never."""

    @property
    def head_locked(self) -> Batch[Any] | None:  # policies never look at tasks
        """Its next batch; None while there is none."""


Q = TypeVar("Q", bound=WaitingQueue)


class TurnPolicy(Protocol[Q]):
    """Gives out turns, one batch each. A state machine: its scheduler brings lock, time and threads.

    All methods but `measure` are called with the scheduler's lock held.
    """

    def add_queue(self, queue: Q) -> None:
        """Lets `queue` have turns from now on."""

    def remove_queue(self, queue: Q) -> None:
        """Gives `queue` no more turns; it is empty. A queue that is not there is no error."""

    def start_turn(self, now: float) -> Q | None:
        """Returns the queue whose next batch runs now, or None; the caller takes that batch."""

    @property
    def is_learning(self) -> bool:
        """Whether it learns from turns: only then are `measure` and `end_turn` called; never changes."""

    def end_turn(self, batch: Batch[Any], now: float, measured: float | None) -> None:
        """Notes that `batch` was processed.

        Args:
            batch: The batch of a turn that was started.
            now: The time.
            measured: What `measure` returned; None if it failed.
        """

    @property
    def due_secs(self) -> float:
        """From when on `start_turn` returns a queue, unless a turn ends earlier; inf for never."""

    def measure(self, batch: Batch[Any]) -> float:
        """Observes what the policy learns from, after a batch; called without any lock."""


class RankedRoundRobin(TurnPolicy[Q]):
    """The best rank that has a due batch is served; within a rank, queues take turns.

    A due queue that was passed over `max_turns_passed_over` times in a row comes first, whatever
    its rank. So with n queues in worse ranks the best rank gets at least `max_turns_passed_over`
    of every `max_turns_passed_over` + n turns, and none of the others starves.

    Args:
        max_turns_passed_over: 1 or more; None for no bound: worse ranks may then starve.
    """

    def __init__(self, max_turns_passed_over: int | None = None) -> None:
        if max_turns_passed_over is not None and max_turns_passed_over < 1:
            raise InvalidArgumentError(
                f"max_turns_passed_over must be None or 1 or more, got {max_turns_passed_over}"
            )
        self._max_passed_over = max_turns_passed_over or math.inf
        # How often each queue was passed over since its last turn. In the order of turns: whoever
        # was served last stands at the end.
        self._num_passed_over: dict[Q, int] = {}
        self._is_ranked = False

    @override
    def add_queue(self, queue: Q) -> None:
        self._num_passed_over[queue] = 0
        self._check_ranks()

    @override
    def remove_queue(self, queue: Q) -> None:
        self._num_passed_over.pop(queue, None)
        self._check_ranks()

    @override
    def start_turn(self, now: float) -> Q | None:
        chosen = self._choose_ranked(now) if self._is_ranked else self._first_due(now)
        if chosen is not None:
            del self._num_passed_over[chosen]
            self._num_passed_over[chosen] = 0
        return chosen

    @property
    @override
    def is_learning(self) -> bool:
        return False  # turns do not depend on how earlier ones went

    @override
    def end_turn(self, batch: Batch[Any], now: float, measured: float | None) -> None:
        """Does nothing."""

    @property
    @override
    def due_secs(self) -> float:
        due_secs = math.inf
        for queue in self._num_passed_over:  # often one, for which `min` would take long
            due_secs = min(due_secs, queue.due_secs_locked)
        return due_secs

    @override
    def measure(self, batch: Batch[Any]) -> float:
        return 0.0

    def _check_ranks(self) -> None:
        self._is_ranked = len({queue.rank for queue in self._num_passed_over}) > 1

    def _first_due(self, now: float) -> Q | None:
        for queue in self._num_passed_over:
            if queue.due_secs_locked <= now:
                return queue
        return None

    def _choose_ranked(self, now: float) -> Q | None:
        due = [queue for queue in self._num_passed_over if queue.due_secs_locked <= now]
        if not due:
            return None
        starved = self._first_starved(due)
        if starved is not None:
            return starved
        chosen = min(due, key=lambda queue: queue.rank)
        for queue in due:
            if queue.rank > chosen.rank:
                self._num_passed_over[queue] += 1
        return chosen

    def _first_starved(self, due: list[Q]) -> Q | None:
        for queue in due:
            if self._num_passed_over[queue] >= self._max_passed_over:
                return queue
        return None
