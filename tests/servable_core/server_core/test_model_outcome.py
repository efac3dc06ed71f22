"""When a model has come up, has failed, or is still on its way."""

from dataclasses import dataclass

import pytest

from servable_core.errors import NotFoundError, UnavailableError
from servable_core.lifecycle import ServableId
from servable_core.server_core.model_outcome import find_outcome
from servable_core.sources import StoragePathStatus
from tests.servable_core.server_core.fakes import model

BROKEN = UnavailableError("broken")
MISSING = NotFoundError("version 3 not found")


@dataclass
class _Versions:
    """What a manager knows: a state for each version of `a`, in one letter."""

    states: str

    def is_in_force(self, _name: str) -> bool:
        return True

    def is_available(self, servable_id: ServableId) -> bool:
        return self._state(servable_id) == "A"

    def find_error(self, servable_id: ServableId) -> Exception | None:
        return BROKEN if self._state(servable_id) == "F" else None

    def _state(self, servable_id: ServableId) -> str:
        return self.states[servable_id.version - 1]


def _status(
    *, settling: frozenset[int] = frozenset(), error: Exception | None = None
) -> StoragePathStatus:
    return StoragePathStatus(
        base_path="/a", aspired=(1, 2), settling=settling, is_listed=True, error=error
    )


@pytest.mark.parametrize(
    ("states", "is_decided", "error"),
    [
        ("AA", True, None),
        ("LL", False, None),
        ("AL", False, None),
        ("FF", True, BROKEN),
        ("AF", True, BROKEN),
        ("FA", True, BROKEN),
        ("FL", False, BROKEN),
        ("LF", False, BROKEN),
    ],
)
def test_a_version_that_loads_leaves_its_model_undecided(
    states: str, is_decided: bool, error: Exception | None
) -> None:
    """Whatever has become of the others; an error is known as soon as there is one.

    (A)vailable, (F)ailed or still (L)oading.
    """
    outcome = find_outcome(model("a", 1, 2), _status(), _Versions(states))
    assert (outcome.is_decided, outcome.error) == (is_decided, error)


@pytest.mark.parametrize(("states", "is_decided"), [("AA", True), ("AL", False), ("AF", True)])
def test_a_missing_version_does_not_hide_one_that_loads(states: str, is_decided: bool) -> None:
    """Of the versions asked for one is not there: the others are waited for all the same."""
    outcome = find_outcome(model("a", 1, 2, 3), _status(error=MISSING), _Versions(states))
    assert outcome.is_decided is is_decided
    assert outcome.error is (BROKEN if "F" in states else MISSING)


def test_a_version_that_has_yet_to_come_to_rest_is_not_missing() -> None:
    """There is no error until it has, and no decision."""
    status = _status(settling=frozenset({3}), error=MISSING)
    outcome = find_outcome(model("a", 1, 2, 3), status, _Versions("AA"))
    assert (outcome.is_decided, outcome.error) == (False, None)


@pytest.mark.parametrize("status", [None, StoragePathStatus(base_path="/a", aspired=(1, 2))])
def test_nothing_is_known_before_the_first_look(status: StoragePathStatus | None) -> None:
    """What the manager has is of another base path, or another configuration."""
    outcome = find_outcome(model("a", 1, 2), status, _Versions("AA"))
    assert (outcome.is_decided, outcome.error) == (False, None)
