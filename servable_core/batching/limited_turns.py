"""Turns by age and fullness of the batches, within a limit of batches in flight."""

import math
from collections.abc import Callable
from typing import Any

from typing_extensions import override

from servable_core.batching.batch import Batch
from servable_core.batching.in_flight_limit import InFlightLimit
from servable_core.batching.turn_policy import Q, TurnPolicy
from servable_core.errors import InvalidArgumentError


class LimitedTurns(TurnPolicy[Q]):
    """Serves the oldest due batch first, where a full batch counts as older than it is.

    A batch's score is its start less `full_batch_boost_secs` times the part of it that is full; the
    lowest score wins. Age grows without bound, so no batch waits for ever. Batches of one queue
    always run in their order.

    Args:
        limit: How many batches may run at a time, and what it learns from.
        measure: Observes what `limit` learns from; called without a lock, after each batch.
        full_batch_boost_secs: How much older a full batch counts; 0 is first come, first served.
        run_full_beyond_limit: Whether closed batches, which more waiting cannot improve, may run
            on any free thread. They neither count for the limit nor teach it.
    """

    def __init__(
        self,
        limit: InFlightLimit,
        measure: Callable[[Batch[Any]], float],
        *,
        full_batch_boost_secs: float,
        run_full_beyond_limit: bool,
    ) -> None:
        if not 0 <= full_batch_boost_secs < math.inf:
            raise InvalidArgumentError(
                f"full_batch_boost_secs must be finite and 0 or more, got {full_batch_boost_secs}"
            )
        self._limit = limit
        self._measure = measure
        self._boost_secs = full_batch_boost_secs
        self._run_full_beyond_limit = run_full_beyond_limit
        self._queues: list[Q] = []
        self._num_in_flight = 0
        self._beyond_limit: set[Batch[Any]] = set()

    @override
    def add_queue(self, queue: Q) -> None:
        if queue.rank != 0:
            raise InvalidArgumentError(
                f"rank must be 0 where batches are served by age, got {queue.rank}; "
                "use a SharedBatchScheduler for ranks"
            )
        self._queues.append(queue)

    @override
    def remove_queue(self, queue: Q) -> None:
        if queue in self._queues:
            self._queues.remove(queue)

    @override
    def start_turn(self, now: float) -> Q | None:
        due = [queue for queue in self._eligible() if queue.due_secs_locked <= now]
        if not due:
            return None
        queue = min(due, key=self._score)
        if self._is_below_limit():
            self._num_in_flight += 1
        elif (batch := queue.head_locked) is not None:
            self._beyond_limit.add(batch)
        return queue

    @property
    @override
    def is_learning(self) -> bool:
        return True

    @override
    def end_turn(self, batch: Batch[Any], now: float, measured: float | None) -> None:
        if batch in self._beyond_limit:
            self._beyond_limit.remove(batch)
            return
        self._num_in_flight -= 1
        if measured is not None:
            has_more = any(queue.due_secs_locked <= now for queue in self._queues)
            self._limit.record(measured, has_more=has_more)

    @property
    @override
    def due_secs(self) -> float:
        return min((queue.due_secs_locked for queue in self._eligible()), default=math.inf)

    @override
    def measure(self, batch: Batch[Any]) -> float:
        return self._measure(batch)

    def _is_below_limit(self) -> bool:
        return self._num_in_flight < self._limit.num_allowed

    def _eligible(self) -> list[Q]:
        if self._is_below_limit():
            return self._queues
        if not self._run_full_beyond_limit:
            return []
        heads = ((queue, queue.head_locked) for queue in self._queues)
        return [queue for queue, head in heads if head is not None and head.is_closed]

    def _score(self, queue: Q) -> float:
        head = queue.head_locked
        if head is None:
            return math.inf
        return head.started_secs - self._boost_secs * head.size / queue.max_batch_size
