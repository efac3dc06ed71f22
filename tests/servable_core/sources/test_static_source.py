"""The source of pinned versions."""

from collections.abc import Sequence

import pytest

from servable_core.errors import FailedPreconditionError
from servable_core.lifecycle import ServableData, ServableId
from servable_core.sources import StaticStoragePathSource


class RecordingTarget:
    def __init__(self) -> None:
        self.calls: dict[str, list[ServableData[str]]] = {}

    def set_aspired_versions(
        self, servable_name: str, versions: Sequence[ServableData[str]]
    ) -> None:
        assert servable_name not in self.calls
        self.calls[servable_name] = list(versions)


def test_every_model_is_emitted_once_when_connected() -> None:
    """One full list per model, lowest version first."""
    source, target = (
        StaticStoragePathSource({"a": {2: "/a/2", 1: "/a/1"}, "b": {}}),
        RecordingTarget(),
    )

    source.set_target(target)

    assert target.calls == {
        "a": [
            ServableData.of(ServableId("a", 1), "/a/1"),
            ServableData.of(ServableId("a", 2), "/a/2"),
        ],
        "b": [],
    }
    assert source.servable_ids == [ServableId("a", 1), ServableId("a", 2)]


def test_a_second_target_is_refused() -> None:
    """A source has one target."""
    source = StaticStoragePathSource({})
    source.set_target(RecordingTarget())

    with pytest.raises(FailedPreconditionError):
        source.set_target(RecordingTarget())
