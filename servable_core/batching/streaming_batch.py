"""A batch that is processed while it still fills up."""

import math
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

from typing_extensions import override

from servable_core.batching.batch import Batch, BatchTask
from servable_core.runtime.clock import Clock

T = TypeVar("T", bound=BatchTask)


class StreamingBatch(Batch[T], Generic[T]):
    """Iterating over it yields each task as it comes, and ends when the batch is closed.

    The batch closes when it is full, when a task does not fit any more, by `flush` or `close` of
    its scheduler, or when its reader finds that its timeout has passed. Iterate and wait without
    the lock; `add` and `close` belong to its scheduler, which holds it.

    Args:
        started_secs: When its first task comes.
        due_secs: When it closes at the latest; inf for never.
        lock: Guards the batch.
        clock: Whose time counts.
    """

    __slots__ = ("_changed", "_clock", "_due_secs", "_is_finished", "_lock")

    def __init__(
        self, started_secs: float, *, due_secs: float, lock: threading.Lock, clock: Clock
    ) -> None:
        super().__init__(started_secs)
        self._due_secs = due_secs
        self._lock = lock
        self._clock = clock
        self._changed = threading.Condition(lock)
        self._is_finished = False  # Guarded by _lock.

    @property
    def due_secs(self) -> float:
        """When it closes at the latest."""
        return self._due_secs

    @property
    def is_finished(self) -> bool:
        """Whether it was processed."""
        return self._is_finished

    @override
    def add(self, task: T) -> None:
        super().add(task)
        self._changed.notify_all()

    @override
    def close(self) -> None:
        super().close()
        self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        index = 0
        while self._wait_for_more(index):
            yield self.tasks[index]
            index += 1

    def wait_until_closed(self) -> None:
        """Blocks until no more tasks come; `tasks` and `size` do not change any more."""
        while self._wait_for_more(len(self.tasks)):
            pass

    def finish(self) -> bool:
        """Notes the end of its processing; returns whether it was closed by then, as it should."""
        with self._lock:
            was_closed = self.is_closed
            self.close()
            self._is_finished = True
            return was_closed

    def _wait_for_more(self, num_read: int) -> bool:
        """Waits for another task; returns False if the batch was closed without one."""
        with self._lock:
            while True:
                left_secs = self._due_secs - self._clock.now()
                if left_secs <= 0 and not self.is_closed:
                    self.close()
                if num_read < len(self.tasks):
                    return True
                if self.is_closed:
                    return False
                self._clock.wait(self._changed, left_secs if left_secs < math.inf else None)
