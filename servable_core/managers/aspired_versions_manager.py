"""Loads and unloads servables until what is available is what its sources aspire to.

The source decides what, the policy in which order, the manager when; a `BasicManager` does it.
All decisions are taken in `step`, under a lock and without delay; loads and unloads run outside
it. A thread calls `step` whenever something has happened; nothing polls.
"""

import dataclasses
import itertools
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from typing_extensions import override

from servable_core.errors import AbortedError, DeadlineExceededError
from servable_core.lifecycle.loader import Loader
from servable_core.lifecycle.servable_data import ServableData
from servable_core.lifecycle.servable_handle import ServableHandle
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_request import ServableRequest
from servable_core.lifecycle.servable_state import ServableState
from servable_core.lifecycle.source import Target
from servable_core.managers.aspired_servables import AspiredServables, check_versions
from servable_core.managers.basic_manager import BasicManager
from servable_core.managers.basic_manager_options import BasicManagerOptions
from servable_core.managers.loader_harness import check_loader
from servable_core.managers.manager import Manager
from servable_core.managers.manager_statistics import ManagerStatistics
from servable_core.managers.outcome_wait import OutcomeWait
from servable_core.managers.predicate_wait import wait_for
from servable_core.policies.aspired_version_policy import (
    Action,
    AspiredVersionPolicy,
    ServableAction,
)
from servable_core.policies.availability_preserving import AvailabilityPreservingPolicy
from servable_core.runtime.alarm import Alarm
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.closeable import Closeable
from servable_core.runtime.event_bus import EventBus
from servable_core.runtime.retry import RetryOptions
from servable_core.runtime.step_thread import StepThread

T = TypeVar("T")
_logger = logging.getLogger(__name__)


def _reload_forever() -> RetryOptions:
    # Long enough not to disturb what serves, short enough that a mended version is soon there.
    return RetryOptions(
        max_num_retries=sys.maxsize, initial_backoff_secs=10.0, max_backoff_secs=600.0
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class AspiredVersionsManagerOptions(BasicManagerOptions):
    """How an `AspiredVersionsManager` works.

    Attributes:
        reload_retry: How often and how fast a version whose load has failed, after all attempts
            of `load_retry`, is tried again from the beginning while it stays aspired.
    """

    reload_retry: RetryOptions = field(default_factory=_reload_forever)


class VersionOutcomes(Protocol):
    """What has become of the versions that are aspired, at one instant."""

    def is_in_force(self, servable_name: str) -> bool:
        """Whether the newest list of a servable was taken over, rather than still waiting."""

    def is_available(self, servable_id: ServableId) -> bool:
        """Whether the servable can be obtained."""

    def find_error(self, servable_id: ServableId) -> Exception | None:
        """Returns why a version has failed, unless another incarnation is on its way."""


class AspiredVersionsManager(Manager, Target[Loader[Any]], Closeable):
    """The target at the end of a chain of sources; thread-safe.

    - The list of aspired versions of a servable is complete: what it leaves out is unloaded.
    - A version is loaded and unloaded through one and the same loader; a second loader for a
      version that is loaded already is dropped untouched.
    - What is loaded and aspired is never unloaded, not even for want of resources.
    - A version aspired anew while its former incarnation goes away waits until that is gone.
      One that still serves, for want of a better version, is taken back as it is.
    - While a handle is open its servable is loaded; it delays no other servable. Unloads never
      run on the thread that closes a handle.

    A version whose load failed stays in error, and is tried again after a back-off while it is
    aspired, with the newest loader that its source has sent. Where the source itself had sent an
    error, the first loader it sends is tried at once.

    Args:
        options: See `AspiredVersionsManagerOptions`.
        policy: Order of loads and unloads within one servable.
        policy_for: The policy for the servable of that name, instead of the one `policy`. Pure.
        event_bus: Told of every state; see `BasicManager`.
        clock: Times back-off and time-outs.
    """

    def __init__(
        self,
        *,
        options: AspiredVersionsManagerOptions | None = None,
        policy: AspiredVersionPolicy | None = None,
        policy_for: Callable[[str], AspiredVersionPolicy] | None = None,
        event_bus: EventBus[ServableState] | None = None,
        clock: Clock | None = None,
    ) -> None:
        options = options or AspiredVersionsManagerOptions()
        self._clock = clock or SystemClock()
        default_policy = policy or AvailabilityPreservingPolicy()
        self._policy_for = policy_for or (lambda _name: default_policy)
        self._thread = StepThread(self.step, name="servable-manager")
        self._alarm = Alarm(self._thread.wake, clock=self._clock, name="servable-reload")
        # Taken before any lock of the basic manager, never after.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._basic = BasicManager(
            options=dataclasses.replace(options, has_manage_thread=False),
            event_bus=event_bus,
            on_change=lambda servable_id: self._note_change(servable_id.name),
            on_wake=self._thread.wake,
            clock=self._clock,
        )
        # Guarded by _lock.
        self._servables = AspiredServables(
            self._basic, reload_retry=options.reload_retry, clock=self._clock
        )
        self._waits: list[OutcomeWait] = []  # Guarded by _lock.
        self._is_closing = False  # Guarded by _lock.
        self._has_thread = options.has_manage_thread
        if self._has_thread:
            self._thread.start()

    @override
    def set_aspired_versions(
        self, servable_name: str, versions: Sequence[ServableData[Loader[Any]]]
    ) -> None:
        """Replaces what is aspired of one servable; returns at once. Ignored once closed.

        Raises:
            InvalidArgumentError: If an id has another name, comes twice, or comes with anything
                but a loader or an error; nothing changes then.
        """
        check_versions(servable_name, [version.servable_id for version in versions])
        for version in versions:
            check_loader(version)
        with self._lock:
            if not self._is_closing:
                self._servables.aspire(servable_name, versions)
                self._note_change_locked(servable_name)
        self._thread.wake()

    @override
    def get_servable_handle(
        self, request: ServableRequest, servable_type: type[T]
    ) -> ServableHandle[T]:
        """Returns a handle of the servable asked for; takes no lock.

        Raises:
            NotFoundError: If no such servable is available.
            InvalidArgumentError: If it is not a `servable_type`.
        """
        return self._basic.get_servable_handle(request, servable_type)

    @override
    def list_available_servable_ids(self) -> list[ServableId]:
        return self._basic.list_available_servable_ids()

    @override
    def get_available_servable_handles(
        self, servable_type: type[T]
    ) -> dict[ServableId, ServableHandle[T]]:
        return self._basic.get_available_servable_handles(servable_type)

    def states(self, servable_name: str | None = None) -> list[ServableState]:
        """Returns the state of each managed version, of one servable or of all; sorted by id."""
        return self._basic.states(servable_name)

    def statistics(self) -> ManagerStatistics:
        """Returns how busy the manager is."""
        return self._basic.statistics()

    @property
    def num_load_threads(self) -> int:
        """Loads at a time; 0 loads on the thread that steps."""
        return self._basic.num_load_threads

    def set_num_load_threads(self, num_threads: int, *, wait: bool = True) -> None:
        """Changes how many loads run at a time; returns when those under way have ended.

        Without `wait` it returns at once, and they go on beside new ones.
        """
        self._basic.set_num_load_threads(num_threads, wait=wait)

    def wait_until_available(
        self, servable_ids: Iterable[ServableId], timeout_secs: float | None = None
    ) -> None:
        """Returns when all of `servable_ids` can be obtained.

        Without a manage thread, another thread has to step meanwhile.

        Raises:
            Exception: The error of the first of them that has failed, at once; it may still
                succeed when it is tried again.
            AbortedError: If the manager is closed.
            DeadlineExceededError: After `timeout_secs`.
        """
        wanted: dict[str, list[ServableId]] = {}
        for servable_id in servable_ids:
            wanted.setdefault(servable_id.name, []).append(servable_id)

        def are_available(servable_name: str, versions: VersionOutcomes) -> bool:
            return _are_available(wanted[servable_name], versions)

        if not self.wait_until(wanted, are_available, timeout_secs):
            with self._lock:
                states = self._servables.describe(itertools.chain(*wanted.values()))
            raise DeadlineExceededError(f"not available after {timeout_secs} seconds: {states}")

    def wait_until(
        self,
        servable_names: Iterable[str],
        predicate: Callable[[str, VersionOutcomes], bool],
        timeout_secs: float | None = None,
    ) -> bool:
        """Waits until `predicate` holds of each servable; returns whether it does in time.

        It is called under the manager's lock: once for each of `servable_names`, in their order,
        and again for one that has changed, or that `recheck` names. What it raises ends the wait.
        It must be quick, and not call the manager.

        Raises:
            AbortedError: If the manager is closed.
        """
        wait = OutcomeWait(servable_names)
        with self._lock:
            self._waits.append(wait)
            try:
                return wait_for(
                    lambda: self._is_over_locked(wait, predicate),
                    condition=self._changed,
                    clock=self._clock,
                    timeout_secs=timeout_secs,
                )
            finally:
                self._waits.remove(wait)

    def recheck(self, servable_name: str) -> None:
        """Has all waits ask about a servable again, since something else about it has changed."""
        with self._lock:
            self._note_change_locked(servable_name)

    def renew_failed(self, servable_names: Iterable[str]) -> bool:
        """Gives failed versions of these servables a fresh chance; returns whether there are any.

        They are loaded anew, without their back-off, when the next list of their servable comes.
        Until then waits do not see their old errors.
        """
        with self._lock:
            have_failed = [self._servables.renew_failed(name) for name in servable_names]
        return any(have_failed)

    def step(self) -> bool:
        """Performs every action that is possible now; returns whether there was any.

        Loads and unloads without threads of their own run before it returns. May be called on
        any thread; a servable's load or unload is begun by one caller only.
        """
        did_anything = False
        while self._step_once():
            did_anything = True
        return did_anything

    @override
    def close(self) -> None:
        """Unloads everything and returns when it is gone; further calls do nothing.

        Aspired versions are ignored from now on and back-offs end. Waits for open handles and
        for loads under way.

        Raises:
            DeadlineExceededError: After `close_timeout_secs`. What is still held stays loaded,
                and is unloaded when its last handle goes.
        """
        with self._lock:
            self._is_closing = True
            self._servables.drop_pending()
            self._changed.notify_all()
        self._alarm.cancel()
        self._thread.stop()
        self._basic.close()
        self._thread.join()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.statistics()})"

    def _note_change(self, servable_name: str) -> None:
        with self._lock:
            self._servables.note_change(servable_name)
            self._note_change_locked(servable_name)

    def _note_change_locked(self, servable_name: str) -> None:
        for wait in self._waits:
            wait.note_change(servable_name)
        self._changed.notify_all()

    def _step_once(self) -> bool:
        has_decided = False
        with self._lock:
            if not self._is_closing:
                has_decided = self._decide_locked()
        return self._basic.step() or has_decided

    def _decide_locked(self) -> bool:
        """Requests all that can be requested now; returns whether there was anything."""
        names = self._servables.take_changed()
        updated = [name for name in names if self._servables.update(name)]
        actions = list(filter(self._request_locked, self._next_actions_locked(names)))
        for name in {*updated, *(action.servable_id.name for action in actions)}:
            self._servables.note_change(name)  # there may be more to do
            self._note_change_locked(name)
        retry_secs = self._servables.next_retry_secs
        if retry_secs is not None and self._has_thread:
            self._alarm.set(retry_secs)
        return bool(updated or actions)

    def _next_actions_locked(self, servable_names: Iterable[str]) -> list[ServableAction]:
        """Asks the policy once per servable; unloads come first, for they make room."""
        actions = map(self._next_action_locked, servable_names)
        return sorted(filter(None, actions), key=lambda action: action.action is Action.LOAD)

    def _request_locked(self, action: ServableAction) -> bool:
        """Requests what a policy asks for; returns whether that could be done."""
        try:
            if action.action is Action.LOAD:
                self._basic.load_servable(action.servable_id)
            else:
                self._basic.unload_servable(action.servable_id)
        except Exception:
            _logger.exception("a policy asked for %s, which cannot be done", action)
            return False
        return True

    def _next_action_locked(self, name: str) -> ServableAction | None:
        stream = self._servables.snapshots(name)
        if not stream:
            return None
        try:
            return self._policy_for(name).get_next_action(stream)
        except Exception:
            # One stream without a working policy must not keep the others from theirs.
            _logger.exception("the policy of servable %r failed", name)
            return None

    def _is_over_locked(
        self, wait: OutcomeWait, predicate: Callable[[str, VersionOutcomes], bool]
    ) -> bool:
        if self._is_closing:
            raise AbortedError("the manager was closed")
        return wait.is_over(lambda name: predicate(name, self._servables))


def _are_available(servable_ids: Sequence[ServableId], versions: VersionOutcomes) -> bool:
    for error in map(versions.find_error, servable_ids):
        if error is not None:
            raise error
    return all(map(versions.is_available, servable_ids))
