"""Loads and unloads the servables it is told to; decides nothing about versions.

The one implementation of loads, unloads and the resource gate: managers with a policy of their
own (`AspiredVersionsManager`, `CachingManager`) sit on it. Requests only note what is wanted,
under a lock and without delay. `step` decides, again under the lock, and then acts outside it:
on executors, or inline. A thread steps whenever something has happened; nothing polls.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from typing_extensions import override

from servable_core.errors import (
    CancelledError,
    DeadlineExceededError,
    FailedPreconditionError,
)
from servable_core.lifecycle.loader import Loader
from servable_core.lifecycle.servable_data import ServableData
from servable_core.lifecycle.servable_handle import ServableHandle
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_request import ServableRequest
from servable_core.lifecycle.servable_state import HarnessState, ServableState
from servable_core.managers.basic_manager_options import BasicManagerOptions
from servable_core.managers.load_gate import LoadGate
from servable_core.managers.loader_harness import LoaderHarness
from servable_core.managers.managed_servable import ManagedServable
from servable_core.managers.managed_servables import ManagedServables, Work, WorkKind
from servable_core.managers.manager import Manager
from servable_core.managers.manager_statistics import ManagerStatistics, summarize
from servable_core.managers.predicate_wait import wait_for
from servable_core.managers.servable_execution import ServableExecution
from servable_core.managers.serving_map import ServingMap
from servable_core.resources.resource_tracker import ResourceTracker
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.closeable import Closeable
from servable_core.runtime.event_bus import EventBus
from servable_core.runtime.resizable_executor import ResizableExecutor
from servable_core.runtime.step_thread import StepThread

T = TypeVar("T")


def _do_nothing(*_args: object) -> None:
    """Stands for a callback that nobody gave."""


class BasicManager(Manager, Closeable):
    """Manages servables one by one, as told; thread-safe.

    The order of calls for one servable: `manage_servable`, `load_servable`, then it is obtainable,
    `unload_servable`, `stop_managing_servable`. All of them return at once, run no user code, and
    may be called under a lock of the caller's.

    - Loads are admitted one after the other, in the order in which their estimates are known:
      later small ones cannot starve a large one. Loads and unloads then run side by side.
    - A load waits for resources only while another load or unload is under way; an unload counts
      from its request on. Waiting blocks no thread.
    - Events: AVAILABLE comes after the servable is obtainable, UNLOADING while it still is (but
      right after, for `unload_if_idle`), END once when nothing is left. The events of one
      servable come in order; callbacks run under no lock.
    - While a handle is open its servable is loaded; it delays no other servable. Unloads never
      run on the thread that closes a handle.

    A failed load stays in error, also for later `load_servable` calls, until it is no longer
    managed; then it may be managed anew.

    Args:
        options: See `BasicManagerOptions`.
        event_bus: Told of every state.
        on_change: Called with a servable after each change of its state, without a lock.
        on_wake: Called when `step` may have something to do; from anywhere, even the garbage
            collector, so it must neither block nor take a lock.
        clock: Times back-off and time-outs.
    """

    def __init__(
        self,
        *,
        options: BasicManagerOptions | None = None,
        event_bus: EventBus[ServableState] | None = None,
        on_change: Callable[[ServableId], None] = _do_nothing,
        on_wake: Callable[[], None] = _do_nothing,
        clock: Clock | None = None,
    ) -> None:
        self._options = options or BasicManagerOptions()
        self._on_wake = on_wake
        self._clock = clock or SystemClock()
        self._loads = ResizableExecutor(self._options.num_load_threads, "servable-load")
        self._unloads = ResizableExecutor(self._options.num_unload_threads, "servable-unload")
        self._serving_map = ServingMap()
        self._thread = StepThread(self.step, name="servable-manager", on_end=self._shut_down)
        # Taken before the locks of harnesses and of the serving map, never after.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        total = self._options.total_resources
        # Guarded by _lock.
        self._gate = LoadGate(ResourceTracker(total)) if total is not None else None
        self._servables = ManagedServables(self._gate)  # Guarded by _lock.
        self._is_closing = False  # Guarded by _lock.
        self._execution = ServableExecution(
            options=self._options,
            event_bus=event_bus or EventBus(),
            serving_map=self._serving_map,
            gate=self._gate,
            lock=self._lock,
            on_change=on_change,
            wake=self.wake,
        )
        if self._options.has_manage_thread:
            self._thread.start()

    @override
    def get_servable_handle(
        self, request: ServableRequest, servable_type: type[T]
    ) -> ServableHandle[T]:
        return self._serving_map.get(request, servable_type)

    @override
    def list_available_servable_ids(self) -> list[ServableId]:
        return self._serving_map.list_ids()

    @override
    def get_available_servable_handles(
        self, servable_type: type[T]
    ) -> dict[ServableId, ServableHandle[T]]:
        return self._serving_map.get_all(servable_type)

    def manage_servable(self, data: ServableData[Loader[Any]]) -> None:
        """Takes a servable under management; erroneous data make a servable in error.

        Raises:
            FailedPreconditionError: If it is managed already, or the manager is closed; the loader
                is not touched.
        """
        harness = LoaderHarness(
            data,
            retry_options=self._options.load_retry,
            should_retry=self._options.should_retry_load,
            clock=self._clock,
        )
        with self._lock:
            if self._is_closing:
                raise FailedPreconditionError("the manager was closed")
            self._servables.add(ManagedServable(harness))
        self.wake()

    def stop_managing_servable(self, servable_id: ServableId) -> None:
        """Forgets a servable that has not begun to load, or has ended.

        Raises:
            NotFoundError: If it is not managed.
            FailedPreconditionError: If it is anything in between.
        """
        with self._lock:
            self._servables.remove(servable_id)

    def load_servable(self, servable_id: ServableId) -> Future[None]:
        """Has a servable loaded; of several callers exactly one succeeds.

        Returns:
            Done when it is obtainable, or has the error.

        Raises:
            NotFoundError: If it is not managed.
            FailedPreconditionError: If its load was requested before.
            Exception: The error of the servable, where it has failed.
        """
        with self._lock:
            managed = self._servables.get(servable_id)
            if managed.harness.error is not None:
                raise managed.harness.error
            self._servables.request_load(managed)
        self.wake()
        return managed.loading

    def cancel_load(self, servable_id: ServableId) -> None:
        """Ends a back-off or a wait for resources at once; a running load is undone at its end.

        No effect on a servable that is obtainable, or not managed.
        """
        with self._lock:
            managed = self._servables.find(servable_id)
            if managed is None:
                return
        managed.harness.cancel_load()
        self.wake()

    def unload_servable(self, servable_id: ServableId) -> Future[None]:
        """Has a servable unloaded after its last handle; of several callers exactly one succeeds.

        Returns:
            Done when it is gone, or has the error.

        Raises:
            NotFoundError: If it is not managed.
            FailedPreconditionError: If it is not loaded, or its unload was requested before.
        """
        with self._lock:
            managed = self._servables.get(servable_id)
            self._servables.request_unload(managed)
        self.wake()
        return managed.unloading

    def unload_if_idle(self, servable_id: ServableId) -> Future[None] | None:
        """Like `unload_servable` if no handle is open, decided at one instant; else returns None."""
        with self._lock:
            managed = self._servables.find(servable_id)
            if managed is None or managed.state is not HarnessState.READY:
                return None
            if managed.served is None or not self._serving_map.remove_if_idle(managed.served):
                return None
            self._servables.request_unload(managed)
        self.wake()
        return managed.unloading

    def states(self, servable_name: str | None = None) -> list[ServableState]:
        """Returns the state of each managed servable, or of one stream's versions; sorted by id."""
        with self._lock:
            return [m.servable_state for m in self._servables.list_all(servable_name)]

    def find_state(self, servable_id: ServableId) -> ServableState | None:
        """Returns the state of one servable; None if it is not managed."""
        with self._lock:
            managed = self._servables.find(servable_id)
            return None if managed is None else managed.servable_state

    def harness_states(self, servable_name: str) -> dict[ServableId, HarnessState]:
        """Returns the step at which each managed version of a servable is, lowest version first."""
        with self._lock:
            return {m.servable_id: m.state for m in self._servables.list_all(servable_name)}

    def statistics(self) -> ManagerStatistics:
        """Returns how busy the manager is."""
        with self._lock:
            num_waiting = self._gate.num_waiting if self._gate is not None else 0
            return summarize(self._servables.list_all(), num_waiting)

    @property
    def num_load_threads(self) -> int:
        """Loads at a time; 0 loads on the thread that steps."""
        return self._loads.num_threads

    def set_num_load_threads(self, num_threads: int, *, wait: bool = True) -> None:
        """Changes how many loads run at a time; returns when those under way have ended.

        What is requested meanwhile runs on the new threads already. Without `wait` it returns at
        once, and loads under way go on beside them.

        Raises:
            InvalidArgumentError: If `num_threads` is below 0; nothing changes then.
        """
        self._loads.resize(num_threads, wait=wait)

    def step(self) -> bool:
        """Performs every action that is possible now; returns whether there was any.

        Loads and unloads without threads of their own run before it returns. May be called on
        any thread, but not under a lock that a loader or a subscriber needs.
        """
        did_anything = False
        while self._step_once():
            did_anything = True
        return did_anything

    def wake(self) -> None:
        """Has the manage thread step once more; neither blocks nor takes a lock."""
        self._thread.wake()
        self._on_wake()

    @override
    def close(self) -> None:
        """Unloads everything and returns when it is gone; further calls do nothing.

        Back-offs end. Waits for open handles and for loads under way.

        Raises:
            DeadlineExceededError: After `close_timeout_secs`. What is still held stays loaded,
                and is unloaded when its last handle goes.
        """
        timeout_secs = self._options.close_timeout_secs
        self._begin_closing()
        with self._lock:
            if not wait_for(
                lambda: self._servables.is_empty,
                condition=self._changed,
                clock=self._clock,
                timeout_secs=timeout_secs,
            ):
                raise DeadlineExceededError(
                    f"handles or loads still open after {timeout_secs} seconds: "
                    + ", ".join(
                        f"{m.servable_id} ({m.state.value})" for m in self._servables.list_all()
                    )
                )
        self._thread.join()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.statistics()})"

    def _begin_closing(self) -> None:
        with self._lock:
            self._is_closing = True
            harnesses = [managed.harness for managed in self._servables.list_all()]
        for harness in harnesses:
            harness.cancel_load()
        self._thread.start()  # someone has to step while `close` waits
        self.wake()

    def _shut_down(self) -> None:
        self._loads.shutdown()
        self._unloads.shutdown()

    def _step_once(self) -> bool:
        with self._lock:
            if self._is_closing:
                self._wind_up_locked()
            all_work = self._servables.take_work()
        for work in all_work:
            self._do(work)
        return bool(all_work)

    def _wind_up_locked(self) -> None:
        self._servables.wind_up()
        if self._servables.is_empty:
            self._changed.notify_all()
            self._thread.stop()

    def _do(self, work: Work) -> None:
        execution, managed = self._execution, work.managed
        match work.kind:
            case WorkKind.ANNOUNCE:
                execution.announce(managed)
            case WorkKind.QUIESCE:
                execution.quiesce(managed)
            case WorkKind.UNLOAD:
                self._unloads.submit(execution.unload, managed)
            case WorkKind.REFUSE:
                execution.end_load(managed, work.refusal or CancelledError("refused"))
            case WorkKind.ESTIMATE:
                self._loads.submit(execution.estimate, managed)
            case WorkKind.LOAD if managed.harness.is_cancelled:
                execution.load(managed)  # it ends before it begins, and needs no thread for that
            case WorkKind.LOAD:
                self._loads.submit(execution.load, managed)
