"""Remembers the state of every servable that a manager has told of, and waits for states."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from typing_extensions import override

from servable_core.errors import (
    AbortedError,
    CancelledError,
    DeadlineExceededError,
    InvalidArgumentError,
)
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_request import AutoVersionPolicy, ServableRequest
from servable_core.lifecycle.servable_state import ManagerState, ServableState
from servable_core.managers.predicate_wait import wait_for
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.closeable import Closeable
from servable_core.runtime.event_bus import EventAndTime, EventBus

_States = Mapping[ServableId, ServableState]


@dataclass(frozen=True, slots=True)
class StatesReached:
    """How a wait for states ended.

    Attributes:
        states: For each request, the state that decided it.
        goal: What was waited for.
    """

    states: Mapping[ServableRequest, ServableState]
    goal: ManagerState

    @property
    def is_reached(self) -> bool:
        """Whether every servable got to the goal, rather than to its end."""
        return self.goal is ManagerState.END or not self.ended

    @property
    def ended(self) -> dict[ServableRequest, ServableState]:
        """The requests whose servable has ended, in error or not."""
        return {r: s for r, s in self.states.items() if s.manager_state is ManagerState.END}


@dataclass(frozen=True, slots=True, eq=False)
class _Wait:
    requests: tuple[ServableRequest, ...]
    goal: ManagerState
    future: "Future[StatesReached]"


class ServableStateMonitor(Closeable):
    """Subscribes to a bus; thread-safe. Make it before the manager publishes.

    A wait for a state ends as soon as the servable is at it or past it, whether that was before
    the wait began or comes later; so it never hangs on a version that has already failed. For a
    request without a version any version of the servable will do; it fails when all of them have
    ended, at least one of them in error. Versions that ended as they should, or whose load was
    cancelled, do not count then: the next one may be on its way.

    Args:
        event_bus: Where a manager publishes.
        max_history: How many of the newest events `history` keeps; 0 keeps none.
        max_num_ended: How many ended servables are remembered, 1 or more; of more, those that
            ended first are forgotten.
        clock: Times waits.
    """

    def __init__(
        self,
        event_bus: EventBus[ServableState],
        *,
        max_history: int = 0,
        max_num_ended: int = 1000,
        clock: Clock | None = None,
    ) -> None:
        if max_num_ended < 1:
            raise InvalidArgumentError(f"max_num_ended must be 1 or more, got {max_num_ended}")
        self._max_num_ended = max_num_ended
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        # Guarded by _lock.
        self._newest: dict[ServableId, EventAndTime[ServableState]] = {}
        self._ended: dict[ServableId, None] = {}  # in the order of their ends
        self._history: deque[EventAndTime[ServableState]] = deque(maxlen=max_history)
        self._waits: list[_Wait] = []
        self._subscription = event_bus.subscribe(self._on_event)

    def state(self, servable_id: ServableId) -> ServableState | None:
        """Returns the newest state of a servable; None if nobody has told of it."""
        stamped = self.state_and_time(servable_id)
        return stamped.event if stamped is not None else None

    def state_and_time(self, servable_id: ServableId) -> EventAndTime[ServableState] | None:
        """Returns the newest state of a servable, and since when."""
        with self._lock:
            return self._newest.get(servable_id)

    def version_states(self, servable_name: str) -> dict[int, ServableState]:
        """Returns the newest state of each version of a servable, highest version first."""
        states = self.states()
        versions = sorted((i for i in states if i.name == servable_name), reverse=True)
        return {servable_id.version: states[servable_id] for servable_id in versions}

    def states(self, *, is_live_only: bool = False) -> dict[ServableId, ServableState]:
        """Returns the newest state of every servable, or of those that have not ended."""
        with self._lock:
            states = self._states_locked()
        return {
            servable_id: state
            for servable_id, state in states.items()
            if not (is_live_only and state.manager_state is ManagerState.END)
        }

    def available_names(self) -> set[str]:
        """Returns the servables of which a version is available."""
        return {
            servable_id.name
            for servable_id, state in self.states().items()
            if state.manager_state is ManagerState.AVAILABLE
        }

    def history(self) -> list[EventAndTime[ServableState]]:
        """Returns the newest events, oldest first."""
        with self._lock:
            return list(self._history)

    def notify_when_reached(
        self, requests: Iterable[ServableRequest], goal: ManagerState
    ) -> "Future[StatesReached]":
        """Returns a future that is done when every request is decided; `cancel` it to forget it.

        Its callbacks run on the thread that publishes, without a lock.
        """
        wait = _Wait(tuple(requests), goal, Future())
        with self._lock:
            self._waits.append(wait)
            decided = self._take_decided_locked()
        _resolve(decided)
        return wait.future

    def wait_until_reached(
        self,
        requests: Iterable[ServableRequest],
        goal: ManagerState = ManagerState.AVAILABLE,
        *,
        timeout_secs: float | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> StatesReached:
        """Waits until every request is decided; see the class for when that is.

        Raises:
            DeadlineExceededError: After `timeout_secs`.
            AbortedError: If `is_cancelled`; call `recheck` when it has become true.
        """
        wanted = tuple(requests)
        reached: list[StatesReached] = []

        def is_decided(states: _States) -> bool:
            # Kept at once: what is decided now may begin anew before anybody looks again.
            decided = _decide(wanted, goal, states)
            reached.extend([] if decided is None else [decided])
            return decided is not None

        self.wait_until(is_decided, timeout_secs=timeout_secs, is_cancelled=is_cancelled)
        return reached[-1]

    def wait_until(
        self,
        predicate: Callable[[_States], bool],
        *,
        timeout_secs: float | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Waits until `predicate` holds of the newest states; it is called under the lock.

        Raises:
            DeadlineExceededError: After `timeout_secs`.
            AbortedError: If `is_cancelled`; call `recheck` when it has become true.
        """
        with self._lock:
            is_over = wait_for(
                lambda: is_cancelled() or predicate(self._states_locked()),
                condition=self._changed,
                clock=self._clock,
                timeout_secs=timeout_secs,
            )
            if is_cancelled():
                raise AbortedError("the wait for servables was cancelled")
            if not is_over:
                raise DeadlineExceededError(
                    f"servables have not come far enough after {timeout_secs} seconds: "
                    f"{_describe(self._states_locked())}"
                )

    def recheck(self) -> None:
        """Has all waits look at their predicates and cancellations again."""
        with self._lock:
            self._changed.notify_all()

    @override
    def close(self) -> None:
        """Ends the subscription; what is known stays."""
        self._subscription.close()

    def _on_event(self, stamped: EventAndTime[ServableState]) -> None:
        with self._lock:
            self._newest[stamped.event.servable_id] = stamped
            self._history.append(stamped)
            decided = self._take_decided_locked()
            self._bound_ended_locked(stamped.event)
            self._changed.notify_all()
        _resolve(decided)

    def _bound_ended_locked(self, state: ServableState) -> None:
        self._ended.pop(state.servable_id, None)
        if state.manager_state is not ManagerState.END:
            return
        self._ended[state.servable_id] = None
        if len(self._ended) > self._max_num_ended:
            first = next(iter(self._ended))
            del self._ended[first], self._newest[first]

    def _states_locked(self) -> dict[ServableId, ServableState]:
        return {servable_id: stamped.event for servable_id, stamped in self._newest.items()}

    def _take_decided_locked(self) -> list[tuple[_Wait, StatesReached]]:
        """Returns the waits that are over, and forgets them and those that were cancelled."""
        if not self._waits:
            return []
        states, decided, undecided = self._states_locked(), [], []
        for wait in self._waits:
            reached = _decide(wait.requests, wait.goal, states)
            if reached is not None:
                decided.append((wait, reached))
            elif not wait.future.cancelled():
                undecided.append(wait)
        self._waits = undecided
        return decided


def _decide(
    requests: Iterable[ServableRequest], goal: ManagerState, states: _States
) -> StatesReached | None:
    """Returns how a wait ended; None if it goes on."""
    decisive: dict[ServableRequest, ServableState] = {}
    for request in requests:
        state = _find_decisive(request, goal, states)
        if state is None:
            return None
        decisive[request] = state
    return StatesReached(decisive, goal)


def _find_decisive(
    request: ServableRequest, goal: ManagerState, states: _States
) -> ServableState | None:
    if request.version is not None:
        state = states.get(ServableId(request.name, request.version))
        is_decided = state is not None and state.manager_state.value >= goal.value
        return state if is_decided else None
    versions = [states[i] for i in sorted(states) if i.name == request.name]
    if request.auto_version_policy is AutoVersionPolicy.LATEST:
        versions.reverse()
    for state in versions:
        has_ended = state.manager_state is ManagerState.END
        if state.manager_state.value >= goal.value and (goal is ManagerState.END or not has_ended):
            return state
    if any(state.manager_state is not ManagerState.END for state in versions):
        return None
    return next((state for state in versions if _has_failed(state)), None)


def _has_failed(state: ServableState) -> bool:
    return state.error is not None and not isinstance(state.error, CancelledError)


def _resolve(decided: Iterable[tuple[_Wait, StatesReached]]) -> None:
    for wait, reached in decided:
        if wait.future.set_running_or_notify_cancel():
            wait.future.set_result(reached)


def _describe(states: _States) -> str:
    parts = (f"{i} ({state.manager_state.name})" for i, state in sorted(states.items()))
    return ", ".join(parts) or "none is known"
