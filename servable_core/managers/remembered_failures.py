"""Failures that answer for a while, so that nobody repeats what has just failed."""

from dataclasses import dataclass
from types import TracebackType

from servable_core.lifecycle.servable_id import ServableId
from servable_core.runtime.clock import Clock
from servable_core.runtime.retry import RetryOptions


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception
    traceback: TracebackType | None
    num_failures: int
    until_secs: float


class RememberedFailures:
    """The newest failure of each servable, with exponential back-off; not thread-safe.

    Args:
        backoff: For how long the first failure, and each further one in a row, is remembered.
        clock: Times it.
    """

    def __init__(self, backoff: RetryOptions, clock: Clock) -> None:
        self._backoff = backoff
        self._clock = clock
        self._failures: dict[ServableId, _Failure] = {}

    def check(self, servable_id: ServableId) -> None:
        """Returns if the servable may be tried.

        Raises:
            Exception: Its failure, while that is remembered.
        """
        failure = self._failures.get(servable_id)
        if failure is not None and self._clock.now() < failure.until_secs:
            # From its first traceback each time, which would grow with every raise.
            raise failure.error.with_traceback(failure.traceback)

    def remember(self, servable_id: ServableId, error: Exception) -> None:
        """Notes a failure; also drops those of others that were over long ago."""
        former = self._failures.get(servable_id)
        num_failures = 0 if former is None else former.num_failures
        now = self._clock.now()
        self._failures = {
            other: failure
            for other, failure in self._failures.items()
            if now < failure.until_secs + self._backoff.max_backoff_secs
        }
        until_secs = now + self._backoff.backoff_secs(num_failures)
        self._failures[servable_id] = _Failure(
            error, error.__traceback__, num_failures + 1, until_secs
        )

    def forget(self, servable_id: ServableId) -> None:
        """Notes a success."""
        self._failures.pop(servable_id, None)
