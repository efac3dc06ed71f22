"""A manager of servables that are there already: for tests, and for what never changes."""

from collections.abc import Mapping
from typing import Any, TypeVar

from typing_extensions import override

from servable_core.errors import InvalidArgumentError
from servable_core.lifecycle.servable_handle import ServableHandle
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_request import ServableRequest
from servable_core.managers.manager import Manager
from servable_core.managers.serving_map import ServedServable, ServingMap

T = TypeVar("T")


class StaticManager(Manager):
    """Serves what it was made with, for ever; thread-safe, look-ups take no lock.

    Args:
        servables: All of them. None is not a servable here: it is most likely a mistake.

    Raises:
        InvalidArgumentError: If one of them is None.
    """

    def __init__(self, servables: Mapping[ServableId, Any]) -> None:
        self._serving_map = ServingMap()
        for servable_id, servable in servables.items():
            if servable is None:
                raise InvalidArgumentError(f"{servable_id} must be a servable, got None")
            self._serving_map.add(ServedServable(servable_id, servable, _do_nothing))

    @override
    def get_servable_handle(
        self, request: ServableRequest, servable_type: type[T]
    ) -> ServableHandle[T]:
        return self._serving_map.get(request, servable_type)

    @override
    def get_available_servable_handles(
        self, servable_type: type[T]
    ) -> dict[ServableId, ServableHandle[T]]:
        return self._serving_map.get_all(servable_type)

    @override
    def list_available_servable_ids(self) -> list[ServableId]:
        return self._serving_map.list_ids()


def _do_nothing() -> None:
    """Nobody waits for handles of what is never unloaded."""
