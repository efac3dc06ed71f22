"""A flag that stops a whole job: set once by a signal or by the first failure, checked per batch."""

import threading

from servable_core.errors import AbortedError


class AbortToken:
    """Set at most once; thread-safe. The first reason wins."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._reason = ""  # Guarded by _lock.

    @property
    def is_set(self) -> bool:
        """Whether the job must stop."""
        return self._event.is_set()

    @property
    def reason(self) -> str:
        """Why it was set; empty while it is not."""
        with self._lock:
            return self._reason

    def set(self, reason: str) -> None:
        """Stops everyone who checks this token. Later calls change nothing."""
        with self._lock:
            if not self._event.is_set():
                self._reason = reason
                self._event.set()

    def check(self) -> None:
        """Raises AbortedError once the token is set."""
        if self._event.is_set():
            raise AbortedError(f"stopped: {self.reason}")

    def wait(self, timeout_secs: float) -> bool:
        """Waits until the token is set, at most `timeout_secs`; returns whether it is."""
        return self._event.wait(timeout_secs)
