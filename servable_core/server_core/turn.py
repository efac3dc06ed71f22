"""Lets one caller in at a time, with a time-out by a clock that tests can turn."""

import contextlib
import threading
from collections.abc import Iterator

from servable_core.errors import DeadlineExceededError
from servable_core.managers.predicate_wait import wait_for
from servable_core.runtime.clock import Clock


class Turn:
    """Like a lock, but nothing is locked while somebody has the turn; thread-safe."""

    def __init__(self, what: str, clock: Clock) -> None:
        self._what = what
        self._clock = clock
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._is_taken = False  # Guarded by _lock.

    @contextlib.contextmanager
    def taken(self, timeout_secs: float | None) -> Iterator[None]:
        """Waits for the turn and keeps it during the body.

        Raises:
            DeadlineExceededError: If somebody else has it for longer than `timeout_secs`.
        """
        with self._lock:
            if not wait_for(
                lambda: not self._is_taken,
                condition=self._ended,
                clock=self._clock,
                timeout_secs=timeout_secs,
            ):
                raise DeadlineExceededError(
                    f"another {self._what} is still under way after {timeout_secs} seconds"
                )
            self._is_taken = True
        try:
            yield
        finally:
            with self._lock:
                self._is_taken = False
                self._ended.notify_all()
