"""The life of one servable as a state machine around its loader.

NEW -> LOAD_REQUESTED -> LOAD_APPROVED -> LOADING -> READY
READY -> UNLOAD_REQUESTED -> QUIESCING -> QUIESCED -> UNLOADING -> DISABLED
LOADING -> UNLOADING -> DISABLED    a load that was cancelled meanwhile
any -> ERROR                        a failed load or unload, or an illegal request
"""

import contextlib
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from typing_extensions import override

from servable_core.errors import (
    CancelledError,
    DataLossError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
)
from servable_core.lifecycle.loader import Loader
from servable_core.lifecycle.servable_data import ServableData
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_state import HarnessState
from servable_core.managers.predicate_wait import wait_for
from servable_core.resources.resource_allocation import ResourceAllocation
from servable_core.runtime.abort_token import AbortToken
from servable_core.runtime.clock import Clock
from servable_core.runtime.retry import RetryOptions, retry

_logger = logging.getLogger(__name__)

_PREDECESSORS = {
    HarnessState.LOAD_REQUESTED: HarnessState.NEW,
    HarnessState.LOAD_APPROVED: HarnessState.LOAD_REQUESTED,
    HarnessState.LOADING: HarnessState.LOAD_APPROVED,
    HarnessState.READY: HarnessState.LOADING,
    HarnessState.UNLOAD_REQUESTED: HarnessState.READY,
    HarnessState.QUIESCING: HarnessState.UNLOAD_REQUESTED,
    HarnessState.QUIESCED: HarnessState.QUIESCING,
    HarnessState.UNLOADING: HarnessState.QUIESCED,
    HarnessState.DISABLED: HarnessState.UNLOADING,
}


def is_worth_retrying(error: Exception) -> bool:
    """Whether a failed load may succeed soon: all but those that say they will not."""
    return not isinstance(error, InvalidArgumentError | FailedPreconditionError | DataLossError)


def check_loader(data: ServableData[Loader[Any]]) -> None:
    """Checks that data without an error are a loader, which nothing but their type promises.

    Raises:
        InvalidArgumentError: If they are anything else.
    """
    if data.error is None and not isinstance(data.unwrap(), Loader):
        raise InvalidArgumentError(
            f"{data.servable_id} must come with a Loader, got {type(data.unwrap()).__name__}: "
            "the source adapter in front of the manager must return a loader for each version"
        )


class LoaderHarness:
    """Drives one loader through its states; thread-safe.

    `load` and `unload` run the loader on the calling thread and hold no lock meanwhile. All
    other methods return at once.

    Args:
        data: The loader, or the error that takes its place: the harness starts in ERROR then.
        retry_options: How often and how fast a failed load is tried again.
        should_retry: Whether a failure may pass by itself.
        clock: Times the back-off.

    Raises:
        InvalidArgumentError: If the data are neither a loader nor an error.
    """

    def __init__(
        self,
        data: ServableData[Loader[Any]],
        *,
        retry_options: RetryOptions,
        clock: Clock,
        should_retry: Callable[[Exception], bool] = is_worth_retrying,
    ) -> None:
        check_loader(data)
        self._data = data
        self._retry_options = retry_options
        self._should_retry = should_retry
        self._cancellation = _LoadCancellation(clock)
        self._lock = threading.Lock()
        self._error = data.error  # Guarded by _lock.
        self._state = HarnessState.ERROR if data.error else HarnessState.NEW  # Guarded by _lock.

    @property
    def servable_id(self) -> ServableId:
        """Which servable."""
        return self._data.servable_id

    @property
    def state(self) -> HarnessState:
        """The present state."""
        with self._lock:
            return self._state

    @property
    def error(self) -> Exception | None:
        """Why the state is ERROR; None in any other state."""
        with self._lock:
            return self._error

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel_load` was called."""
        return self._cancellation.is_set

    def estimate_resources(self) -> ResourceAllocation:
        """Returns the loader's estimate, after as many attempts as the options allow.

        Raises:
            Exception: The last failure of the loader.
        """
        return retry(
            self._data.unwrap().estimate_resources,
            is_transient=self._should_retry,
            options=self._retry_options,
            abort=self._cancellation,
        )

    def load_requested(self) -> None:
        """NEW to LOAD_REQUESTED; of several callers exactly one succeeds.

        Raises:
            FailedPreconditionError: In any other state, which does not change.
        """
        self._request(HarnessState.LOAD_REQUESTED, "its load was requested before")

    def load_approved(self) -> None:
        """LOAD_REQUESTED to LOAD_APPROVED: what the load needs has been set aside."""
        self._advance(HarnessState.LOAD_APPROVED)

    def load(self) -> Any:
        """LOAD_APPROVED to READY, through as many attempts as the options allow.

        Returns:
            The loader's servable.

        Raises:
            CancelledError: If `cancel_load` came before the end; what was loaded is unloaded, and
                a failure is the cause.
            Exception: The last failure of the loader; the state is ERROR then, and nothing stays
                loaded.
        """
        self._advance(HarnessState.LOADING)
        with self.failing_load():
            self._attempt_load()
            servable = self._take_servable()
            if self._end_load():
                return servable
            del servable  # nothing here may refer to it while it goes
            self._data.unwrap().unload()
        self._advance(HarnessState.DISABLED)
        raise CancelledError(self._cancellation.reason)

    def cancel_load(self) -> None:
        """Keeps a load from ending in READY and ends a back-off at once.

        An attempt that is under way goes on; its success is undone. No effect once READY.
        """
        self._cancellation.set(f"loading of {self.servable_id} was cancelled")

    def unload_requested(self) -> None:
        """READY to UNLOAD_REQUESTED; of several callers exactly one succeeds.

        Raises:
            FailedPreconditionError: In any other state, which does not change.
        """
        self._request(
            HarnessState.UNLOAD_REQUESTED, "it is not loaded, or its unload was requested before"
        )

    def start_quiescing(self) -> None:
        """UNLOAD_REQUESTED to QUIESCING: no new handles from now on."""
        self._advance(HarnessState.QUIESCING)

    def done_quiescing(self) -> None:
        """QUIESCING to QUIESCED: the last handle is gone."""
        self._advance(HarnessState.QUIESCED)

    def unload(self) -> None:
        """QUIESCED to DISABLED.

        Raises:
            Exception: The failure of the loader; the state is ERROR then.
        """
        self._advance(HarnessState.UNLOADING)
        with self._failing():
            self._data.unwrap().unload()
        self._advance(HarnessState.DISABLED)

    @contextlib.contextmanager
    def failing_load(self) -> Iterator[None]:
        """Has a failure inside, which is part of a load, end in ERROR.

        Raises:
            CancelledError: If `cancel_load` had come: a failure that nobody waits for any more is
                only its cause.
            BaseException: The failure, otherwise.
        """
        with self._failing():
            try:
                yield
            except Exception as error:
                if not self.is_cancelled or isinstance(error, CancelledError):
                    raise
                raise CancelledError(self._cancellation.reason) from error

    def fail(self, error: BaseException) -> None:
        """Any state to ERROR; `error` says why."""
        shown = as_exception(error, self.servable_id)
        _note_servable(shown, self.servable_id)
        # Tracebacks stay readable, but no longer keep a half-loaded servable in memory.
        _clear_frames(shown)
        with self._lock:
            self._state = HarnessState.ERROR
            self._error = shown

    def _attempt_load(self) -> None:
        if self._cancellation.is_set:
            raise CancelledError(self._cancellation.reason)
        retry(
            self._data.unwrap().load,
            is_transient=self._should_retry,
            options=self._retry_options,
            abort=self._cancellation,
        )

    def _take_servable(self) -> Any:
        """Returns what was loaded; a loader that cannot give it is unloaded, or it would leak."""
        loader = self._data.unwrap()
        try:
            return loader.servable
        except BaseException:
            try:
                loader.unload()
            except BaseException:
                _logger.exception("%s was not unloaded cleanly", self.servable_id)
            raise

    def _end_load(self) -> bool:
        """Decides between READY and UNLOADING, at one instant; returns whether it is READY."""
        with self._lock:
            if self._state is HarnessState.LOADING and self._cancellation.is_set:
                self._state = HarnessState.UNLOADING
                return False
        self._advance(HarnessState.READY)
        return True

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Has any failure inside end in ERROR."""
        try:
            yield
        except BaseException as error:
            self.fail(error)
            raise

    def _request(self, to: HarnessState, why_not: str) -> None:
        with self._lock:
            if self._state is not _PREDECESSORS[to]:
                raise FailedPreconditionError(
                    f"{self.servable_id} cannot go from '{self._state.value}' to '{to.value}': {why_not}"
                )
            self._state = to

    def _advance(self, to: HarnessState) -> None:
        with self._lock:
            if self._state is _PREDECESSORS[to]:
                self._state = to
                return
            illegal = InternalError(
                f"illegal request to take {self.servable_id} from '{self._state.value}' to '{to.value}'"
            )
            self._state, self._error = HarnessState.ERROR, illegal
        raise illegal


class _LoadCancellation(AbortToken):
    """An abort token that waits by a clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._changed = threading.Condition()

    @override
    def set(self, reason: str) -> None:
        super().set(reason)
        with self._changed:
            self._changed.notify_all()

    @override
    def wait(self, timeout_secs: float) -> bool:
        with self._changed:
            return wait_for(
                lambda: self.is_set,
                condition=self._changed,
                clock=self._clock,
                timeout_secs=timeout_secs,
            )


def as_exception(error: BaseException, servable_id: ServableId) -> Exception:
    """Returns what users are shown of a failure, which may have tried to end the process."""
    if isinstance(error, Exception):
        return error
    shown = InternalError(
        f"{servable_id} was ended by {error!r}: "
        "loaders, estimators and hooks must raise an Exception where they fail"
    )
    shown.__cause__ = error
    return shown


def _note_servable(error: Exception, servable_id: ServableId) -> None:
    """Has tracebacks of an error, which need not know where it comes from, name the servable."""
    note = f"servable {servable_id}"
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def _clear_frames(error: BaseException) -> None:
    """Clears the frames of an error and of all that led to it."""
    pending: list[BaseException | None] = [error]
    cleared: set[int] = set()
    while pending:
        each = pending.pop()
        if each is not None and id(each) not in cleared:
            cleared.add(id(each))
            traceback.clear_frames(each.__traceback__)
            pending += [each.__cause__, each.__context__]
