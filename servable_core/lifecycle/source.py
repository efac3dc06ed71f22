"""Where aspired versions come from and where they go; `connect` joins the two."""

import threading
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from typing_extensions import override

from servable_core.lifecycle.servable_data import ServableData
from servable_core.runtime.closeable import Closeable

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class Target(Protocol[T_contra]):
    """Takes aspired versions. Implementations are thread-safe."""

    def set_aspired_versions(
        self, servable_name: str, versions: Sequence[ServableData[T_contra]]
    ) -> None:
        """Replaces all that is wanted of one servable.

        Args:
            servable_name: The stream; other streams are not touched.
            versions: The full list: a version left out is to be unloaded, an empty list
                unloads them all. Every id carries `servable_name`, no version comes twice.
        """


class Source(Protocol[T_co]):
    """Decides which versions are aspired."""

    def set_target(self, target: Target[T_co]) -> None:
        """Starts telling `target`; called at most once, before anything is emitted."""


class Connection(Target[T], Closeable, Generic[T]):
    """The joint between a source and a target, made by `connect`; thread-safe.

    Calls pass until `close`; later ones are dropped. When `close` returns, no call is inside
    the target any more and none will follow. Do not close it from inside such a call.
    """

    def __init__(self, target: Target[T]) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._is_closed = False  # Guarded by _lock.
        self._num_calls_inside = 0  # Guarded by _lock.

    @override
    def set_aspired_versions(self, servable_name: str, versions: Sequence[ServableData[T]]) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._num_calls_inside += 1
        try:
            self._target.set_aspired_versions(servable_name, versions)
        finally:
            with self._lock:
                self._num_calls_inside -= 1
                self._idle.notify_all()

    @override
    def close(self) -> None:
        """Detaches the target; further calls do nothing."""
        with self._lock:
            self._is_closed = True
            while self._num_calls_inside:
                self._idle.wait()


def connect(source: Source[T], target: Target[T]) -> Connection[T]:
    """Lets `source` tell `target` until the returned connection is closed.

    Connect a chain from its end: the last target first, the first source last.
    """
    connection = Connection(target)
    source.set_target(connection)
    return connection
