"""The availability-preserving policy: golden decisions, and that a servable never goes dark."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.lifecycle import AspiredServableStateSnapshot, HarnessState, ServableId
from servable_core.policies import (
    Action,
    AvailabilityPreservingPolicy,
    ServableAction,
    highest_aspired_new,
)

S = HarnessState
Row = tuple[int, HarnessState, bool]


def _snapshots(rows: list[Row]) -> list[AspiredServableStateSnapshot]:
    return [
        AspiredServableStateSnapshot(
            servable_id=ServableId("m", version), state=state, is_aspired=aspired
        )
        for version, state, aspired in rows
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([(1, S.NEW, True)], (Action.LOAD, 1), id="loads the first"),
        pytest.param([(1, S.NEW, True), (2, S.NEW, True)], (Action.LOAD, 2), id="highest first"),
        pytest.param([(1, S.READY, False), (2, S.NEW, True)], (Action.LOAD, 2), id="keeps old"),
        pytest.param([(1, S.READY, False), (2, S.LOADING, True)], None, id="waits for the new"),
        pytest.param([(1, S.READY, False), (2, S.ERROR, True)], None, id="keeps old for good"),
        pytest.param([(1, S.READY, False), (2, S.READY, True)], (Action.UNLOAD, 1), id="swap done"),
        pytest.param(
            [(1, S.READY, False), (2, S.READY, True), (3, S.NEW, True)],
            (Action.UNLOAD, 1),
            id="unloads before it loads more",
        ),
        pytest.param(
            [(1, S.READY, False), (2, S.READY, True), (3, S.ERROR, True)],
            (Action.UNLOAD, 1),
            id="another aspired one serves",
        ),
        pytest.param(
            [(1, S.READY, False), (2, S.READY, False), (3, S.LOADING, True)],
            (Action.UNLOAD, 1),
            id="one old version is enough",
        ),
        pytest.param(
            [(2, S.READY, False), (1, S.READY, False)], (Action.UNLOAD, 1), id="none aspired"
        ),
        pytest.param([(1, S.UNLOADING, False), (2, S.READY, True)], None, id="in progress"),
        pytest.param([(1, S.NEW, False)], None, id="unwanted before it was loaded"),
    ],
)
def test_next_action(rows: list[Row], expected: tuple[Action, int] | None) -> None:
    """Each set of snapshots has one right answer."""
    action = AvailabilityPreservingPolicy().get_next_action(_snapshots(rows))

    assert action == (expected and ServableAction(expected[0], ServableId("m", expected[1])))


def test_highest_aspired_new_skips_what_is_unwanted_or_begun() -> None:
    """Only NEW and aspired versions count."""
    rows = [(4, S.NEW, False), (3, S.LOADING, True), (2, S.NEW, True), (1, S.NEW, True)]

    assert highest_aspired_new(_snapshots(rows)) == ServableId("m", 2)
    assert highest_aspired_new(_snapshots(rows[:2])) is None


@dataclass
class Stream:
    """A simulated manager of one stream: versions with their state and whether aspired."""

    versions: dict[int, tuple[HarnessState, bool]]

    @property
    def is_serving(self) -> bool:
        return any(state is S.READY for state, _ in self.versions.values())

    @property
    def is_aspired(self) -> bool:
        return any(aspired for _, aspired in self.versions.values())

    def act(self) -> None:
        """Asks the policy until it has no more to say; loads stay under way."""
        policy = AvailabilityPreservingPolicy()
        to_state = {Action.LOAD: S.LOADING, Action.UNLOAD: S.QUIESCING}
        while action := policy.get_next_action(
            _snapshots([(v, state, aspired) for v, (state, aspired) in self.versions.items()])
        ):
            version = action.servable_id.version
            self.versions[version] = (to_state[action.action], self.versions[version][1])

    def aspire(self, kept: set[int], *, add_new: bool) -> None:
        """Keeps some versions that are there, and may add one."""
        for version, (state, _) in self.versions.items():
            self.versions[version] = (state, version in kept and state is not S.QUIESCING)
        if add_new:
            self.versions[len(self.versions)] = (S.NEW, True)

    def end_loads(self, outcome: HarnessState) -> None:
        for version, (state, aspired) in self.versions.items():
            ended = outcome if state is S.LOADING else state
            self.versions[version] = (ended, aspired)


_STEPS = st.tuples(
    st.sets(st.integers(0, 8)), st.booleans(), st.sampled_from([S.LOADING, S.READY, S.ERROR])
)


@given(st.lists(_STEPS, max_size=12))
def test_once_serving_an_aspired_stream_never_goes_dark(
    steps: list[tuple[set[int], bool, HarnessState]],
) -> None:
    """Whatever is aspired and whichever loads fail, some version stays ready."""
    stream = Stream({})
    for kept, add_new, outcome in steps:
        was_serving = stream.is_serving
        stream.aspire(kept, add_new=add_new)
        stream.act()
        stream.end_loads(outcome)
        stream.act()
        assert stream.is_serving or not (was_serving and stream.is_aspired)
