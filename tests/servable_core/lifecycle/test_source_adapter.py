"""Adapters that need no loader: single versions, injected errors, prefixes."""

import pytest

from servable_core.errors import NotFoundError
from servable_core.lifecycle import (
    ErrorInjectingSourceAdapter,
    ServableData,
    ServableId,
    UnarySourceAdapter,
)
from servable_core.sources import PrefixStoragePathSourceAdapter
from servable_core.testing import RecordingTarget


def test_one_version_is_adapted_without_telling_the_target() -> None:
    """What loads on demand has no list to emit."""
    target = RecordingTarget[str]()
    adapter = UnarySourceAdapter[int, str](lambda servable_id, data: f"{servable_id}={data}")
    adapter.set_target(target)

    adapted = adapter.adapt_one_version(ServableData.of(ServableId("a", 3), 7))

    assert adapted == ServableData.of(ServableId("a", 3), "a/3=7")
    assert target.calls == []


def test_errors_are_injected_and_earlier_ones_kept() -> None:
    """Every version fails, each with the error closest to its cause."""
    injected, earlier = NotFoundError("no platform"), OSError("unreadable")
    target = RecordingTarget[object]()
    adapter = ErrorInjectingSourceAdapter[str, object](injected)
    adapter.set_target(target)

    adapter.set_aspired_versions(
        "a",
        [
            ServableData.of(ServableId("a", 1), "/a/1"),
            ServableData.failed(ServableId("a", 2), earlier),
        ],
    )

    ((name, versions),) = target.calls
    assert name == "a"
    assert [(each.servable_id.version, each.error) for each in versions] == [
        (1, injected),
        (2, earlier),
    ]


@pytest.mark.parametrize(
    ("prefix", "path", "expected"),
    [
        ("/mnt", "/models/a/1", "/mnt/models/a/1"),
        ("gs://bucket/", "models/a/1", "gs://bucket/models/a/1"),
        ("", "/models/a/1", "/models/a/1"),
    ],
)
def test_a_prefix_is_joined_with_one_slash(prefix: str, path: str, expected: str) -> None:
    """However prefix and path are written."""
    adapter = PrefixStoragePathSourceAdapter(prefix)

    adapted = adapter.adapt_one_version(ServableData.of(ServableId("a", 1), path))

    assert adapted == ServableData.of(ServableId("a", 1), expected)
