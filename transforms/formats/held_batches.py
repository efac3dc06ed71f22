"""Decoded rows that wait until all of their row group is decoded, within a bound."""

from collections import deque
from collections.abc import Iterator

import pyarrow as pa

from transforms.byte_budget import ByteBudget

MAX_HELD_BYTES = 64 << 20


class HeldBatches:
    """The rows of a group that wait until all of it is decoded, unless they are too many.

    Attributes:
        is_whole: Whether all that were added are here.
    """

    def __init__(self, budget: ByteBudget) -> None:
        """Makes a holder that has none yet, and counts against `budget` what it has."""
        self._budget = budget
        self._batches: deque[pa.RecordBatch] = deque()
        self._num_bytes = 0
        self.is_whole = True

    def add(self, batch: pa.RecordBatch) -> None:
        """Keeps a batch; if there is no room for it, none is kept any more."""
        num_bytes = batch.nbytes
        self.is_whole = (
            self.is_whole
            and self._num_bytes + num_bytes <= MAX_HELD_BYTES
            and self._budget.try_acquire(self, num_bytes)
        )
        if self.is_whole:
            self._batches.append(batch)
            self._num_bytes += num_bytes
        else:
            self.close()

    def take(self) -> Iterator[pa.RecordBatch]:
        """Yields all batches; from then on, each is the receiver's to count."""
        while self._batches:
            batch = self._batches.popleft()
            self._num_bytes -= batch.nbytes
            self._budget.release(self, batch.nbytes)
            yield batch

    def close(self) -> None:
        """Lets go of all batches."""
        self._batches.clear()
        self._num_bytes = 0
        self._budget.forget(self)
