"""Loads and unloads servables until what is available is what its sources aspire to.

The source decides what, the policy in which order, the manager when. All decisions are taken
in `step`, under a lock and without delay; loads and unloads run outside it, on executors. A
thread calls `step` whenever something has happened; nothing polls.
"""

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from typing_extensions import override

from servable_core.errors import (
    AbortedError,
    CancelledError,
    DeadlineExceededError,
    InvalidArgumentError,
)
from servable_core.lifecycle.loader import Loader
from servable_core.lifecycle.servable_data import ServableData
from servable_core.lifecycle.servable_handle import ServableHandle
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_request import ServableRequest
from servable_core.lifecycle.servable_state import (
    AspiredServableStateSnapshot,
    HarnessState,
    ServableState,
)
from servable_core.lifecycle.source import Target
from servable_core.managers.loader_harness import LoaderHarness, is_worth_retrying
from servable_core.managers.managed_servables import (
    ManagedServable,
    ManagedServables,
    check_versions,
)
from servable_core.managers.predicate_wait import wait_for
from servable_core.managers.serving_map import ServedServable, ServingMap
from servable_core.policies.aspired_version_policy import (
    Action,
    AspiredVersionPolicy,
    ServableAction,
)
from servable_core.policies.availability_preserving import AvailabilityPreservingPolicy
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.executor import create_executor, start_thread
from servable_core.runtime.retry import RetryOptions

T = TypeVar("T")
_Task = Callable[[], Any]
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class AspiredVersionsManagerOptions:
    """How an `AspiredVersionsManager` works.

    Attributes:
        num_load_threads: Loads at a time; 0 loads on the thread that steps.
        num_unload_threads: Unloads at a time; 0 unloads on the thread that steps.
        load_retry: How often and how fast a failed load is tried again.
        should_retry_load: Whether a failure may pass by itself.
        has_manage_thread: Whether a thread steps; without one, the owner calls `step`.
        close_timeout_secs: How long `close` waits for handles and running loads; None is for ever.
    """

    num_load_threads: int = 0
    num_unload_threads: int = 0
    load_retry: RetryOptions = field(default_factory=RetryOptions)
    should_retry_load: Callable[[Exception], bool] = is_worth_retrying
    has_manage_thread: bool = True
    close_timeout_secs: float | None = 60.0

    def __post_init__(self) -> None:
        if self.num_load_threads < 0 or self.num_unload_threads < 0:
            raise InvalidArgumentError(
                "num_load_threads and num_unload_threads must be 0 or more, "
                f"got {self.num_load_threads} and {self.num_unload_threads}"
            )


class AspiredVersionsManager(Target[Loader[Any]]):
    """The target at the end of a chain of sources; thread-safe.

    - The list of aspired versions of a servable is complete: what it leaves out is unloaded.
    - A version is loaded and unloaded through one and the same loader; a second loader for a
      version that is managed already is dropped untouched.
    - What is loaded and aspired is never unloaded.
    - A version aspired anew while its former incarnation goes away waits until that is gone.
      One that still serves, for want of a better version, is taken back as it is.
    - While a handle is open its servable is loaded; it delays no other servable. Unloads never
      run on the thread that closes a handle.

    A version whose load failed stays in error until it is left out of a list.

    Args:
        options: See `AspiredVersionsManagerOptions`.
        policy: Order of loads and unloads within one servable.
        clock: Times back-off and time-outs.
    """

    def __init__(
        self,
        *,
        options: AspiredVersionsManagerOptions | None = None,
        policy: AspiredVersionPolicy | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._options = options or AspiredVersionsManagerOptions()
        self._policy = policy or AvailabilityPreservingPolicy()
        self._clock = clock or SystemClock()
        self._load_executor = create_executor(self._options.num_load_threads, "servable-load")
        self._unload_executor = create_executor(self._options.num_unload_threads, "servable-unload")
        self._serving_map = ServingMap()
        # A queue and no condition: `put` is safe inside the garbage collector, which may
        # release a forgotten handle on a thread that holds _lock.
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()
        # Taken before the locks of harnesses and of the serving map, never after.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._servables = ManagedServables(self._create_harness)  # Guarded by _lock.
        self._is_closing = False  # Guarded by _lock.
        # Waits for the end of the manage thread; None while there is none. Guarded by _lock.
        self._join_thread: Callable[[], None] | None = None
        if self._options.has_manage_thread:
            self._join_thread = start_thread(self._manage, name="servable-manager").join

    @override
    def set_aspired_versions(
        self, servable_name: str, versions: Sequence[ServableData[Loader[Any]]]
    ) -> None:
        """Replaces what is aspired of one servable; returns at once. Ignored once closed.

        Raises:
            InvalidArgumentError: If an id has another name, or comes twice.
        """
        check_versions(servable_name, [version.servable_id for version in versions])
        with self._lock:
            if not self._is_closing:
                self._servables.aspire(servable_name, versions)
        self._wake()

    def get_servable_handle(
        self, request: ServableRequest, servable_type: type[T]
    ) -> ServableHandle[T]:
        """Returns a handle of the servable asked for; takes no lock.

        Raises:
            NotFoundError: If no such servable is available.
            InvalidArgumentError: If it is not a `servable_type`.
        """
        return self._serving_map.get(request, servable_type)

    def list_available_servable_ids(self) -> list[ServableId]:
        """Returns the ids of all servables that can be obtained, sorted."""
        return self._serving_map.list_ids()

    def states(self, servable_name: str) -> list[ServableState]:
        """Returns the state of each managed version of one servable, lowest version first."""
        with self._lock:
            return [m.servable_state for m in self._servables.list_stream(servable_name)]

    def wait_until_available(
        self, servable_ids: Iterable[ServableId], timeout_secs: float | None = None
    ) -> None:
        """Returns when all of `servable_ids` can be obtained.

        Without a manage thread, another thread has to step meanwhile.

        Raises:
            Exception: The error of the first of them that has failed for good, at once.
            AbortedError: If the manager is closed.
            DeadlineExceededError: After `timeout_secs`.
        """
        wanted = list(servable_ids)
        with self._lock:
            if not wait_for(
                lambda: self._are_available_locked(wanted),
                condition=self._changed,
                clock=self._clock,
                timeout_secs=timeout_secs,
            ):
                raise DeadlineExceededError(
                    f"not available after {timeout_secs} seconds: {self._servables.describe(wanted)}"
                )

    def step(self) -> bool:
        """Performs every action that is possible now; returns whether there was any.

        Loads and unloads without threads of their own run before it returns. May be called on
        any thread; a servable's load or unload is begun by one caller only.
        """
        did_anything = False
        while self._step_once():
            did_anything = True
        return did_anything

    def close(self) -> None:
        """Unloads everything and returns when it is gone; further calls do nothing.

        Aspired versions are ignored from now on and back-offs end. Waits for open handles and
        for loads under way.

        Raises:
            DeadlineExceededError: After `close_timeout_secs`. What is still held stays loaded,
                and is unloaded when its last handle goes.
        """
        timeout_secs = self._options.close_timeout_secs
        with self._lock:
            join_thread = self._begin_closing_locked()
            self._wake()
            if not wait_for(
                lambda: self._servables.is_empty,
                condition=self._changed,
                clock=self._clock,
                timeout_secs=timeout_secs,
            ):
                still_there = [m.harness.servable_id for m in self._servables.list_all()]
                raise DeadlineExceededError(
                    f"handles or loads still open after {timeout_secs} seconds: "
                    f"{self._servables.describe(still_there)}"
                )
        join_thread()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _wake(self) -> None:
        """Has the manage thread step once more; neither blocks nor takes a lock."""
        self._wakeups.put(None)

    def _manage(self) -> None:
        """The body of the manage thread: steps after each wake-up until all is gone."""
        while not self._is_finished():
            self._wakeups.get()
            _drain(self._wakeups)  # before the step: what happens from then on wakes it again
            try:
                self.step()
            except Exception:
                _logger.exception("the servable manager failed to step")
        self._load_executor.shutdown()
        self._unload_executor.shutdown()

    def _is_finished(self) -> bool:
        with self._lock:
            return self._is_closing and self._servables.is_empty

    def _step_once(self) -> bool:
        with self._lock:
            has_changed = self._servables.flush() | self._servables.apply_pending()
            actions = self._next_actions_locked()
            tasks = self._perform_locked(actions) + self._start_unloads_locked()
            if has_changed:
                self._changed.notify_all()
                self._wake()  # another thread stepped: the manage thread may have finished now
        for task in tasks:
            task()
        return has_changed or bool(actions) or bool(tasks)

    def _perform_locked(self, actions: Sequence[ServableAction]) -> list[_Task]:
        """Returns the loads to run after the lock is released; unloads wait for their handles."""
        tasks: list[_Task] = []
        for action in actions:
            managed = self._servables[action.servable_id]
            if action.action is Action.LOAD:
                managed.harness.load_requested()
                managed.harness.load_approved()
                tasks.append(partial(self._load_executor.submit, self._load, managed))
            else:
                self._quiesce_locked(managed)
        return tasks

    def _next_actions_locked(self) -> list[ServableAction]:
        """Asks the policy once per servable; unloads come first, for they make room."""
        policy: AspiredVersionPolicy = _UnloadEverything() if self._is_closing else self._policy
        actions = map(policy.get_next_action, self._servables.streams())
        return sorted(filter(None, actions), key=lambda action: action.action is Action.LOAD)

    def _quiesce_locked(self, managed: ManagedServable) -> None:
        managed.harness.unload_requested()
        if managed.served is not None:
            self._serving_map.remove(managed.served)
        managed.harness.start_quiescing()

    def _start_unloads_locked(self) -> list[_Task]:
        """Returns the unloads of all servables whose last handle is gone."""
        tasks: list[_Task] = []
        for managed in self._servables.list_all():
            served = managed.served
            if served is not None and served.is_drained:
                managed.served = None
                managed.harness.done_quiescing()
                tasks.append(partial(self._unload_executor.submit, self._unload, managed))
        return tasks

    def _load(self, managed: ManagedServable) -> None:
        servable_id = managed.harness.servable_id
        served = None
        try:
            served = ServedServable(servable_id, managed.harness.load(), self._wake)
        except CancelledError:
            _logger.info("loading of %s was cancelled", servable_id)
        except Exception as error:
            # The harness keeps the error for those who wait for the servable.
            _logger.warning("%s could not be loaded: %s", servable_id, error, exc_info=True)
        finally:
            self._end_load(managed, served)

    def _end_load(self, managed: ManagedServable, served: ServedServable[Any] | None) -> None:
        with self._lock:
            if served is not None:
                self._serving_map.add(served)
                managed.served = served
            self._changed.notify_all()
        self._wake()

    def _unload(self, managed: ManagedServable) -> None:
        try:
            managed.harness.unload()
        except Exception:
            _logger.exception("%s was not unloaded cleanly", managed.harness.servable_id)
        finally:
            self._wake()

    def _are_available_locked(self, servable_ids: Sequence[ServableId]) -> bool:
        if self._is_closing:
            raise AbortedError("the manager was closed")
        for error in map(self._servables.find_error, servable_ids):
            if error is not None:
                raise error
        return all(map(self._servables.is_available, servable_ids))

    def _begin_closing_locked(self) -> Callable[[], None]:
        if not self._is_closing:
            self._is_closing = True
            self._servables.unaspire_all()
            self._changed.notify_all()
        if self._join_thread is None:  # someone has to step while `close` waits
            self._join_thread = start_thread(self._manage, name="servable-manager").join
        return self._join_thread

    def _create_harness(self, data: ServableData[Loader[Any]]) -> LoaderHarness:
        return LoaderHarness(
            data,
            retry_options=self._options.load_retry,
            should_retry=self._options.should_retry_load,
            clock=self._clock,
        )


class _UnloadEverything(AspiredVersionPolicy):
    """What a closing manager does, whatever its own policy would keep."""

    @override
    def get_next_action(
        self, snapshots: Sequence[AspiredServableStateSnapshot]
    ) -> ServableAction | None:
        ready = (s.servable_id for s in snapshots if s.state is HarnessState.READY)
        servable_id = next(ready, None)
        return None if servable_id is None else ServableAction(Action.UNLOAD, servable_id)


def _drain(wakeups: queue.SimpleQueue[None]) -> None:
    try:
        while True:
            wakeups.get_nowait()
    except queue.Empty:
        pass
