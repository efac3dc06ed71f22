"""The states a servable goes through: in full for policies, in short for users."""

from dataclasses import dataclass
from enum import Enum

from servable_core.lifecycle.servable_id import ServableId


class HarnessState(Enum):
    """The steps of one servable, in order; ERROR may follow any of them."""

    NEW = "new"
    LOAD_REQUESTED = "load requested"
    LOAD_APPROVED = "load approved"
    LOADING = "loading"
    READY = "ready"
    UNLOAD_REQUESTED = "unload requested"  # still serving
    QUIESCING = "quiescing"  # gives out no new handles; old ones are draining
    QUIESCED = "quiesced"  # no handle is left
    UNLOADING = "unloading"
    DISABLED = "disabled"
    ERROR = "error"


class ManagerState(Enum):
    """What users are told; only ever moves forward. Numbers as in the server's status API."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


_MANAGER_STATES = {
    HarnessState.NEW: ManagerState.START,
    HarnessState.LOAD_REQUESTED: ManagerState.START,
    HarnessState.LOAD_APPROVED: ManagerState.START,
    HarnessState.LOADING: ManagerState.LOADING,
    HarnessState.READY: ManagerState.AVAILABLE,
    HarnessState.UNLOAD_REQUESTED: ManagerState.UNLOADING,
    HarnessState.QUIESCING: ManagerState.UNLOADING,
    HarnessState.QUIESCED: ManagerState.UNLOADING,
    HarnessState.UNLOADING: ManagerState.UNLOADING,
    HarnessState.DISABLED: ManagerState.END,
    HarnessState.ERROR: ManagerState.END,
}


def to_manager_state(state: HarnessState) -> ManagerState:
    """Returns what users are told of `state`."""
    return _MANAGER_STATES[state]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServableState:
    """How one servable was doing a moment ago; no promise about now.

    Attributes:
        servable_id: Which servable.
        manager_state: How far it has come.
        error: Why it ended, where it ended badly.
    """

    servable_id: ServableId
    manager_state: ManagerState
    error: Exception | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AspiredServableStateSnapshot:
    """What a policy sees of one servable.

    Attributes:
        servable_id: Which servable.
        state: Its step at the time of the snapshot.
        is_aspired: Whether its source wants it loaded.
    """

    servable_id: ServableId
    state: HarnessState
    is_aspired: bool
