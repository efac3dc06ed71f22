"""The recording target."""

import pytest

from servable_core.lifecycle import ServableData, ServableId
from servable_core.testing import RecordingTarget, recording_target


def test_calls_and_what_is_aspired_in_the_end() -> None:
    """The last full list of each servable counts."""
    target = RecordingTarget[str]()
    first, second = (ServableData.of(ServableId("a", each), f"/a/{each}") for each in (1, 2))

    target.set_aspired_versions("a", [first])
    target.set_aspired_versions("a", [first, second])
    target.block_until_calls(2)

    assert target.calls == [("a", [first]), ("a", [first, second])]
    assert target.aspired == {"a": {1: "/a/1", 2: "/a/2"}}
    target.clear()
    assert target.aspired == {}


def test_waiting_in_vain_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of hanging the test run."""
    monkeypatch.setattr(recording_target, "_PATIENCE_SECS", 0.01)

    with pytest.raises(AssertionError, match="0 calls came, not 1"):
        RecordingTarget[str]().block_until_calls(1)
