"""Never lets a servable go dark while its versions change, at the price of two in memory."""

from collections.abc import Sequence

from typing_extensions import override

from servable_core.lifecycle.servable_state import AspiredServableStateSnapshot, HarnessState
from servable_core.policies.aspired_version_policy import (
    Action,
    AspiredVersionPolicy,
    ServableAction,
    highest_aspired_new,
)


class AvailabilityPreservingPolicy(AspiredVersionPolicy):
    """Loads the new version before it unloads the last old one. Pure.

    The last ready version stays while another is aspired and none of these is ready: also for
    good, where the new one cannot be loaded. Surplus old versions go first, lowest first.
    """

    @override
    def get_next_action(
        self, snapshots: Sequence[AspiredServableStateSnapshot]
    ) -> ServableAction | None:
        surplus = [
            s.servable_id for s in snapshots if s.state is HarnessState.READY and not s.is_aspired
        ]
        if surplus and (not _is_last_resort(snapshots) or len(surplus) > 1):
            return ServableAction(Action.UNLOAD, min(surplus))
        to_load = highest_aspired_new(snapshots)
        return ServableAction(Action.LOAD, to_load) if to_load is not None else None


def _is_last_resort(snapshots: Sequence[AspiredServableStateSnapshot]) -> bool:
    """Whether versions are aspired but none of them is ready yet."""
    aspired = [s for s in snapshots if s.is_aspired]
    return bool(aspired) and not any(s.state is HarnessState.READY for s in aspired)
