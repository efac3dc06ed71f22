"""Finds available servables without locks and counts the handles of each."""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.lifecycle.servable_handle import ServableHandle
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_request import AutoVersionPolicy, ServableRequest

T = TypeVar("T")


class ServedServable(Generic[T]):
    """One available servable and its open handles; thread-safe.

    Takes no lock at all: a handle may be released by the garbage collector on a thread that is
    in the middle of any of these methods.

    Args:
        servable_id: Which servable.
        servable: What handles give access to.
        on_drained: Called when a handle is gone after `retire`, on the thread that dropped it,
            perhaps more often than once; neither blocks nor takes a lock.
    """

    __slots__ = ("_is_retired", "_on_drained", "_open_handles", "servable", "servable_id")

    def __init__(
        self, servable_id: ServableId, servable: T, on_drained: Callable[[], None]
    ) -> None:
        self.servable_id = servable_id
        self.servable = servable
        self._on_drained = on_drained
        # One entry per open handle: appending and popping are atomic, counting up is not.
        self._open_handles: list[None] = []
        self._is_retired = False

    @property
    def num_open_handles(self) -> int:
        """Handles that are open at this moment."""
        return len(self._open_handles)

    def retire_if_idle(self) -> bool:
        """Retires it if no handle is open; returns whether it did.

        Callers of `acquire` may be refused for a moment also where it does not.
        """
        self._is_retired = True
        if self._open_handles:
            self._is_retired = False
            return False
        return True

    def acquire(self) -> ServableHandle[T] | None:
        """Returns a new handle; None once retired."""
        # First announced, then checked; `retire` sets, then `is_drained` looks. So either this
        # call sees the retirement, or `is_drained` sees the entry.
        self._open_handles.append(None)
        if self._is_retired:
            self._release()
            return None
        return ServableHandle(self.servable_id, self.servable, self._release)

    def retire(self) -> None:
        """Gives out no handles from now on."""
        self._is_retired = True

    @property
    def is_drained(self) -> bool:
        """Whether it is retired and no handle is left; stays true then."""
        return self._is_retired and not self._open_handles

    def _release(self) -> None:
        self._open_handles.pop()
        if self._is_retired:
            self._on_drained()


class _Snapshot:
    """What is available at one moment; never changed. Indexed so that nothing slow is hashed."""

    __slots__ = ("_earliest", "_latest", "_specific", "by_id")

    def __init__(self, by_id: Mapping[ServableId, ServedServable[Any]]) -> None:
        self.by_id = dict(by_id)
        self._specific = {(i.name, i.version): served for i, served in by_id.items()}
        in_order = sorted(by_id)
        self._latest = {i.name: by_id[i] for i in in_order}  # the last one is the highest
        self._earliest = {i.name: by_id[i] for i in reversed(in_order)}

    def find(self, request: ServableRequest) -> ServedServable[Any] | None:
        """Returns what answers `request`."""
        if request.version is not None:
            return self._specific.get((request.name, request.version))
        if request.auto_version_policy is AutoVersionPolicy.LATEST:
            return self._latest.get(request.name)
        return self._earliest.get(request.name)


class ServingMap:
    """The available servables; thread-safe, and look-ups take no lock.

    Readers see an immutable snapshot that writers replace as a whole, so nobody ever goes back
    in time or sees half a change.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._served: dict[ServableId, ServedServable[Any]] = {}  # Guarded by _lock.
        # Written under _lock, read without; never changed in place.
        self._snapshot = _Snapshot({})

    def add(self, served: ServedServable[Any]) -> None:
        """Makes `served` obtainable."""
        with self._lock:
            self._served[served.servable_id] = served
            self._snapshot = _Snapshot(self._served)

    def remove(self, served: ServedServable[Any]) -> None:
        """Makes `served` unobtainable and retires it; open handles stay valid. May be repeated."""
        with self._lock:
            if self._served.get(served.servable_id) is served:
                del self._served[served.servable_id]
                self._snapshot = _Snapshot(self._served)
        # After the swap: whoever is refused by it finds a newer snapshot.
        served.retire()

    def remove_if_idle(self, served: ServedServable[Any]) -> bool:
        """Removes `served` if no handle of it is open; returns whether it did."""
        if not served.retire_if_idle():
            return False
        self.remove(served)  # look-ups that were refused meanwhile try again until then
        return True

    def get(self, request: ServableRequest, servable_type: type[T]) -> ServableHandle[T]:
        """Returns a handle of the servable asked for.

        Raises:
            NotFoundError: If no such servable is available.
            InvalidArgumentError: If it is not a `servable_type`.
        """
        while (served := self._snapshot.find(request)) is not None:
            if not isinstance(served.servable, servable_type):
                raise InvalidArgumentError(
                    f"{served.servable_id} is a {type(served.servable).__name__}, "
                    f"not the {servable_type.__name__} that was asked for"
                )
            handle = served.acquire()
            if handle is not None:
                return handle
        raise NotFoundError(
            f"servable not found for {request}; available: "
            f"{', '.join(map(str, self.list_ids())) or 'none'}"
        )

    def get_all(self, servable_type: type[T]) -> dict[ServableId, ServableHandle[T]]:
        """Returns a handle of each available servable that is a `servable_type`."""
        handles: dict[ServableId, ServableHandle[T]] = {}
        for served in self._snapshot.by_id.values():
            if isinstance(served.servable, servable_type):
                handle = served.acquire()
                if handle is not None:
                    handles[served.servable_id] = handle
        return handles

    def list_ids(self) -> list[ServableId]:
        """Returns the ids of all available servables, sorted."""
        return sorted(self._snapshot.by_id)
