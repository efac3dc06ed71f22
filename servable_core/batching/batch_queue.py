"""Which tasks share a batch, and when it may run: the queue as a state machine without time or threads."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Generic, TypeVar

from servable_core.batching.batch import Batch, BatchTask
from servable_core.batching.splitting import split_sizes
from servable_core.errors import InvalidArgumentError

T = TypeVar("T", bound=BatchTask)

_NOW = -math.inf
_NEVER = math.inf


class BatchPaddingPolicy(Enum):
    """What becomes of a batch that runs before it is full, where only some sizes are allowed.

    PAD_UP: it runs as it is, and is padded to the next allowed size. BATCH_DOWN: it is cut to the
    allowed size below, where that is possible between two tasks; the rest waits for more.
    """

    PAD_UP = "PAD_UP"
    BATCH_DOWN = "BATCH_DOWN"


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueOptions:
    """How one queue forms batches.

    Attributes:
        max_batch_size: Most rows in one batch.
        batch_timeout_secs: How long a batch that is not full waits for more rows, from its first
            task on. 0 lets it run as soon as a thread is free: under load, batches then grow by
            themselves while the threads are busy.
        max_enqueued_batches: Most batches waiting, the open one included. Bounds memory; bulk jobs
            want it at least as high as the number of batch threads.
        enable_large_batch_splitting: Cut tasks at the borders of batches. Otherwise a task larger
            than a batch is an error, and one that does not fit closes the open batch early.
        merge_tasks: Whether tasks share batches. If not, each task (or part of one) is a batch by
            itself, so what is computed together does not depend on timing.
        allowed_batch_sizes: Sizes that whoever runs a batch pads it to: increasing, the last one
            is `max_batch_size`. Empty: any size.
        batch_padding_policy: What becomes of a batch that runs before it is full.
    """

    max_batch_size: int
    batch_timeout_secs: float = 0.0
    max_enqueued_batches: int = 10
    enable_large_batch_splitting: bool = True
    merge_tasks: bool = True
    allowed_batch_sizes: tuple[int, ...] = ()
    batch_padding_policy: BatchPaddingPolicy = BatchPaddingPolicy.PAD_UP

    def __post_init__(self) -> None:
        if self.max_batch_size < 1:
            raise InvalidArgumentError(
                f"max_batch_size must be 1 or more rows, got {self.max_batch_size}"
            )
        if not 0 <= self.batch_timeout_secs < math.inf:
            raise InvalidArgumentError(
                f"batch_timeout_secs must be finite and 0 or more, got {self.batch_timeout_secs}"
            )
        if self.max_enqueued_batches < 1:
            raise InvalidArgumentError(
                f"max_enqueued_batches must be 1 or more, got {self.max_enqueued_batches}"
            )
        self._check_allowed_sizes()

    def _check_allowed_sizes(self) -> None:
        sizes = self.allowed_batch_sizes
        if not sizes:
            return
        increases = all(a < b for a, b in pairwise(sizes))
        if sizes[0] < 1 or not increases or sizes[-1] != self.max_batch_size:
            raise InvalidArgumentError(
                f"allowed_batch_sizes must be 1 or more, increase, and end with max_batch_size={self.max_batch_size}, got {list(sizes)}"
            )

    @property
    def max_task_size(self) -> int:
        """Rows of the largest task that an empty queue can take."""
        if not self.enable_large_batch_splitting:
            return self.max_batch_size
        return self.max_batch_size * self.max_enqueued_batches


class BatchQueue(Generic[T]):
    """Batches in order of arrival, at most `max_enqueued_batches`; only the last may be open.

    A batch is due when it is full, when its timeout has passed, or after `flush` or `close`.
    Not thread-safe: its owner guards it. Time goes in as an argument and out as `due_secs`.
    """

    def __init__(self, options: QueueOptions) -> None:
        self._options = options
        self._target = options.max_batch_size
        self._batches: deque[Batch[T]] = deque()
        self._open: Batch[T] | None = None  # always the last of _batches
        self._open_room = 0  # rows that still fit into _open
        self._open_due_secs = _NEVER
        self._num_tasks = 0
        self._is_closed = False

    @property
    def num_tasks(self) -> int:
        """Tasks waiting, each part of a split one counted."""
        return self._num_tasks

    @property
    def num_batches(self) -> int:
        """Batches waiting, the open one included."""
        return len(self._batches)

    @property
    def head(self) -> Batch[T] | None:
        """The batch that `take` returns next; None while there is none."""
        return self._batches[0] if self._batches else None

    @property
    def is_closed(self) -> bool:
        """Whether the queue takes no more tasks."""
        return self._is_closed

    @property
    def capacity(self) -> int:
        """How many more tasks of one row fit."""
        rows_per_batch = self._target if self._options.merge_tasks else 1
        return self._num_free_batches * rows_per_batch + self._open_room

    @property
    def due_secs(self) -> float:
        """The time from which `take` returns a batch: -inf for at once, inf while it is empty."""
        if not self._batches:
            return _NEVER
        return self._open_due_secs if self._batches[0] is self._open else _NOW

    def fits_whole(self, size: int) -> bool:
        """Whether a task of `size` rows may be added now without being cut."""
        if size <= self._open_room:
            return True
        options = self._options
        is_cut = options.enable_large_batch_splitting and self._open_room
        limit = self._target if options.enable_large_batch_splitting else options.max_batch_size
        return self._num_free_batches > 0 and size <= limit and not is_cut

    def has_room(self, size: int) -> bool:
        """Whether a task of `size` rows may be added now, cut where that is allowed."""
        if not self._options.enable_large_batch_splitting:
            return self.fits_whole(size)
        if not self._batches:
            return size <= self._options.max_task_size
        return size <= self._open_room + self._num_free_batches * self._target

    def part_sizes(self, size: int) -> list[int]:
        """Returns the sizes of the parts in which a task of `size` rows must be added now."""
        if not self._options.enable_large_batch_splitting:
            return [size]
        return split_sizes(size, self._open_room, self._target)

    def add(self, parts: Sequence[T], now: float) -> None:
        """Adds one task, cut as `part_sizes` says; the caller has checked `has_room`."""
        for part in parts:
            self._add_part(part, now)

    def take(self, now: float) -> Batch[T] | None:
        """Removes, closes and returns the oldest batch if it is due."""
        batches = self._batches
        if not batches or (batches[0] is self._open and self._open_due_secs > now):
            return None
        batch = batches.popleft()
        if batch is self._open:
            is_flushed = self._open_due_secs == _NOW
            rest = self._trim(batch)
            self._close_open()
            if rest:
                self._reopen(rest, batch, now)
                if is_flushed:
                    self.flush()
        self._num_tasks -= len(batch.tasks)
        return batch

    def set_target_batch_size(self, num_rows: int) -> None:
        """Lets batches that begin from now on have `num_rows`; `max_batch_size` stays the bound.

        Without splitting, a task of more rows is a batch by itself.
        """
        self._target = min(num_rows, self._options.max_batch_size)

    def flush(self) -> None:
        """Makes the open batch due; tasks may still join it until it is taken."""
        self._open_due_secs = _NOW

    def close(self) -> None:
        """Takes no more tasks; what is waiting is due."""
        self._is_closed = True
        self.flush()

    @property
    def _num_free_batches(self) -> int:
        # While the target is small, a single large task may be more batches than are allowed.
        return max(0, self._options.max_enqueued_batches - len(self._batches))

    def _add_part(self, part: T, now: float) -> None:
        size = part.size
        if size > self._open_room:
            self._close_open()
        batch = self._open or self._start(now)
        batch.add(part)
        self._num_tasks += 1
        self._open_room -= size
        if self._open_room <= 0 or not self._options.merge_tasks:
            self._close_open()

    def _start(self, now: float) -> Batch[T]:
        batch: Batch[T] = Batch(started_secs=now)
        self._batches.append(batch)
        self._open = batch
        self._open_room = self._target
        self._open_due_secs = now + self._options.batch_timeout_secs
        return batch

    def _trim(self, batch: Batch[T]) -> list[T]:
        """Cuts an open batch to the allowed size below its own, and returns the tasks left over."""
        options = self._options
        if options.batch_padding_policy is not BatchPaddingPolicy.BATCH_DOWN:
            return []
        below = [size for size in options.allowed_batch_sizes if size <= batch.size]
        return batch.trim_to(below[-1]) if below else []

    def _reopen(self, rest: Sequence[T], taken: Batch[T], now: float) -> None:
        """Begins a batch with tasks left over, which have waited already: in proportion, as long."""
        left = sum(task.size for task in rest)
        waited_secs = (now - taken.started_secs) * taken.size / (taken.size + left)
        self._start(taken.started_secs + waited_secs)
        for part in rest:
            self._num_tasks -= 1
            self._add_part(part, now)

    def _close_open(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None
        self._open_room = 0
