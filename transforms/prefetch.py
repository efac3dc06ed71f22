"""Runs an iterator on a thread of its own, a bounded number of bytes ahead of its consumer.

What was read counts against a budget that the readers of other units share, until the consumer gives
it back. So the budget may be used up by what this consumer has not given back yet; then waiting for
the next item would be in vain, and None comes instead.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from typing_extensions import override

from servable_core.runtime.closeable import Closeable
from servable_core.runtime.executor import start_thread
from transforms.byte_budget import ByteBudget

T = TypeVar("T")


class Prefetcher(Closeable, Generic[T]):
    """Iterates over `items` ahead of time; one consumer.

    A context manager: leaving it stops the thread at its next item and waits for it, so no file
    stays open. Errors of the iterator are raised where the item would have come.
    """

    def __init__(
        self,
        items: Iterator[T],
        *,
        size_bytes: Callable[[T], int],
        max_bytes: int,
        budget: ByteBudget,
        name: str,
    ) -> None:
        """Starts to read. At least one item is always read ahead, however large.

        Args:
            items: What to read; closed in the end, if it can be.
            size_bytes: Returns the size of an item, always the same one.
            max_bytes: Bound of what is read and not taken by the consumer yet.
            budget: Bound of what is read and not given back yet, shared with others.
            name: Of the thread.
        """
        self._items = items
        self._size_bytes = size_bytes
        self._max_bytes = max_bytes
        self._budget = budget
        self._changed = threading.Condition()
        self._ready: deque[T] = deque()  # Guarded by _changed.
        self._ready_bytes = 0  # Guarded by _changed.
        self._finished = False  # Guarded by _changed.
        self._closed = False  # Guarded by _changed.
        self._error: BaseException | None = None  # Guarded by _changed.
        self._thread = start_thread(self._fill, name=name)

    @override
    def close(self) -> None:
        """Stops reading and waits for the thread; idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._budget.forget(self)  # so that the thread does not wait for it
        self._thread.join()
        self._budget.forget(self)

    def give_back(self, item: T) -> None:
        """Tells that the consumer is through with an item."""
        self._budget.release(self, self._size_bytes(item))

    def __iter__(self) -> Iterator[T | None]:
        """Yields the items; None where no more can be read before one is given back."""
        while True:
            with self._changed:
                while not self._ready and not self._finished and not self._budget.is_waiting(self):
                    self._changed.wait()
                if not self._ready and self._finished:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._take() if self._ready else None
            yield item

    def _take(self) -> T:
        item = self._ready.popleft()
        self._ready_bytes -= self._size_bytes(item)
        self._changed.notify_all()
        return item

    def _fill(self) -> None:
        error: BaseException | None = None
        try:
            self._read()
        except BaseException as caught:  # noqa: BLE001 - handed to the consumer
            error = caught
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def _read(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    break
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()

    def _put(self, item: T) -> bool:
        size_bytes = self._size_bytes(item)
        if not self._budget.acquire(self, size_bytes, on_wait=self._notify):
            return False
        with self._changed:
            while self._ready and self._ready_bytes + size_bytes > self._max_bytes:
                if self._closed:
                    return False
                self._changed.wait()
            if self._closed:
                return False
            self._ready.append(item)
            self._ready_bytes += size_bytes
            self._changed.notify_all()
            return True

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
