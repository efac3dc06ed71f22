"""What users are told of each inner state."""

from servable_core.lifecycle.servable_state import HarnessState, ManagerState, to_manager_state


def test_only_a_ready_servable_is_available() -> None:
    """Exactly one inner state means that handles can be had."""
    available = [s for s in HarnessState if to_manager_state(s) is ManagerState.AVAILABLE]

    assert available == [HarnessState.READY]


def test_what_users_see_never_moves_backwards() -> None:
    """The inner states, in their order, map to a rising sequence."""
    told = [to_manager_state(state).value for state in HarnessState]

    assert told == sorted(told)
