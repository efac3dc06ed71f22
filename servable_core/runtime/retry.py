"""Retries with exponential back-off that stop at once when the job does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from servable_core.errors import InvalidArgumentError
from servable_core.runtime.abort_token import AbortToken

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryOptions:
    """How often to try again, and how long to wait in between.

    Attributes:
        max_num_retries: Attempts after the first one; 0 means one attempt.
        initial_backoff_secs: Wait before the first retry; doubles with each further one.
        max_backoff_secs: Upper bound of one wait.
    """

    max_num_retries: int = 3
    initial_backoff_secs: float = 0.5
    max_backoff_secs: float = 30.0

    def __post_init__(self) -> None:
        if self.max_num_retries < 0:
            raise InvalidArgumentError(
                f"max_num_retries must be 0 or more, got {self.max_num_retries}"
            )
        if self.initial_backoff_secs < 0 or self.max_backoff_secs < 0:
            raise InvalidArgumentError(
                f"back-off must be 0 or more seconds, got {self.initial_backoff_secs} and {self.max_backoff_secs}"
            )

    def backoff_secs(self, retry_index: int) -> float:
        """Returns the wait before retry number `retry_index` (from 0)."""
        doublings = min(
            retry_index, 64
        )  # more would overflow, and the bound is reached long before
        return min(self.max_backoff_secs, self.initial_backoff_secs * 2.0**doublings)


def retry(
    attempt: Callable[[], R],
    *,
    is_transient: Callable[[Exception], bool],
    options: RetryOptions,
    abort: AbortToken,
    on_retry: Callable[[Exception, float], None] = lambda _error, _secs: None,
) -> R:
    """Calls `attempt` until it returns, fails for good, or retries run out.

    Args:
        attempt: The work; called on this thread.
        is_transient: Whether a failure may pass by itself.
        options: Number of retries and back-off.
        abort: Interrupts a wait at once; the last failure is raised then.
        on_retry: Told of each failure that will be retried, and of the wait in seconds.

    Returns:
        What `attempt` returned.

    Raises:
        Exception: The last failure of `attempt`, unchanged.
    """
    retry_index = 0
    while True:
        try:
            return attempt()
        except Exception as error:
            if retry_index >= options.max_num_retries or not is_transient(error):
                raise
            backoff_secs = options.backoff_secs(retry_index)
            on_retry(error, backoff_secs)
            if abort.wait(backoff_secs):
                raise
        retry_index += 1
