"""The life of one servable as a state machine around its loader.

NEW -> LOAD_REQUESTED -> LOAD_APPROVED -> LOADING -> READY
READY -> UNLOAD_REQUESTED -> QUIESCING -> QUIESCED -> UNLOADING -> DISABLED
LOADING -> UNLOADING -> DISABLED    a load that was cancelled meanwhile
any -> ERROR                        a failed load or unload, or an illegal request
"""

import threading
import traceback
from collections.abc import Callable
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


class LoaderHarness:
    """Drives one loader through its states; thread-safe.

    `load` and `unload` run the loader on the calling thread and hold no lock meanwhile. All
    other methods return at once.

    Args:
        data: The loader, or the error that takes its place: the harness starts in ERROR then.
        retry_options: How often and how fast a failed load is tried again.
        should_retry: Whether a failure may pass by itself.
        clock: Times the back-off.
    """

    def __init__(
        self,
        data: ServableData[Loader[Any]],
        *,
        retry_options: RetryOptions,
        clock: Clock,
        should_retry: Callable[[Exception], bool] = is_worth_retrying,
    ) -> None:
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
            CancelledError: If `cancel_load` came before the end; what was loaded is unloaded.
            Exception: The last failure of the loader; the state is ERROR then.
        """
        self._advance(HarnessState.LOADING)
        try:
            servable = self._attempt_load()
        except BaseException as error:
            self.fail(_as_exception(error, self.servable_id))
            raise
        if not self._end_load():
            self._unload_loader()
            raise CancelledError(self._cancellation.reason)
        return servable

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
        self._unload_loader()

    def fail(self, error: Exception) -> None:
        """Any state to ERROR; `error` says why."""
        # The traceback stays readable, but no longer keeps a half-loaded servable in memory.
        traceback.clear_frames(error.__traceback__)
        with self._lock:
            self._state = HarnessState.ERROR
            self._error = error

    def _attempt_load(self) -> Any:
        if self._cancellation.is_set:
            raise CancelledError(self._cancellation.reason)
        loader = self._data.unwrap()
        retry(
            loader.load,
            is_transient=self._should_retry,
            options=self._retry_options,
            abort=self._cancellation,
        )
        return loader.servable

    def _end_load(self) -> bool:
        """Decides between READY and UNLOADING, at one instant; returns whether it is READY."""
        with self._lock:
            if self._state is HarnessState.LOADING and self._cancellation.is_set:
                self._state = HarnessState.UNLOADING
                return False
        self._advance(HarnessState.READY)
        return True

    def _unload_loader(self) -> None:
        try:
            self._data.unwrap().unload()
        except BaseException as error:
            self.fail(_as_exception(error, self.servable_id))
            raise
        self._advance(HarnessState.DISABLED)

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


def _as_exception(error: BaseException, servable_id: ServableId) -> Exception:
    """Returns what users are shown: a loader that tries to end the process must not do so unseen."""
    if isinstance(error, Exception):
        return error
    return InternalError(f"the loader of {servable_id} was ended by {error!r}")
