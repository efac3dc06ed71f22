"""Carries out what a manager has decided: estimates, loads, unloads, and tells about it."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from servable_core.errors import CancelledError
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_state import ManagerState, ServableState
from servable_core.managers.basic_manager_options import BasicManagerOptions
from servable_core.managers.load_gate import LoadGate
from servable_core.managers.managed_servable import ManagedServable
from servable_core.managers.serving_map import ServedServable, ServingMap
from servable_core.resources.resource_allocation import EMPTY, ResourceAllocation
from servable_core.runtime.event_bus import EventBus

_logger = logging.getLogger(__name__)


class ServableExecution:
    """The slow half of a `BasicManager`; thread-safe.

    Each method runs on the thread that carries it out, once per servable and in the order of a
    servable's life. Loaders, hooks and subscribers are called without the lock; what others may
    act upon is written under it, after it was told.

    Args:
        options: Of the manager.
        event_bus: Told of every state.
        serving_map: Where servables are obtainable.
        gate: Entered with an estimate; None where there is no limit. Guarded by `lock`.
        lock: The manager's.
        on_change: Called with a servable after each change of its state, without the lock.
        wake: Called when the manager may have something to do.
    """

    def __init__(
        self,
        *,
        options: BasicManagerOptions,
        event_bus: EventBus[ServableState],
        serving_map: ServingMap,
        gate: LoadGate | None,
        lock: threading.Lock,
        on_change: Callable[[ServableId], None],
        wake: Callable[[], None],
    ) -> None:
        self._options = options
        self._event_bus = event_bus
        self._serving_map = serving_map
        self._gate = gate
        self._lock = lock
        self._on_change = on_change
        self._wake = wake

    def announce(self, managed: ManagedServable) -> None:
        """Tells that a servable is managed, or that it has ended where there is only an error."""
        if managed.harness.error is not None:
            self._end(managed)
            return
        self._publish(managed, ManagerState.START)
        with self._lock:
            managed.is_announced = True

    def estimate(self, managed: ManagedServable) -> None:
        """Has a load queue up at the gate, or fail where nobody knows what it needs."""
        try:
            with managed.harness.failing_load():
                estimate = managed.harness.estimate_resources()
        except BaseException as error:  # noqa: BLE001 - logged, and the future carries it
            self._end_failed_load(managed, error)
            return
        with self._lock:
            if self._gate is not None:
                self._gate.enter(managed, estimate)
        self._wake()

    def load(self, managed: ManagedServable) -> None:
        """Loads and makes obtainable, or ends in error; an approved load, cancelled or not."""
        try:
            servable = self._load_through_harness(managed)
        except BaseException as error:  # noqa: BLE001 - logged, and the future carries it
            self._end_failed_load(managed, error)
        else:
            self._make_available(managed, servable)

    def _end_failed_load(self, managed: ManagedServable, error: BaseException) -> None:
        if isinstance(error, CancelledError):
            _logger.info("loading of %s was cancelled", managed.servable_id)
        else:
            _logger.warning(
                "%s could not be loaded: %s", managed.servable_id, error, exc_info=error
            )
        self.end_load(managed, error)

    def _load_through_harness(self, managed: ManagedServable) -> Any:
        if not managed.harness.is_cancelled:
            self._publish(managed, ManagerState.LOADING)
            with managed.harness.failing_load():
                self._options.pre_load_hook(managed.servable_id)
        return managed.harness.load()

    def _make_available(self, managed: ManagedServable, servable: Any) -> None:
        resources = self._estimate_loaded(managed)
        served = ServedServable(managed.servable_id, servable, self._wake)
        self._serving_map.add(served)
        self._publish(managed, ManagerState.AVAILABLE)
        with self._lock:
            managed.served = served
            managed.resources = resources
        managed.loading.set_result(None)
        self._tell_change(managed)

    def _estimate_loaded(self, managed: ManagedServable) -> ResourceAllocation:
        """Returns what a loaded servable needs: its estimate may have shrunk, but never grows."""
        if self._gate is None:
            return EMPTY
        try:
            estimate = managed.harness.estimate_resources()
            has_grown = not self._gate.is_within(estimate, managed.resources)
        except BaseException:  # it is loaded, and must not stay so unobtainable
            _logger.exception("nobody knows what %s needs now", managed.servable_id)
            return managed.resources
        return managed.resources if has_grown else estimate

    def end_load(self, managed: ManagedServable, error: BaseException) -> None:
        """Tells that a load has failed; the harness knows it already."""
        self._end(managed)
        managed.loading.set_exception(_as_told(managed, error))

    def quiesce(self, managed: ManagedServable) -> None:
        """Tells that a servable is going, then makes it unobtainable."""
        self._publish(managed, ManagerState.UNLOADING)
        with self._lock:
            if managed.served is not None:
                self._serving_map.remove(managed.served)
            managed.harness.start_quiescing()

    def unload(self, managed: ManagedServable) -> None:
        """Unloads a servable whose last handle is gone."""
        try:
            managed.harness.unload()
        except BaseException as error:
            _logger.warning("%s was not unloaded cleanly", managed.servable_id, exc_info=True)
            self._end(managed)
            managed.unloading.set_exception(_as_told(managed, error))
        else:
            self._end(managed)
            managed.unloading.set_result(None)

    def _end(self, managed: ManagedServable) -> None:
        self._publish(managed, ManagerState.END)
        with self._lock:
            managed.is_announced = managed.is_end_announced = True
        self._tell_change(managed)

    def _tell_change(self, managed: ManagedServable) -> None:
        self._on_change(managed.servable_id)
        self._wake()

    def _publish(self, managed: ManagedServable, manager_state: ManagerState) -> None:
        try:
            self._event_bus.publish(managed.state_with(manager_state))
        except BaseException:  # whatever a subscriber does, the servable goes on
            _logger.exception("a subscriber failed on %s of %s", manager_state, managed.servable_id)


def _as_told(managed: ManagedServable, error: BaseException) -> BaseException:
    """Returns what the waiting caller gets: no loader ends its thread, but an interruption may."""
    if isinstance(error, KeyboardInterrupt):
        return error
    return managed.harness.error or error
