"""A future that costs little where one thread waits for it, as most do, or none does."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any, NoReturn, TypeVar

from typing_extensions import override

T = TypeVar("T")

_PENDING = "PENDING"
_RUNNING = "RUNNING"
_CANCELLED = "CANCELLED"
_NOTIFIED = "CANCELLED_AND_NOTIFIED"
_FINISHED = "FINISHED"
_DONE = frozenset({_CANCELLED, _NOTIFIED, _FINISHED})


class TaskFuture(Future[T]):
    """A `concurrent.futures.Future` in all that it does; thread-safe.

    The standard one has a condition: it is most of the cost of a future, and whoever it wakes meets
    the lock that the one who woke him still holds. Here a waiting thread sleeps on a lock of its
    own, and the condition, which `concurrent.futures.wait` asks for, is made when somebody asks.
    """

    def __init__(self) -> None:
        # Not that of the base, which makes the condition. These are all of its attributes.
        self._lock = threading.Lock()
        # Guarded by _lock, as all below; a state that is done is final, and may be seen without.
        self._state = _PENDING
        self._result: Any = None
        self._exception: BaseException | None = None
        self._waiters: list[Any] = []
        self._done_callbacks: list[Callable[[Future[T]], object]] = []
        self._sleepers: list[threading.Lock] = []
        self._made_condition: threading.Condition | None = None

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]  # made on demand
        """What the base's own methods, and its module, lock and wait on."""
        if self._made_condition is None:
            with self._lock:
                if self._made_condition is None:
                    self._made_condition = threading.Condition(self._lock)
        return self._made_condition

    @override
    def result(self, timeout: float | None = None) -> T:
        if self._state not in _DONE:
            self._sleep(timeout)
        if self._state != _FINISHED:
            raise CancelledError
        if self._exception is not None:
            try:
                raise self._exception
            finally:
                self = None  # type: ignore[assignment]  # noqa: PLW0642 - breaks the cycle with the traceback
        value: T = self._result
        return value

    @override
    def exception(self, timeout: float | None = None) -> BaseException | None:
        if self._state not in _DONE:
            self._sleep(timeout)
        if self._state != _FINISHED:
            raise CancelledError
        return self._exception

    @override
    def done(self) -> bool:
        return self._state in _DONE

    @override
    def cancel(self) -> bool:
        with self._lock:
            if self._state in {_RUNNING, _FINISHED}:
                return False
            if self._state in _DONE:
                return True
            self._state = _CANCELLED
            self._wake_locked()
        self._call_back()
        return True

    @override
    def set_running_or_notify_cancel(self) -> bool:
        with self._lock:
            if self._state == _PENDING:
                self._state = _RUNNING
                return True
            if self._state != _CANCELLED:
                raise InvalidStateError(f"a future that is {self._state} cannot begin to run")
            self._state = _NOTIFIED
            for waiter in self._waiters:
                waiter.add_cancelled(self)
            return False

    @override
    def set_result(self, result: T) -> None:
        with self._lock:  # written out: once per task
            if self._state in _DONE:
                self._refuse_to_finish()
            self._result = result
            self._state = (
                _FINISHED  # behind it: whoever sees it, without the lock, takes the result
            )
            for waiter in self._waiters:
                waiter.add_result(self)
            for sleeper in self._sleepers:
                sleeper.release()
            if self._made_condition is not None:
                self._made_condition.notify_all()
        if self._done_callbacks:
            self._call_back()

    @override
    def set_exception(self, exception: BaseException | None) -> None:
        with self._lock:
            if self._state in _DONE:
                self._refuse_to_finish()
            self._exception = exception
            self._state = _FINISHED
            for waiter in self._waiters:
                waiter.add_exception(self)
            self._wake_locked()
        self._call_back()

    def _refuse_to_finish(self) -> NoReturn:
        raise InvalidStateError(f"a future that is {self._state} cannot be finished")

    def _wake_locked(self) -> None:
        for sleeper in self._sleepers:
            sleeper.release()
        if self._made_condition is not None:
            self._made_condition.notify_all()

    def _call_back(self) -> None:
        if self._done_callbacks:
            self._invoke_callbacks()  # type: ignore[attr-defined]  # the base's, which logs errors

    def _sleep(self, timeout: float | None) -> None:
        """Returns when the future is done, or raises `TimeoutError`."""
        sleeper = threading.Lock()
        with self._lock:
            if self._state in _DONE:
                return
            sleeper.acquire()
            self._sleepers.append(sleeper)
        if sleeper.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            return
        with self._lock:
            self._sleepers.remove(sleeper)
            if self._state not in _DONE:
                raise TimeoutError
