"""What a queue of a scheduler asks of the state machine behind it."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from servable_core.batching.batch import Batch, BatchTask

T = TypeVar("T", bound=BatchTask)


class BatchFormer(Protocol[T]):
    """Puts tasks into batches and says when each may run; no time, threads or locks of its own.

    Implementations are not thread-safe: their owner guards them.
    """

    @property
    def num_tasks(self) -> int:
        """Tasks waiting, each part of a split one counted."""

    @property
    def num_batches(self) -> int:
        """Batches that nobody has taken."""

    @property
    def head(self) -> Batch[T] | None:
        """The batch that `take` returns next; None while there is none."""

    @property
    def is_closed(self) -> bool:
        """Whether no more tasks may be added."""

    @property
    def capacity(self) -> int:
        """How many more tasks of one row fit."""

    @property
    def due_secs(self) -> float:
        """The time from which `take` returns a batch: -inf for at once, inf for never."""

    def fits_whole(self, size: int) -> bool:
        """Whether a task of `size` rows may be added now without being cut."""

    def has_room(self, size: int) -> bool:
        """Whether a task of `size` rows may be added now, cut where that is allowed."""

    def part_sizes(self, size: int) -> list[int]:
        """Returns the sizes of the parts in which a task of `size` rows must be added now."""

    def add(self, parts: Sequence[T], now: float) -> None:
        """Adds one task, cut as `part_sizes` says; the caller has checked `has_room`."""

    def take(self, now: float) -> Batch[T] | None:
        """Removes and returns the oldest batch if it is due."""

    def set_target_batch_size(self, num_rows: int) -> None:
        """Lets batches that begin from now on have at most `num_rows`; those who cannot ignore it."""

    def flush(self) -> None:
        """Lets what waits run without waiting for more."""

    def close(self) -> None:
        """Takes no more tasks; what is waiting is due."""
