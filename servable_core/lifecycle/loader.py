"""How one servable comes into memory and leaves it again."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

from typing_extensions import override

from servable_core.errors import FailedPreconditionError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Loader(ABC, Generic[T_co]):
    """Loads and unloads one version of one servable.

    Managers call `load` until it returns for the first time, then `unload` exactly once, never
    two of these calls at a time. A loader is used once: nothing is called after `unload`.
    Making a loader must be cheap. Loaders of different servables run on different threads.
    """

    @abstractmethod
    def load(self) -> None:
        """Makes the servable; after a failure it may be called again.

        Raises:
            Exception: If it cannot; nothing must stay in memory then.
        """

    @abstractmethod
    def unload(self) -> None:
        """Destroys the servable. Nobody uses it any more."""

    @property
    @abstractmethod
    def servable(self) -> T_co:
        """The servable, between `load` and `unload`.

        Raises:
            FailedPreconditionError: At any other time.
        """


class SimpleLoader(Loader[T]):
    """A loader made of functions. As thread-safe as a loader needs to be.

    Args:
        create: Makes the servable.
        destroy: Told of the servable before it is dropped; for what needs an explicit close.
    """

    def __init__(self, create: Callable[[], T], destroy: Callable[[T], None] | None = None) -> None:
        self._create = create
        self._destroy = destroy
        self._servables: list[T] = []  # at most one; a list, because None may be a servable

    @override
    def load(self) -> None:
        self._servables = [self._create()]

    @override
    def unload(self) -> None:
        servable = self.servable
        self._servables = []
        if self._destroy is not None:
            self._destroy(servable)

    @property
    @override
    def servable(self) -> T:
        if not self._servables:
            raise FailedPreconditionError("the servable is not loaded")
        return self._servables[0]
