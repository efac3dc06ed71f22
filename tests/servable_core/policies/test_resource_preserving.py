"""The resource-preserving policy: golden decisions, and that two versions never meet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.lifecycle import AspiredServableStateSnapshot, HarnessState, ServableId
from servable_core.policies import Action, ResourcePreservingPolicy, ServableAction

S = HarnessState
Row = tuple[int, HarnessState, bool]
GONE = (S.DISABLED, S.ERROR)


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
        pytest.param([(1, S.NEW, True), (2, S.NEW, True)], (Action.LOAD, 2), id="highest first"),
        pytest.param(
            [(2, S.READY, False), (1, S.READY, False), (3, S.NEW, True)],
            (Action.UNLOAD, 1),
            id="unloads before it loads",
        ),
        pytest.param([(1, S.UNLOADING, False), (2, S.NEW, True)], None, id="waits for the old"),
        pytest.param([(1, S.QUIESCING, False), (2, S.NEW, True)], None, id="waits for handles"),
        pytest.param(
            [(1, S.LOADING, False), (2, S.NEW, True)], None, id="waits for a cancelled load"
        ),
        pytest.param([(1, S.ERROR, False), (2, S.NEW, True)], (Action.LOAD, 2), id="error is gone"),
        pytest.param(
            [(1, S.ERROR, False), (2, S.DISABLED, False), (3, S.NEW, True)],
            (Action.LOAD, 3),
            id="disabled is gone",
        ),
        pytest.param(
            [(1, S.ERROR, False), (2, S.UNLOAD_REQUESTED, False), (3, S.NEW, True)],
            None,
            id="one gone, one not",
        ),
        pytest.param([(1, S.READY, True), (2, S.NEW, True)], (Action.LOAD, 2), id="both aspired"),
        pytest.param([(1, S.READY, True)], None, id="all done"),
    ],
)
def test_next_action(rows: list[Row], expected: tuple[Action, int] | None) -> None:
    """Each set of snapshots has one right answer."""
    action = ResourcePreservingPolicy().get_next_action(_snapshots(rows))

    assert action == (expected and ServableAction(expected[0], ServableId("m", expected[1])))


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(HarnessState), st.booleans()),
        unique_by=lambda row: row[0],
    )
)
def test_no_load_begins_while_an_unwanted_version_holds_anything(rows: list[Row]) -> None:
    """And nothing that is wanted is unloaded."""
    action = ResourcePreservingPolicy().get_next_action(_snapshots(rows))

    by_version = {version: (state, aspired) for version, state, aspired in rows}
    if action is None:
        return
    if action.action is Action.LOAD:
        assert by_version[action.servable_id.version] == (S.NEW, True)
        assert all(aspired or state in GONE for state, aspired in by_version.values())
    else:
        assert by_version[action.servable_id.version] == (S.READY, False)
