"""Connections and adapters between sources and targets."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from servable_core.errors import FailedPreconditionError
from servable_core.lifecycle import ServableData, ServableId, Target, UnarySourceAdapter, connect


class RecordingTarget:
    def __init__(self) -> None:
        self.calls: list[tuple[str, list[ServableData[int]]]] = []

    def set_aspired_versions(
        self, servable_name: str, versions: Sequence[ServableData[int]]
    ) -> None:
        self.calls.append((servable_name, list(versions)))


class ManualSource:
    target: Target[int]

    def set_target(self, target: Target[int]) -> None:
        self.target = target


def test_calls_pass_until_the_connection_is_closed() -> None:
    """A detached target hears nothing more."""
    source, target = ManualSource(), RecordingTarget()
    data = ServableData.of(ServableId("a", 1), 7)

    with connect(source, target):
        source.target.set_aspired_versions("a", [data])
    source.target.set_aspired_versions("a", [])

    assert target.calls == [("a", [data])]


def test_close_waits_for_a_call_inside_the_target() -> None:
    """After close returns nothing runs in the target, so it may be torn down."""
    entered, leave = threading.Event(), threading.Event()
    finished: list[str] = []

    class SlowTarget:
        def set_aspired_versions(
            self, servable_name: str, versions: Sequence[ServableData[int]]
        ) -> None:
            entered.set()
            leave.wait(10)
            finished.append(servable_name)

    source = ManualSource()
    connection = connect(source, SlowTarget())
    with ThreadPoolExecutor() as pool:
        pool.submit(source.target.set_aspired_versions, "a", [])
        entered.wait(10)
        closing = pool.submit(connection.close)
        leave.set()
        closing.result(10)
        assert finished == ["a"]


def test_an_adapter_converts_each_version_and_keeps_its_id() -> None:
    """The converter sees the id and the data."""
    target = RecordingTarget()
    adapter = UnarySourceAdapter[int, int](lambda servable_id, data: servable_id.version * data)
    adapter.set_target(target)

    adapter.set_aspired_versions(
        "a", [ServableData.of(ServableId("a", version), 10) for version in (1, 2)]
    )

    assert target.calls == [
        ("a", [ServableData.of(ServableId("a", 1), 10), ServableData.of(ServableId("a", 2), 20)])
    ]


def test_a_conversion_error_fails_that_version_only() -> None:
    """The other versions of the list pass; incoming errors pass too."""
    target = RecordingTarget()
    adapter = UnarySourceAdapter[int, int](lambda _, data: 6 // data)
    adapter.set_target(target)
    earlier = OSError("unreadable")

    adapter.set_aspired_versions(
        "a",
        [
            ServableData.of(ServableId("a", 1), 0),
            ServableData.of(ServableId("a", 2), 3),
            ServableData.failed(ServableId("a", 3), earlier),
        ],
    )

    first, second, third = target.calls[0][1]
    assert isinstance(first.error, ZeroDivisionError)
    assert second.unwrap() == 2
    assert third.error is earlier


def test_an_adapter_without_a_target_says_how_to_connect() -> None:
    """A chain is connected from its end."""
    adapter = UnarySourceAdapter[int, int](lambda _, data: data)

    with pytest.raises(FailedPreconditionError, match="before its source"):
        adapter.set_aspired_versions("a", [])


def test_an_adapter_takes_one_target() -> None:
    """A second target would miss what the first was told."""
    adapter = UnarySourceAdapter[int, int](lambda _, data: data)
    adapter.set_target(RecordingTarget())

    with pytest.raises(FailedPreconditionError, match="already"):
        adapter.set_target(RecordingTarget())
