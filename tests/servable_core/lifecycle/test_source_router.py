"""Routers: one port for the whole list of a servable."""

from collections.abc import Mapping, Sequence

import pytest
from typing_extensions import override

from servable_core.errors import FailedPreconditionError, InternalError, InvalidArgumentError
from servable_core.lifecycle import (
    DynamicSourceRouter,
    ServableData,
    ServableId,
    SourceRouter,
    StaticSourceRouter,
    connect,
)
from servable_core.testing import RecordingTarget


class _NumberRouter(SourceRouter[str]):
    """Routes a servable to the port that its name says; "none" is discarded."""

    @override
    def route(self, servable_name: str, versions: Sequence[ServableData[str]]) -> int | None:
        return None if servable_name == "none" else int(servable_name)


def _connect_all(router: SourceRouter[str]) -> list[RecordingTarget[str]]:
    targets = [RecordingTarget[str]() for _ in router.output_ports]
    for port, target in zip(router.output_ports, targets, strict=True):
        connect(port, target)
    return targets


def _names(targets: list[RecordingTarget[str]]) -> list[list[str]]:
    return [[name for name, _ in target.calls] for target in targets]


def test_the_whole_list_goes_to_one_port() -> None:
    """Data and errors alike, in order; other ports hear nothing."""
    router = _NumberRouter(num_ports=2)
    targets = _connect_all(router)
    versions = [
        ServableData.of(ServableId("1", 1), "/1/1"),
        ServableData.failed(ServableId("1", 2), OSError("unreadable")),
    ]

    router.set_aspired_versions("1", versions)
    router.set_aspired_versions("0", [])

    assert targets[0].calls == [("0", [])]
    assert targets[1].calls == [("1", versions)]


def test_a_list_without_a_route_is_discarded() -> None:
    """No port hears of it."""
    router = _NumberRouter(num_ports=2)
    targets = _connect_all(router)

    router.set_aspired_versions("none", [])

    assert _names(targets) == [[], []]


@pytest.mark.parametrize("name", ["2", "-1"])
def test_a_route_to_no_port_is_a_loud_error(name: str) -> None:
    """A mistake in `route` does not lose servables silently."""
    router = _NumberRouter(num_ports=2)
    _connect_all(router)

    with pytest.raises(InternalError, match=f"port {name}, expected 0 to 1"):
        router.set_aspired_versions(name, [])


def test_all_ports_are_connected_before_the_source() -> None:
    """Even where the list would go out of a port that is connected."""
    router = _NumberRouter(num_ports=2)
    connect(router.output_ports[0], RecordingTarget[str]())

    with pytest.raises(FailedPreconditionError, match="output port 1"):
        router.set_aspired_versions("0", [])


def test_a_port_takes_one_target() -> None:
    """A second target would miss what the first was told."""
    router = _NumberRouter(num_ports=1)
    connect(router.output_ports[0], RecordingTarget[str]())

    with pytest.raises(FailedPreconditionError, match="already"):
        connect(router.output_ports[0], RecordingTarget[str]())


def test_a_router_has_a_port() -> None:
    """Without one nothing could leave it."""
    with pytest.raises(InvalidArgumentError, match="num_ports must be 1 or more, got 0"):
        _NumberRouter(num_ports=0)


def test_static_routes_take_the_first_substring_that_fits() -> None:
    """The last port takes the rest."""
    router = StaticSourceRouter[str](["rank", "er"])
    targets = _connect_all(router)

    for name in ("ranker", "tagger", "other", "x"):
        router.set_aspired_versions(name, [])

    assert _names(targets) == [["ranker"], ["tagger", "other"], ["x"]]


def test_dynamic_routes_are_replaced_as_a_whole() -> None:
    """A name that is in none of them goes to the last port."""
    router = DynamicSourceRouter[str](3, {"a": 0, "b": 1})
    targets = _connect_all(router)

    for name in ("a", "b", "c"):
        router.set_aspired_versions(name, [])
    router.update_routes({"b": 0, "c": 1})
    for name in ("a", "b", "c"):
        router.set_aspired_versions(name, [])

    assert _names(targets) == [["a", "b"], ["b", "c"], ["c", "a"]]
    assert router.routes == {"b": 0, "c": 1}


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ({"a": 0, "b": 2}, "'b' is routed to port 2, the last one"),
        ({"a": 3}, "port 3, expected 0 to 1"),
        ({"a": -1}, "port -1, expected 0 to 1"),
    ],
)
def test_bad_routes_are_refused_and_change_nothing(routes: Mapping[str, int], message: str) -> None:
    """Both when the router is made and when it is changed."""
    router = DynamicSourceRouter[str](3, {"a": 0})

    with pytest.raises(InvalidArgumentError, match=message):
        DynamicSourceRouter[str](3, routes)
    with pytest.raises(InvalidArgumentError, match=message):
        router.update_routes(routes)

    assert router.routes == {"a": 0}
