"""What all managers offer to those who use servables."""

from typing import Protocol, TypeVar

from servable_core.lifecycle.servable_handle import ServableHandle
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_request import ServableRequest

T = TypeVar("T")


class Manager(Protocol):
    """Hands out handles. Implementations are thread-safe."""

    def get_servable_handle(
        self, request: ServableRequest, servable_type: type[T]
    ) -> ServableHandle[T]:
        """Returns a handle of the servable asked for; close it soon.

        Raises:
            NotFoundError: If no such servable is available.
            InvalidArgumentError: If it is not a `servable_type`.
        """

    def get_available_servable_handles(
        self, servable_type: type[T]
    ) -> dict[ServableId, ServableHandle[T]]:
        """Returns a handle of each available `servable_type`, and of nothing else; close them all."""

    def list_available_servable_ids(self) -> list[ServableId]:
        """Returns the ids of all servables that can be obtained, sorted."""
