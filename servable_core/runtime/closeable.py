"""What is closed when its `with` block ends."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Closeable(ABC):
    """A context manager that is itself what it gives, and closes on exit."""

    __slots__ = ()

    @abstractmethod
    def close(self) -> None:
        """Gives back all that it holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
