"""Tasks that know their rows, and a processor of batches that remembers them."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from servable_core.batching.batch import Batch
from servable_core.batching.streaming_batch import StreamingBatch

_PATIENCE_SECS = 10.0  # of real time, before a test that waits in vain fails


@dataclass(frozen=True, slots=True)
class RowsTask:
    """A task that is nothing but its rows.

    Attributes:
        rows: A name for each row; unique over a test, so that lost and doubled ones show.
    """

    rows: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.rows)


def split_rows(task: RowsTask, sizes: Sequence[int]) -> list[RowsTask]:
    """Returns `task` cut into parts of the given sizes."""
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    return [
        RowsTask(task.rows[start : start + size]) for start, size in zip(starts, sizes, strict=True)
    ]


class BatchRecorder:
    """Remembers the rows of each batch it processes, once the batch is closed; thread-safe.

    It can be held: then batches begin, and end only after `release`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._batches: list[list[int]] = []  # Guarded by _lock.
        self._num_started = 0  # Guarded by _lock.
        self._is_held = False  # Guarded by _lock.

    @property
    def batches(self) -> list[list[int]]:
        """The rows of each batch, in the order in which batches ended."""
        with self._lock:
            return [list(batch) for batch in self._batches]

    @property
    def rows(self) -> list[int]:
        """The rows of all batches."""
        return [row for batch in self.batches for row in batch]

    def __call__(self, batch: Batch[RowsTask]) -> None:
        """Processes a batch: waits until it is closed and not held, and notes its rows."""
        with self._lock:
            self._num_started += 1
            self._changed.notify_all()
        if isinstance(batch, StreamingBatch):
            batch.wait_until_closed()
        self._record([row for task in batch.tasks for row in task.rows])

    def hold(self) -> None:
        """Lets no batch end from now on."""
        with self._lock:
            self._is_held = True

    def release(self) -> None:
        """Lets batches end again."""
        with self._lock:
            self._is_held = False
            self._changed.notify_all()

    def block_until_started(self, num_batches: int) -> None:
        """Returns when at least so many batches have begun.

        Raises:
            AssertionError: If they have not within ten real seconds.
        """
        with self._lock:
            if not self._changed.wait_for(lambda: self._num_started >= num_batches, _PATIENCE_SECS):
                raise AssertionError(f"{self._num_started} batches began, not {num_batches}")

    def block_until_rows(self, num_rows: int) -> None:
        """Returns when at least so many rows are in batches that have ended.

        Raises:
            AssertionError: If they are not within ten real seconds.
        """
        with self._lock:
            if not self._changed.wait_for(lambda: self._num_rows() >= num_rows, _PATIENCE_SECS):
                raise AssertionError(f"{self._num_rows()} rows were processed, not {num_rows}")

    def _record(self, rows: list[int]) -> None:
        with self._lock:
            if not self._changed.wait_for(lambda: not self._is_held, _PATIENCE_SECS):
                raise AssertionError("a batch was held for ever")
            self._batches.append(rows)
            self._changed.notify_all()

    def _num_rows(self) -> int:
        return sum(len(batch) for batch in self._batches)
