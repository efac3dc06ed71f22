"""Which task streams into which batch, and when a new one may be opened."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from typing_extensions import override

from servable_core.batching.batch import BatchTask
from servable_core.batching.batch_former import BatchFormer
from servable_core.batching.streaming_batch import StreamingBatch

T = TypeVar("T", bound=BatchTask)

_NOW = -math.inf
_NEVER = math.inf


class StreamingBatchQueue(BatchFormer[T], Generic[T]):
    """Opens a batch only when a thread is free for it, so none waits; tasks are never cut.

    Not thread-safe: its owner guards it.

    Args:
        max_batch_size: Most rows in one batch.
        num_threads: Most batches that are not processed yet. 0 is for callers that step: there is
            one batch at a time, and it can only be taken when it is closed or its timeout has
            passed, because whoever steps cannot wait for tasks.
        create_batch: Makes an open batch that starts now.
    """

    def __init__(
        self,
        max_batch_size: int,
        num_threads: int,
        create_batch: Callable[[float], StreamingBatch[T]],
    ) -> None:
        self._max_batch_size = max_batch_size
        self._max_batches = max(num_threads, 1)
        self._hands_out_open_batches = num_threads > 0
        self._create_batch = create_batch
        self._untaken: deque[StreamingBatch[T]] = deque()
        self._taken: list[StreamingBatch[T]] = []
        self._last: StreamingBatch[T] | None = None  # the only one that may be open
        self._is_closed = False

    @property
    @override
    def num_tasks(self) -> int:
        waiting = set(self._untaken)
        if self._last is not None and not self._last.is_closed:
            waiting.add(self._last)
        return sum(len(batch.tasks) for batch in waiting)

    @property
    @override
    def num_batches(self) -> int:
        return len(self._untaken)

    @property
    @override
    def head(self) -> StreamingBatch[T] | None:
        return self._untaken[0] if self._untaken else None

    @property
    @override
    def is_closed(self) -> bool:
        return self._is_closed

    @property
    @override
    def capacity(self) -> int:
        return self._open_room() + self._num_free() * self._max_batch_size

    @property
    @override
    def due_secs(self) -> float:
        head = self.head
        if head is None:
            return _NEVER
        return _NOW if self._hands_out_open_batches or head.is_closed else head.due_secs

    @override
    def fits_whole(self, size: int) -> bool:
        return size <= self._open_room() or (self._num_free() > 0 and size <= self._max_batch_size)

    @override
    def has_room(self, size: int) -> bool:
        return self.fits_whole(size)

    @override
    def part_sizes(self, size: int) -> list[int]:
        return [size]

    @override
    def add(self, parts: Sequence[T], now: float) -> None:
        for task in parts:
            batch = self._batch_for(task.size, now)
            batch.add(task)
            if batch.size == self._max_batch_size:
                batch.close()

    @override
    def take(self, now: float) -> StreamingBatch[T] | None:
        if self.due_secs > now:
            return None
        batch = self._untaken.popleft()
        if not self._hands_out_open_batches:
            batch.close()
        self._taken.append(batch)
        return batch

    @override
    def set_target_batch_size(self, num_rows: int) -> None:
        """Does nothing: a batch that is being read already may as well fill up."""

    @override
    def flush(self) -> None:
        if self._last is not None:
            self._last.close()

    @override
    def close(self) -> None:
        self._is_closed = True
        self.flush()

    def _batch_for(self, size: int, now: float) -> StreamingBatch[T]:
        if self._last is not None and size <= self._open_room():
            return self._last
        self.flush()
        self._last = self._create_batch(now)
        self._untaken.append(self._last)
        return self._last

    def _open_room(self) -> int:
        if self._last is None or self._last.is_closed:
            return 0
        return self._max_batch_size - self._last.size

    def _num_free(self) -> int:
        self._taken = [batch for batch in self._taken if not batch.is_finished]
        return self._max_batches - len(self._untaken) - len(self._taken)
