"""The protocol that all schedulers share."""

from typing import Protocol, TypeVar

from servable_core.batching.batch import BatchTask

T_contra = TypeVar("T_contra", bound=BatchTask, contravariant=True)


class BatchScheduler(Protocol[T_contra]):
    """Puts tasks into batches and has them processed. Implementations are thread-safe."""

    def schedule(self, task: T_contra, *, timeout_secs: float | None = None) -> None:
        """Hands `task` over; after an error it still belongs to the caller.

        Args:
            task: The work. It may be cut into parts, and is processed on another thread.
            timeout_secs: How long to wait while there is no room: None without limit, 0 not at
                all. Those who wait are served in the order of their calls.

        Raises:
            InvalidArgumentError: The task can never fit, or an argument is out of range.
            UnavailableError: No room now, and `timeout_secs` is 0.
            DeadlineExceededError: No room within `timeout_secs`.
            FailedPreconditionError: The scheduler is closed, or was while waiting.
        """

    @property
    def num_enqueued_tasks(self) -> int:
        """Tasks, or parts of them, that no thread has taken yet."""

    @property
    def scheduling_capacity(self) -> int:
        """How many tasks of one row fit now; a hint, since other threads add tasks too."""

    @property
    def max_task_size(self) -> int:
        """Rows of the largest task that may ever fit."""

    def flush(self) -> None:
        """Lets the tasks that wait now run without waiting for fuller batches; does not block."""
