"""In which order versions of one servable are loaded and unloaded: a pure decision."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_state import AspiredServableStateSnapshot, HarnessState


class Action(Enum):
    """What a policy may ask for."""

    LOAD = "load"
    UNLOAD = "unload"


@dataclass(frozen=True, slots=True)
class ServableAction:
    """One thing to do to one servable."""

    action: Action
    servable_id: ServableId


class AspiredVersionPolicy(Protocol):
    """Sees every version of one servable and names the next action.

    Pure and idempotent: it is asked again after each change, also while actions are under way,
    and possibly on several threads at once.
    """

    def get_next_action(
        self, snapshots: Sequence[AspiredServableStateSnapshot]
    ) -> ServableAction | None:
        """Returns what to do next: load a NEW version, unload a READY one, or nothing."""


def highest_aspired_new(snapshots: Sequence[AspiredServableStateSnapshot]) -> ServableId | None:
    """Returns the highest aspired version that nobody has begun to load."""
    return max(
        (s.servable_id for s in snapshots if s.is_aspired and s.state is HarnessState.NEW),
        default=None,
    )
