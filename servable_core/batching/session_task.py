"""Submitted inputs on their way through the batches, whole or in parts, and the future they answer."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from typing_extensions import override

Outputs = dict[str, np.ndarray]


class SessionTask:
    """One submission; the batch thread that has it calls `claim`, then `finish` or `fail`.

    Thread-safe, in that the future is; its attributes never change.

    Attributes:
        inputs: Arrays by name, equal in their first dimension.
        num_rows: That first dimension.
        size: Places taken in a batch: `num_rows`, but 1 for a task without rows, so that queues
            stay bounded.
        submitted_secs: When the caller handed it over.
        future: Where the outputs go.
    """

    __slots__ = ("future", "inputs", "num_rows", "size", "submitted_secs")

    def __init__(
        self,
        inputs: Mapping[str, Any],
        num_rows: int,
        submitted_secs: float,
        future: "Future[Outputs]",
    ) -> None:
        self.inputs = inputs
        self.num_rows = num_rows
        self.size = num_rows or 1
        self.submitted_secs = submitted_secs
        self.future = future

    def claim(self) -> bool:
        """Whether the outputs are still wanted; from then on the future cannot be cancelled."""
        return self.future.set_running_or_notify_cancel()

    def finish(self, outputs: Outputs) -> None:
        """Hands over the outputs of this task's rows."""
        self.future.set_result(outputs)

    def fail(self, error: BaseException) -> None:
        """Tells the caller why there are no outputs."""
        self.future.set_exception(error)


class _Parts:
    """Joins the outputs of the parts of one task; the first error ends it. Thread-safe."""

    def __init__(self, whole: SessionTask, num_parts: int) -> None:
        self._whole = whole
        self._lock = threading.Lock()
        self._outputs: list[Outputs] = [{}] * num_parts  # Guarded by _lock.
        self._num_missing = num_parts  # Guarded by _lock.
        self._is_claimed: bool | None = None  # Guarded by _lock. None: not asked yet.
        self._has_failed = False  # Guarded by _lock.

    def claim(self) -> bool:
        with self._lock:
            if self._is_claimed is None:
                self._is_claimed = self._whole.claim()
            return self._is_claimed and not self._has_failed

    def finish(self, index: int, outputs: Outputs) -> None:
        with self._lock:
            self._outputs[index] = outputs
            self._num_missing -= 1
            is_complete = not self._num_missing
        if is_complete:  # so nobody else touches the outputs any more
            self._join()

    def fail(self, error: BaseException) -> None:
        with self._lock:
            is_first = not self._has_failed
            self._has_failed = True
        if is_first:
            self._whole.fail(error)

    def _join(self) -> None:
        parts = self._outputs
        try:
            outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        except Exception as error:  # noqa: BLE001 - the future carries it to the one who asks
            self.fail(error)
        else:
            self._whole.finish(outputs)


class _PartTask(SessionTask):
    """Some of the rows of a task."""

    __slots__ = ("_index", "_parts")

    def __init__(
        self, whole: SessionTask, start: int, size: int, parts: _Parts, index: int
    ) -> None:
        inputs = {name: value[start : start + size] for name, value in whole.inputs.items()}
        super().__init__(inputs, size, whole.submitted_secs, whole.future)
        self._parts = parts
        self._index = index

    @override
    def claim(self) -> bool:
        return self._parts.claim()

    @override
    def finish(self, outputs: Outputs) -> None:
        self._parts.finish(self._index, outputs)

    @override
    def fail(self, error: BaseException) -> None:
        self._parts.fail(error)


def split_task(task: SessionTask, sizes: Sequence[int]) -> list[SessionTask]:
    """Cuts a task with rows into consecutive parts; its future gets their outputs, joined in order."""
    parts = _Parts(task, len(sizes))
    tasks: list[SessionTask] = []
    start = 0
    for index, size in enumerate(sizes):
        tasks.append(_PartTask(task, start, size, parts, index))
        start += size
    return tasks
