"""What a manager knows of one servable."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_state import (
    HarnessState,
    ManagerState,
    ServableState,
    to_manager_state,
)
from servable_core.managers.loader_harness import LoaderHarness
from servable_core.managers.serving_map import ServedServable
from servable_core.resources.resource_allocation import EMPTY, ResourceAllocation

_ENDED = frozenset({HarnessState.DISABLED, HarnessState.ERROR})
_IN_FLIGHT = frozenset(
    {
        HarnessState.LOAD_APPROVED,
        HarnessState.LOADING,
        HarnessState.UNLOAD_REQUESTED,
        HarnessState.QUIESCING,
        HarnessState.QUIESCED,
        HarnessState.UNLOADING,
    }
)


def _running() -> Future[None]:
    """Returns a future that whoever gets it can wait for, but not cancel."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()
    return future


@dataclass(slots=True, eq=False)
class ManagedServable:
    """One servable under management; guarded by the manager's lock.

    Attributes:
        harness: Its state machine and loader.
        served: What makes it obtainable, from the end of its load to the last handle.
        is_announced: Whether subscribers were told that it is managed.
        is_end_announced: Whether subscribers were told that it has ended.
        resources: What has been set aside for it; counts from approval to the end.
        loading: Done when the load has ended.
        unloading: Done when the unload has ended.
    """

    harness: LoaderHarness
    served: ServedServable[Any] | None = None
    is_announced: bool = False
    is_end_announced: bool = False
    resources: ResourceAllocation = EMPTY
    loading: Future[None] = field(default_factory=_running)
    unloading: Future[None] = field(default_factory=_running)

    @property
    def servable_id(self) -> ServableId:
        """Which servable."""
        return self.harness.servable_id

    @property
    def state(self) -> HarnessState:
        """The harness's state, but a step behind: what subscribers have not been told is not yet.

        So READY means obtainable, and whoever acts upon a state acts after its announcement.
        """
        state = self.harness.state
        if state is HarnessState.READY and self.served is None:
            return HarnessState.LOADING
        if state in _ENDED and not self.is_end_announced:
            return (
                HarnessState.UNLOADING if state is HarnessState.DISABLED else HarnessState.LOADING
            )
        return state

    @property
    def is_in_flight(self) -> bool:
        """Whether its load or unload is under way, so that resources may become free."""
        return self.state in _IN_FLIGHT

    @property
    def holds_resources(self) -> bool:
        """Whether what has been set aside for it counts."""
        return self.is_in_flight or self.state is HarnessState.READY

    @property
    def servable_state(self) -> ServableState:
        """What users see."""
        return self.state_with(to_manager_state(self.state))

    def state_with(self, manager_state: ManagerState) -> ServableState:
        """Returns what subscribers are told when it gets to `manager_state`."""
        return ServableState(
            servable_id=self.servable_id,
            manager_state=manager_state,
            error=self.harness.error if manager_state is ManagerState.END else None,
        )
