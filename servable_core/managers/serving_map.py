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
        """Retires it if no handle is open; returns whether it is retired and idle.

        Callers of `acquire` may be refused for a moment also where it is not. Not to be called
        at the same time as itself or `retire`.
        """
        if self._is_retired:
            return self.is_drained
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
    """What is available at one moment; never changed. Indexed so that nothing slow is hashed.

    The next one shares all but what has changed: of many servables only pointers are copied.
    """

    __slots__ = ("_by_name", "_specific", "by_id")

    def __init__(
        self,
        by_id: Mapping[ServableId, ServedServable[Any]],
        specific: Mapping[tuple[str, int], ServedServable[Any]],
        by_name: Mapping[str, tuple[ServedServable[Any], ...]],
    ) -> None:
        self.by_id = by_id
        self._specific = specific
        self._by_name = by_name  # versions ascending, one at least

    def with_added(self, served: ServedServable[Any]) -> "_Snapshot":
        """Returns the snapshot with `served` in the place of what had its id."""
        servable_id = served.servable_id
        key = (servable_id.name, servable_id.version)
        versions = (*self._others(served), served)
        return _Snapshot(
            {**self.by_id, servable_id: served},
            {**self._specific, key: served},
            {**self._by_name, servable_id.name: tuple(sorted(versions, key=_version))},
        )

    def without(self, served: ServedServable[Any]) -> "_Snapshot":
        """Returns the snapshot without what has the id of `served`."""
        servable_id = served.servable_id
        by_id, specific, by_name = dict(self.by_id), dict(self._specific), dict(self._by_name)
        del by_id[servable_id], specific[servable_id.name, servable_id.version]
        by_name[servable_id.name] = self._others(served)
        if not by_name[servable_id.name]:
            del by_name[servable_id.name]
        return _Snapshot(by_id, specific, by_name)

    def find(self, request: ServableRequest) -> ServedServable[Any] | None:
        """Returns what answers `request`."""
        if request.version is not None:
            return self._specific.get((request.name, request.version))
        versions = self._by_name.get(request.name)
        if versions is None:
            return None
        return versions[-1 if request.auto_version_policy is AutoVersionPolicy.LATEST else 0]

    def _others(self, served: ServedServable[Any]) -> tuple[ServedServable[Any], ...]:
        servable_id = served.servable_id
        versions = self._by_name.get(servable_id.name, ())
        return tuple(other for other in versions if other.servable_id != servable_id)


def _version(served: ServedServable[Any]) -> int:
    return served.servable_id.version


class ServingMap:
    """The available servables; thread-safe, and look-ups take no lock.

    Readers see an immutable snapshot that writers replace as a whole, so nobody ever goes back
    in time or sees half a change.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Written under _lock, read without; never changed in place.
        self._snapshot = _Snapshot({}, {}, {})

    def add(self, served: ServedServable[Any]) -> None:
        """Makes `served` obtainable."""
        with self._lock:
            self._snapshot = self._snapshot.with_added(served)

    def remove(self, served: ServedServable[Any]) -> None:
        """Makes `served` unobtainable and retires it; open handles stay valid. May be repeated."""
        with self._lock:
            self._forget_locked(served)
            # After the swap: whoever is refused by it finds a newer snapshot.
            served.retire()

    def remove_if_idle(self, served: ServedServable[Any]) -> bool:
        """Removes `served` if no handle of it is open; returns whether it is removed and idle."""
        with self._lock:
            if not served.retire_if_idle():
                return False
            self._forget_locked(served)  # look-ups refused meanwhile try again until then
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
        """Returns a handle of each available servable that is a `servable_type`.

        What is available throughout the call is never missing.
        """
        handles: dict[ServableId, ServableHandle[T]] = {}
        for served in self._snapshot.by_id.values():
            if isinstance(served.servable, servable_type):
                handle = self._acquire(served)
                if handle is not None:
                    handles[served.servable_id] = handle
        return handles

    def list_ids(self) -> list[ServableId]:
        """Returns the ids of all available servables, sorted."""
        return sorted(self._snapshot.by_id)

    def _acquire(self, served: ServedServable[T]) -> ServableHandle[T] | None:
        """Returns a handle; None once removed, for a refusal before that lasts only a moment."""
        while self._snapshot.by_id.get(served.servable_id) is served:
            handle = served.acquire()
            if handle is not None:
                return handle
        return None

    def _forget_locked(self, served: ServedServable[Any]) -> None:
        if self._snapshot.by_id.get(served.servable_id) is served:
            self._snapshot = self._snapshot.without(served)
