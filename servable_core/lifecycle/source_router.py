"""Splits a stream of aspired versions over several targets, one for each platform for instance."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Generic, TypeVar

from typing_extensions import override

from servable_core.errors import FailedPreconditionError, InternalError, InvalidArgumentError
from servable_core.lifecycle.servable_data import ServableData
from servable_core.lifecycle.source import Source, Target

T = TypeVar("T")


class OutputPort(Source[T], Generic[T]):
    """One way out of a router; it takes one target."""

    def __init__(self) -> None:
        self._target: Target[T] | None = None  # set once, while the chain is built

    @property
    def target(self) -> Target[T] | None:
        """Where the port leads; None until it is connected."""
        return self._target

    @override
    def set_target(self, target: Target[T]) -> None:
        if self._target is not None:
            raise FailedPreconditionError("the output port has a target already")
        self._target = target


class SourceRouter(ABC, Target[T], Generic[T]):
    """Sends all versions of a servable out of the one port that `route` picks.

    Connect every port before a source is connected to the router. As thread-safe as `route`.

        for port, adapter in zip(router.output_ports, adapters, strict=True):
            connect(port, adapter)
        connect(source, router)

    A servable whose route changes is not taken back from its old port: let all ports end at one
    manager, where the full list of the new port replaces that of the old one.

    Args:
        num_ports: Ports that there are, 1 or more.
    """

    def __init__(self, num_ports: int) -> None:
        if num_ports < 1:
            raise InvalidArgumentError(f"num_ports must be 1 or more, got {num_ports}")
        self._ports = tuple(OutputPort[T]() for _ in range(num_ports))

    @property
    def output_ports(self) -> tuple[OutputPort[T], ...]:
        """The ports, each a source to connect."""
        return self._ports

    @abstractmethod
    def route(self, servable_name: str, versions: Sequence[ServableData[T]]) -> int | None:
        """Returns the index of the port for the whole list, or None to discard the list.

        Must pick the same port every time for the same servable.
        """

    @override
    def set_aspired_versions(self, servable_name: str, versions: Sequence[ServableData[T]]) -> None:
        targets = [self._target_of(index) for index in range(len(self._ports))]
        index = self.route(servable_name, versions)
        if index is None:
            return
        if not 0 <= index < len(targets):
            raise InternalError(
                f"servable {servable_name!r} was routed to port {index}, expected 0 to {len(targets) - 1}: mend `route`"
            )
        targets[index].set_aspired_versions(servable_name, versions)

    def _target_of(self, index: int) -> Target[T]:
        target = self._ports[index].target
        if target is None:
            raise FailedPreconditionError(
                f"output port {index} of the router has no target yet: connect all ports before the router's source"
            )
        return target


class StaticSourceRouter(SourceRouter[T]):
    """Routes by substrings of servable names; thread-safe.

    Args:
        substrings: The first one that a name contains gives its port; there is one port more than
            substrings, and the last takes what matches none.
    """

    def __init__(self, substrings: Sequence[str]) -> None:
        super().__init__(len(substrings) + 1)
        self._substrings = tuple(substrings)

    @override
    def route(self, servable_name: str, versions: Sequence[ServableData[T]]) -> int:
        for index, substring in enumerate(self._substrings):
            if substring in servable_name:
                return index
        return len(self._substrings)


class DynamicSourceRouter(SourceRouter[T]):
    """Routes by name, and takes new routes at run time; thread-safe.

    Args:
        num_ports: Ports that there are; the last is for servables without a route.
        routes: The port of each servable name, never the last.

    Raises:
        InvalidArgumentError: If a route leads to the last port or to none.
    """

    def __init__(self, num_ports: int, routes: Mapping[str, int]) -> None:
        super().__init__(num_ports)
        self._lock = threading.Lock()
        self._routes = self._validated(routes)  # Guarded by _lock.

    @property
    def routes(self) -> Mapping[str, int]:
        """The routes in force."""
        with self._lock:
            return self._routes

    def update_routes(self, routes: Mapping[str, int]) -> None:
        """Replaces all routes; they hold from the next call of the source.

        Raises:
            InvalidArgumentError: If a route leads to the last port or to none; nothing changes.
        """
        validated = self._validated(routes)
        with self._lock:
            self._routes = validated

    @override
    def route(self, servable_name: str, versions: Sequence[ServableData[T]]) -> int:
        return self.routes.get(servable_name, len(self._ports) - 1)

    def _validated(self, routes: Mapping[str, int]) -> Mapping[str, int]:
        last = len(self._ports) - 1
        for name, index in routes.items():
            if index == last:
                raise InvalidArgumentError(
                    f"servable {name!r} is routed to port {index}, the last one, which is kept for servables without a route: leave it out"
                )
            if not 0 <= index < last:
                raise InvalidArgumentError(
                    f"servable {name!r} is routed to port {index}, expected 0 to {last - 1}"
                )
        return MappingProxyType(dict(routes))
