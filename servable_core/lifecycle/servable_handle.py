"""A caller's hold on a servable: while it is open, the servable stays loaded."""

import warnings
from collections.abc import Callable
from typing import Generic, TypeVar

from typing_extensions import override

from servable_core.errors import FailedPreconditionError
from servable_core.lifecycle.servable_id import ServableId
from servable_core.runtime.closeable import Closeable

T = TypeVar("T")


class ServableHandle(Closeable, Generic[T]):
    """A context manager around a loaded servable; get one per request and close it soon.

    An open handle delays the unloading of its own servable, and of no other. `close` may be
    called from any thread and more than once. A handle that is dropped open warns
    (ResourceWarning) and then releases its servable.

    Args:
        servable_id: The concrete version, also where the request left the choice open.
        servable: What the caller uses.
        release: Called once, by `close` or by the garbage collector: on any thread and at any
            place, so it must neither block nor take a lock.
    """

    __slots__ = ("_release_once", "_servable", "_servable_id")

    def __init__(self, servable_id: ServableId, servable: T, release: Callable[[], None]) -> None:
        self._servable_id = servable_id
        self._servable: T | None = servable
        # Popping a list is atomic, so of several closers one gets the release.
        self._release_once = [release]

    @property
    def servable_id(self) -> ServableId:
        """The concrete version held; also known after `close`."""
        return self._servable_id

    @property
    def servable(self) -> T:
        """The servable; do not keep it beyond the handle.

        Raises:
            FailedPreconditionError: After `close`.
        """
        servable = self._servable
        if self.is_closed:
            raise FailedPreconditionError(f"the handle of {self._servable_id} is closed")
        return servable  # type: ignore[return-value]  # None only where T allows it, or closed

    @property
    def is_closed(self) -> bool:
        """Whether the servable has been released."""
        return not self._release_once

    @override
    def close(self) -> None:
        """Releases the servable; further calls do nothing."""
        try:
            release = self._release_once.pop()
        except IndexError:
            return
        # Dropped before the release: an unload that follows must find no reference here.
        self._servable = None
        release()

    def __del__(self) -> None:
        if self.is_closed:
            return
        try:
            warnings.warn(
                f"handle of {self._servable_id} was dropped open; use it in a `with` statement",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
        finally:  # a warning may be an error here
            self.close()

    def __repr__(self) -> str:
        return f"ServableHandle({self._servable_id}, {'closed' if self.is_closed else 'open'})"
