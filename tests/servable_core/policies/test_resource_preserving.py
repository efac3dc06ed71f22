"""The resource-preserving policy: golden decisions."""

import pytest

from servable_core.lifecycle import AspiredServableStateSnapshot, HarnessState, ServableId
from servable_core.policies import Action, ResourcePreservingPolicy, ServableAction

S = HarnessState
Row = tuple[int, HarnessState, bool]


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
    snapshots = [
        AspiredServableStateSnapshot(
            servable_id=ServableId("m", version), state=state, is_aspired=aspired
        )
        for version, state, aspired in rows
    ]

    action = ResourcePreservingPolicy().get_next_action(snapshots)

    assert action == (expected and ServableAction(expected[0], ServableId("m", expected[1])))
