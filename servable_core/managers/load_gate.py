"""Lets loads pass in the order of their arrival, as resources allow."""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from servable_core.managers.managed_servable import ManagedServable
from servable_core.resources.resource_allocation import EMPTY, ResourceAllocation
from servable_core.resources.resource_tracker import InsufficientResourcesError, ResourceTracker


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate decided about one load.

    Attributes:
        managed: Whose load.
        refusal: Why it may not pass; None if it may, and its resources are set aside.
    """

    managed: ManagedServable
    refusal: Exception | None = None


class LoadGate:
    """A queue in front of the resources; not thread-safe, never waits itself.

    The first in the queue is decided before the second is looked at, so small loads cannot
    starve a large one. It waits only while something is in flight, for only that can free
    resources: otherwise it is refused. A cancelled load passes at once, for it needs nothing.

    Args:
        tracker: Knows the total.
    """

    def __init__(self, tracker: ResourceTracker) -> None:
        self._tracker = tracker
        self._queue: deque[ManagedServable] = deque()

    @property
    def num_waiting(self) -> int:
        """Loads that are neither passed nor refused."""
        return len(self._queue)

    def enter(self, managed: ManagedServable, estimate: ResourceAllocation) -> None:
        """Queues a load up."""
        managed.resources = estimate
        self._queue.append(managed)

    def is_within(self, estimate: ResourceAllocation, former: ResourceAllocation) -> bool:
        """Whether a new estimate needs no more than a former one did, wherever that was.

        Raises:
            InvalidArgumentError: If it names a device or an instance that does not exist.
        """
        return self._tracker.overbind(former).covers(self._tracker.overbind(estimate))

    def decide(self, all_managed: Collection[ManagedServable]) -> list[Verdict]:
        """Returns all decisions that can be taken now.

        Args:
            all_managed: Everything the manager has; those queued have set nothing aside yet.
        """
        verdicts = self._take_cancelled()
        if not self._queue:
            return verdicts
        holders = [m.resources for m in all_managed if m.holds_resources]
        self._tracker.recompute_used(holders)
        is_anything_in_flight = any(m.is_in_flight for m in all_managed)
        while self._queue:
            verdict = self._decide_first(is_anything_in_flight=is_anything_in_flight)
            if verdict is None:
                break
            verdicts.append(verdict)
            is_anything_in_flight |= verdict.refusal is None
            self._queue.popleft()
            if verdict.refusal is not None:
                verdict.managed.resources = EMPTY
        return verdicts

    def _decide_first(self, *, is_anything_in_flight: bool) -> Verdict | None:
        managed = self._queue[0]
        try:
            if self._tracker.try_reserve(managed.resources):
                return Verdict(managed)
            can_wait = is_anything_in_flight and self._tracker.could_ever_reserve(managed.resources)
        except Exception as error:  # noqa: BLE001 - an estimate that makes no sense is its loader's failure
            return Verdict(managed, error)
        return None if can_wait else Verdict(managed, self._refusal(managed))

    def _refusal(self, managed: ManagedServable) -> InsufficientResourcesError:
        return InsufficientResourcesError(
            f"insufficient resources to load {managed.servable_id}: it needs {managed.resources}; "
            f"{self._tracker.used} of {self._tracker.total} are in use"
        )

    def _take_cancelled(self) -> list[Verdict]:
        cancelled = [managed for managed in self._queue if managed.harness.is_cancelled]
        for managed in cancelled:
            self._queue.remove(managed)
            managed.resources = EMPTY
        return [Verdict(managed) for managed in cancelled]
