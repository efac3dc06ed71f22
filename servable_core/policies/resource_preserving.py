"""Never has two versions in memory because of a change, at the price of a gap in service."""

from collections.abc import Sequence

from typing_extensions import override

from servable_core.lifecycle.servable_state import AspiredServableStateSnapshot, HarnessState
from servable_core.policies.aspired_version_policy import (
    Action,
    AspiredVersionPolicy,
    ServableAction,
    highest_aspired_new,
)

_GONE = frozenset({HarnessState.DISABLED, HarnessState.ERROR})


class ResourcePreservingPolicy(AspiredVersionPolicy):
    """Unloads all old versions, waits until they are gone, and only then loads. Pure.

    For servables too large to be in memory twice. Between two versions there is none.
    """

    @override
    def get_next_action(
        self, snapshots: Sequence[AspiredServableStateSnapshot]
    ) -> ServableAction | None:
        old = [s for s in snapshots if not s.is_aspired]
        ready = [s.servable_id for s in old if s.state is HarnessState.READY]
        if ready:
            return ServableAction(Action.UNLOAD, min(ready))
        if any(s.state not in _GONE for s in old):
            return None
        to_load = highest_aspired_new(snapshots)
        return ServableAction(Action.LOAD, to_load) if to_load is not None else None
