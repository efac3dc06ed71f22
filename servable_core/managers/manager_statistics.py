"""How busy a manager is, at one moment."""

from collections.abc import Collection
from dataclasses import dataclass

from servable_core.lifecycle.servable_state import HarnessState
from servable_core.managers.managed_servable import ManagedServable
from servable_core.resources.resource_allocation import EMPTY, ResourceAllocation

_LOADING = frozenset({HarnessState.LOAD_APPROVED, HarnessState.LOADING})


@dataclass(frozen=True, kw_only=True, slots=True)
class ManagerStatistics:
    """Counts of one moment; immutable.

    Attributes:
        num_managed: All servables, in whatever state.
        num_available: Those that can be obtained.
        num_loading: Loads under way.
        num_waiting_for_resources: Loads that wait in front of the resources.
        num_unloading: Unloads under way, including those that wait for handles.
        num_failed: Servables in error.
        num_open_handles: Handles in use, of all servables.
        used_resources: What has been set aside for all servables together, as they stated it.
    """

    num_managed: int = 0
    num_available: int = 0
    num_loading: int = 0
    num_waiting_for_resources: int = 0
    num_unloading: int = 0
    num_failed: int = 0
    num_open_handles: int = 0
    used_resources: ResourceAllocation = EMPTY


def summarize(
    all_managed: Collection[ManagedServable], num_waiting_for_resources: int
) -> ManagerStatistics:
    """Returns the counts of some servables."""
    states = [managed.state for managed in all_managed]
    num_loading = sum(state in _LOADING for state in states)
    num_in_flight = sum(managed.is_in_flight for managed in all_managed)
    served = [managed.served for managed in all_managed if managed.served is not None]
    holders = [managed.resources for managed in all_managed if managed.holds_resources]
    return ManagerStatistics(
        num_managed=len(states),
        num_available=states.count(HarnessState.READY),
        num_loading=num_loading,
        num_waiting_for_resources=num_waiting_for_resources,
        num_unloading=num_in_flight - num_loading,
        num_failed=states.count(HarnessState.ERROR),
        num_open_handles=sum(s.num_open_handles for s in served),
        used_resources=sum(holders, EMPTY),
    )
