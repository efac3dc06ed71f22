"""What flows from sources to managers: data about a servable, or why there is none."""

from dataclasses import dataclass
from typing import Generic, Never, TypeVar, cast

from servable_core.lifecycle.servable_id import ServableId

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class ServableData(Generic[T_co]):
    """An id with its data or with an error; immutable. Made by `of` or `failed`.

    An error travels down the same chain as data does and becomes a version in error, so that
    whoever waits for the version sees it.

    Attributes:
        servable_id: What the data is about.
        error: Why there is no data; None where there is.
    """

    servable_id: ServableId
    _data: T_co | None
    error: Exception | None

    @staticmethod
    def of(servable_id: ServableId, data: T) -> "ServableData[T]":
        """Returns `data` about `servable_id`."""
        return ServableData(servable_id, data, None)

    @staticmethod
    def failed(servable_id: ServableId, error: Exception) -> "ServableData[Never]":
        """Returns the reason why there is no data about `servable_id`."""
        return ServableData(servable_id, None, error)

    def unwrap(self) -> T_co:
        """Returns the data.

        Raises:
            Exception: `error`, where there is one.
        """
        if self.error is not None:
            raise self.error
        return cast(T_co, self._data)  # None is data too, if the source says so
