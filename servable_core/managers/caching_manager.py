"""Loads servables when they are first asked for, and keeps the most recently used.

For many small models of which few are in use at a time. For a known set of models use
`AspiredVersionsManager`, whose requests never wait for a load.
"""

import contextlib
import dataclasses
import itertools
import sys
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from typing_extensions import override

from servable_core.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from servable_core.lifecycle.loader import Loader
from servable_core.lifecycle.servable_data import ServableData
from servable_core.lifecycle.servable_handle import ServableHandle
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_request import AutoVersionPolicy, ServableRequest
from servable_core.lifecycle.servable_state import ServableState
from servable_core.managers.basic_manager import BasicManager
from servable_core.managers.basic_manager_options import BasicManagerOptions
from servable_core.managers.loader_harness import LoaderHarness, as_exception, check_loader
from servable_core.managers.manager import Manager
from servable_core.managers.manager_statistics import ManagerStatistics
from servable_core.managers.remembered_failures import RememberedFailures
from servable_core.resources.resource_allocation import ResourceAllocation
from servable_core.resources.resource_tracker import InsufficientResourcesError, ResourceTracker
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.closeable import Closeable
from servable_core.runtime.event_bus import EventBus
from servable_core.runtime.retry import RetryOptions

T = TypeVar("T")


class _NoRoomError(ResourceExhaustedError):
    """Everything else is in use; it passes with the next handle that is closed."""


class LoaderFactory(Protocol):
    """Knows which servables there are. Implementations are thread-safe."""

    def create_loader(self, servable_id: ServableId) -> ServableData[Loader[Any]]:
        """Returns the loader of a version, or why there is none; cheap, does not load."""

    def resolve_version(self, servable_name: str, policy: AutoVersionPolicy) -> int:
        """Returns the version that a request without one means; asked at each such request.

        Raises:
            NotFoundError: If there is no such servable.
        """


def _forget_after_a_second() -> RetryOptions:
    return RetryOptions(
        max_num_retries=sys.maxsize, initial_backoff_secs=1.0, max_backoff_secs=60.0
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class CachingManagerOptions(BasicManagerOptions):
    """How a `CachingManager` works; with 0 load threads the caller's thread may load.

    Attributes:
        max_num_servables: How many may be loaded or loading at a time; None sets no limit.
            `total_resources` limits what they need, also together with this.
        failure_backoff: For how long a failed load is answered with its error, before the next
            request tries again.
    """

    max_num_servables: int | None = None
    failure_backoff: RetryOptions = field(default_factory=_forget_after_a_second)

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is a class of its own.
        BasicManagerOptions.__post_init__(self)
        if self.max_num_servables is not None and self.max_num_servables < 1:
            raise InvalidArgumentError(
                f"max_num_servables must be 1 or more, got {self.max_num_servables}"
            )


class CachingManager(Manager, Closeable):
    """Loads on demand within a capacity; thread-safe.

    - Concurrent requests for one servable load it once, and all get it. Different servables load
      side by side. A request for what is loaded takes no lock.
    - To make room, servables without open handles go, the least recently used first. Where all
      are in use the request fails (ResourceExhaustedError) rather than wait for handles that its
      own caller may hold. What could never fit fails before anything goes; so that this is known,
      its loader is asked for its estimate twice.
    - A failed load is remembered for a while that grows with each failure, then forgotten; want
      of room that the next closed handle may end is not.

    Args:
        loader_factory: Knows which servables there are.
        options: See `CachingManagerOptions`.
        event_bus: Told of every state; UNLOADING comes right after a servable is unobtainable.
        clock: Times back-off.
    """

    def __init__(
        self,
        loader_factory: LoaderFactory,
        *,
        options: CachingManagerOptions | None = None,
        event_bus: EventBus[ServableState] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._options = options = options or CachingManagerOptions()
        self._loader_factory = loader_factory
        self._max_num_servables = options.max_num_servables
        self._clock = clock or SystemClock()
        self._basic = BasicManager(
            options=dataclasses.replace(options), event_bus=event_bus, clock=self._clock
        )
        self._uses = itertools.count()
        # When each servable was last used. Written without a lock; only a hint.
        self._last_uses: dict[ServableId, int] = {}
        # Taken before any lock of the basic manager, never after.
        self._lock = threading.Lock()
        # Loads under way, for all who wait for them. Guarded by _lock.
        self._loads: dict[ServableId, Future[None]] = {}
        # What is loaded or loading, and takes up room. Guarded by _lock.
        self._residents: set[ServableId] = set()
        # Unloads under way. Guarded by _lock.
        self._evictions: dict[ServableId, Future[None]] = {}
        # How many requests wait for a servable, which must not be evicted. Guarded by _lock.
        self._num_waiting: dict[ServableId, int] = {}
        # Guarded by _lock.
        self._failures = RememberedFailures(options.failure_backoff, self._clock)

    @override
    def get_servable_handle(
        self, request: ServableRequest, servable_type: type[T]
    ) -> ServableHandle[T]:
        """Returns a handle of the servable asked for; loads it first if need be.

        Raises:
            NotFoundError: If the factory does not know it.
            InvalidArgumentError: If it is not a `servable_type`.
            ResourceExhaustedError: If there is no room and nothing idle to make room, or if it
                could never fit.
            Exception: The error of its load, also of one that failed a moment ago.
        """
        if request.version is None:
            version = self._loader_factory.resolve_version(
                request.name, request.auto_version_policy
            )
            request = ServableRequest.specific(request.name, version)
        handle = None
        with contextlib.suppress(NotFoundError):
            handle = self._basic.get_servable_handle(request, servable_type)
        if handle is None:  # not inside `except`: errors of the load have nothing to do with it
            handle = self._load_and_get(request, servable_type)
        self._last_uses[handle.servable_id] = next(self._uses)
        return handle

    @override
    def get_available_servable_handles(
        self, servable_type: type[T]
    ) -> dict[ServableId, ServableHandle[T]]:
        """Returns a handle of each loaded `servable_type`, and loads nothing; close them all."""
        return self._basic.get_available_servable_handles(servable_type)

    @override
    def list_available_servable_ids(self) -> list[ServableId]:
        return self._basic.list_available_servable_ids()

    def states(self, servable_name: str | None = None) -> list[ServableState]:
        """Returns the state of everything loaded or on its way, or of one servable's versions."""
        return self._basic.states(servable_name)

    def statistics(self) -> ManagerStatistics:
        """Returns how busy the manager is."""
        return self._basic.statistics()

    def step(self) -> bool:
        """Performs every action that is possible now; needed only without a manage thread."""
        return self._basic.step()

    @override
    def close(self) -> None:
        """Unloads everything; see `BasicManager.close`."""
        self._basic.close()

    def _load_and_get(self, request: ServableRequest, servable_type: type[T]) -> ServableHandle[T]:
        servable_id = ServableId(request.name, cast(int, request.version))
        with self._lock:
            self._num_waiting[servable_id] = self._num_waiting.get(servable_id, 0) + 1
        try:
            self._ensure_loaded(servable_id)
            return self._basic.get_servable_handle(request, servable_type)
        finally:
            with self._lock:
                self._num_waiting[servable_id] -= 1
                if not self._num_waiting[servable_id]:
                    del self._num_waiting[servable_id]

    def _ensure_loaded(self, servable_id: ServableId) -> None:
        """Returns when the servable is there; one of several callers loads it."""
        with self._lock:
            load = self._loads.get(servable_id)
            is_leader = load is None and servable_id not in self._residents
            if load is None and is_leader:
                self._failures.check(servable_id)
                load = self._loads[servable_id] = Future()
        if load is None:
            return  # it came between the look-up and the lock
        if is_leader:
            self._lead_load(servable_id, load)
        load.result()

    def _lead_load(self, servable_id: ServableId, load: "Future[None]") -> None:
        try:
            self._load(servable_id)
        except KeyboardInterrupt as interruption:
            self._end_load(servable_id, interruption)
            load.set_exception(interruption)
        except BaseException as error:  # noqa: BLE001 - the future carries it to all who wait
            shown = as_exception(error, servable_id)
            self._end_load(servable_id, shown)
            load.set_exception(shown)
        else:
            self._end_load(servable_id, None)
            load.set_result(None)

    def _end_load(self, servable_id: ServableId, error: BaseException | None) -> None:
        with self._lock:
            del self._loads[servable_id]
            if error is None:
                self._failures.forget(servable_id)
                return
            self._residents.discard(servable_id)
            if isinstance(error, Exception) and not isinstance(error, _NoRoomError):
                self._failures.remember(servable_id, error)

    def _load(self, servable_id: ServableId) -> None:
        data = self._create_loader(servable_id)
        self._check_could_fit(data)
        self._await_eviction(servable_id)
        self._take_room(servable_id)
        while not self._try_load(data):
            if not self._evict_one():
                raise _NoRoomError(
                    f"no room for {servable_id}: everything else is in use; close handles, or "
                    "give the manager more resources"
                )

    def _create_loader(self, servable_id: ServableId) -> ServableData[Loader[Any]]:
        data = self._loader_factory.create_loader(servable_id)
        if data.servable_id != servable_id:
            raise InvalidArgumentError(
                f"the loader factory was asked for {servable_id} and answered with "
                f"{data.servable_id}: create_loader must answer with the id it is given"
            )
        data.unwrap()
        check_loader(data)
        return data

    def _check_could_fit(self, data: ServableData[Loader[Any]]) -> None:
        """Refuses what would not fit even alone, before anything is evicted for it.

        Raises:
            ResourceExhaustedError: If it is larger than the capacity.
        """
        total = self._options.total_resources
        if total is None:
            return
        estimate = self._estimate(data)
        if not ResourceTracker(total).could_ever_reserve(estimate):
            raise ResourceExhaustedError(
                f"{data.servable_id} can never be loaded: it needs {estimate}, and the capacity "
                f"is {total}; give the manager more resources"
            )

    def _estimate(self, data: ServableData[Loader[Any]]) -> ResourceAllocation:
        """Returns the loader's estimate, after as many attempts as those of a load."""
        harness = LoaderHarness(
            data,
            retry_options=self._options.load_retry,
            should_retry=self._options.should_retry_load,
            clock=self._clock,
        )
        with harness.failing_load():
            return harness.estimate_resources()

    def _try_load(self, data: ServableData[Loader[Any]]) -> bool:
        """Returns whether it was loaded; if not, for want of resources."""
        self._basic.manage_servable(data)
        load = self._basic.load_servable(data.servable_id)
        try:
            self._basic.step()
            load.result()
        except InsufficientResourcesError:
            self._forget(data.servable_id)
            return False
        except BaseException:
            # At once where it has failed, later where this thread was interrupted in its wait.
            self._basic.cancel_load(data.servable_id)
            load.add_done_callback(lambda _load: self._forget(data.servable_id))
            raise
        return True

    def _take_room(self, servable_id: ServableId) -> None:
        """Makes the servable a resident, in the place of another one if there are enough."""
        while True:
            with self._lock:
                if (
                    self._max_num_servables is None
                    or len(self._residents) < self._max_num_servables
                ):
                    self._residents.add(servable_id)
                    return
            if not self._evict_one():
                raise _NoRoomError(
                    f"no room for {servable_id}: all {self._max_num_servables} servables are in use"
                )

    def _evict_one(self) -> bool:
        """Begins to unload the least recently used idle servable; returns whether there was one."""
        with self._lock:
            victim = self._choose_victim_locked()
        if victim is None:
            return False
        servable_id, unload, gone = victim
        unload.add_done_callback(partial(self._end_eviction, servable_id, gone))
        self._basic.step()
        return True

    def _choose_victim_locked(self) -> "tuple[ServableId, Future[None], Future[None]] | None":
        for servable_id in sorted(self._residents, key=lambda i: self._last_uses.get(i, -1)):
            if servable_id in self._loads or servable_id in self._num_waiting:
                continue
            unload = self._basic.unload_if_idle(servable_id)
            if unload is not None:
                self._residents.discard(servable_id)
                self._last_uses.pop(servable_id, None)
                gone = self._evictions[servable_id] = Future()
                return servable_id, unload, gone
        return None

    def _end_eviction(
        self, servable_id: ServableId, gone: "Future[None]", _unload: "Future[None]"
    ) -> None:
        self._forget(servable_id)
        with self._lock:
            del self._evictions[servable_id]
        gone.set_result(None)

    def _forget(self, servable_id: ServableId) -> None:
        # A closing manager forgets by itself, and what was loaded in spite of all stays.
        with contextlib.suppress(NotFoundError, FailedPreconditionError):
            self._basic.stop_managing_servable(servable_id)

    def _await_eviction(self, servable_id: ServableId) -> None:
        """Waits until the former incarnation, which nobody uses, is gone."""
        with self._lock:
            eviction = self._evictions.get(servable_id)
        if eviction is not None:
            eviction.result()
