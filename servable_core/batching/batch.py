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
    """

    __slots__ = ("_is_closed", "_size", "_tasks")

    def __init__(self) -> None:
        self._tasks: list[T] = []
        self._size = 0
        self._is_closed = False

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

    def close(self) -> None:
        """Closes the batch; later calls change nothing."""
        self._is_closed = True

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"Batch({state}, size={self._size}, num_tasks={len(self._tasks)})"
