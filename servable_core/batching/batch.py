"""What schedulers move: tasks measured in rows, and batches of them."""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from servable_core.errors import FailedPreconditionError


class BatchTask(Protocol):
    """One piece of work that may share a batch with others."""

    @property
    def size(self) -> int:
        """Rows, 1 or more; never changes."""


T = TypeVar("T", bound=BatchTask)


class Batch(Generic[T]):
    """Tasks that are processed together; open at first, then closed for good.

    Not thread-safe while open: its queue guards it. A closed batch never changes.

    Args:
        started_secs: When its first task comes, on the queue's clock.
    """

    __slots__ = ("_is_closed", "_size", "_started_secs", "_tasks")

    def __init__(self, started_secs: float = 0.0) -> None:
        self._started_secs = started_secs
        self._tasks: list[T] = []
        self._size = 0
        self._is_closed = False

    @property
    def started_secs(self) -> float:
        """When its first task came, on the clock of its queue."""
        return self._started_secs

    @property
    def tasks(self) -> Sequence[T]:
        """The tasks in the order in which they were added."""
        return self._tasks

    @property
    def size(self) -> int:
        """Sum of the sizes of the tasks."""
        return self._size

    @property
    def is_closed(self) -> bool:
        """Whether no more tasks may be added."""
        return self._is_closed

    def add(self, task: T) -> None:
        """Appends `task`.

        Raises:
            FailedPreconditionError: The batch is closed.
        """
        if self._is_closed:
            raise FailedPreconditionError(f"tasks may only be added to an open batch, got {self!r}")
        self._tasks.append(task)
        self._size += task.size

    def trim_to(self, size: int) -> list[T]:
        """Removes tasks from the end until `size` rows are left, and returns them in order.

        Does nothing if that would mean to cut a task, or if the batch is not larger.
        """
        kept = 0
        for index, task in enumerate(self._tasks):
            if kept == size:
                removed = self._tasks[index:]
                self._tasks = self._tasks[:index]
                self._size = kept
                return removed
            kept += task.size
        return []

    def close(self) -> None:
        """Closes the batch; later calls change nothing."""
        self._is_closed = True

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"Batch({state}, size={self._size}, num_tasks={len(self._tasks)})"
