"""How one servable comes into memory and leaves it again."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar, final

from typing_extensions import override

from servable_core.errors import FailedPreconditionError
from servable_core.resources.resource_allocation import EMPTY, ResourceAllocation
from servable_core.runtime.memory import release_unused_memory

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Loader(ABC, Generic[T_co]):
    """Loads and unloads one version of one servable.

    Managers call `load` until it returns for the first time, then `unload` exactly once, never
    two of these calls at a time. A loader is used once: nothing is called after `unload`.
    Making a loader must be cheap. Loaders of different servables run on different threads.
    """

    def estimate_resources(self) -> ResourceAllocation:
        """Returns an upper bound of what the servable needs; nothing, unless overridden.

        Before the load it covers the load's peak and may be unbound. Afterwards it may be less,
        never more, and should be bound. May read files; is called on the threads that load.

        Raises:
            Exception: If it cannot tell; it is asked again, like a failed load.
        """
        return EMPTY

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


class ResourceUnsafeLoader(Loader[T_co]):
    """Says on purpose that its servable does not count towards any limit.

    For servables of no account, or where nobody can tell what they need. Managers load them
    however full the memory is.
    """

    @final
    @override
    def estimate_resources(self) -> ResourceAllocation:
        return EMPTY


class SimpleLoader(Loader[T]):
    """A loader made of functions. As thread-safe as a loader needs to be.

    Args:
        create: Makes the servable.
        destroy: Told of the servable before it is dropped; for what needs an explicit close.
        estimate: What the servable needs at most, also while it is created. Asked once.
        estimate_loaded: What it needs once it is there. Asked once, after the load, by the first
            `estimate_resources`.
        release_memory: Called when `unload` has dropped the servable, and when the estimate has
            shrunk after the load; by default it returns free memory to the operating system.
            None leaves that to the allocator.
    """

    def __init__(
        self,
        create: Callable[[], T],
        destroy: Callable[[T], None] | None = None,
        *,
        estimate: Callable[[], ResourceAllocation] | None = None,
        estimate_loaded: Callable[[], ResourceAllocation] | None = None,
        release_memory: Callable[[], None] | None = release_unused_memory,
    ) -> None:
        self._create = create
        self._destroy = destroy
        self._estimate = estimate
        self._estimate_loaded = estimate_loaded
        self._release_memory = release_memory or _do_nothing
        self._resources: ResourceAllocation | None = None  # the newest answer of an estimator
        self._servables: list[T] = []  # at most one; a list, because None may be a servable

    @override
    def estimate_resources(self) -> ResourceAllocation:
        if self._resources is None:
            self._resources = self._estimate() if self._estimate is not None else EMPTY
        if self._servables and self._estimate_loaded is not None:
            before, self._resources = self._resources, self._estimate_loaded()
            self._estimate_loaded = None
            if not self._resources.covers(before):
                self._release_memory()
        return self._resources

    @override
    def load(self) -> None:
        self._servables = [self._create()]

    @override
    def unload(self) -> None:
        servable = self.servable
        self._servables = []
        try:
            if self._destroy is not None:
                self._destroy(servable)
        finally:  # it is dropped in any case
            del servable
            self._release_memory()

    @property
    @override
    def servable(self) -> T:
        if not self._servables:
            raise FailedPreconditionError("the servable is not loaded")
        return self._servables[0]


def _do_nothing() -> None:
    """Stands for no release of memory."""
