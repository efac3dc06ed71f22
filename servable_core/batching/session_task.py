"""Submitted inputs on their way through the batches, whole or in parts, and the future they answer."""

import contextlib
import math
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any

import numpy as np
from typing_extensions import override

from servable_core.batching.ragged_array import RaggedArray, concat_ragged
from servable_core.batching.row_errors import RowErrors
from servable_core.errors import DeadlineExceededError, FailedPreconditionError

Outputs = dict[str, Any]


class SessionTask:
    """One submission; the batch thread that has it calls `claim`, then `finish` or `fail`.

    Thread-safe, in that the future is; its attributes never change.

    Attributes:
        inputs: Arrays by name, equal in their first dimension.
        num_rows: That first dimension.
        size: Places taken in a batch: `num_rows`, but 1 for a task without rows, so that queues
            stay bounded.
        submitted_secs: When the caller handed it over.
        deadline_secs: When nobody wants the outputs any more.
        future: Where the outputs go.
        unbatched: Names of inputs and outputs without a batch dimension.
    """

    __slots__ = (
        "deadline_secs",
        "future",
        "inputs",
        "num_rows",
        "size",
        "submitted_secs",
        "unbatched",
    )

    def __init__(
        self,
        inputs: Mapping[str, Any],
        num_rows: int,
        submitted_secs: float,
        future: "Future[Outputs]",
        *,
        deadline_secs: float = math.inf,
        unbatched: Collection[str] = (),
    ) -> None:
        self.inputs = inputs
        self.num_rows = num_rows
        self.size = num_rows or 1
        self.submitted_secs = submitted_secs
        self.deadline_secs = deadline_secs
        self.future = future
        self.unbatched = unbatched

    def claim(self, now: float) -> bool:
        """Whether the outputs are still wanted; from then on the future cannot be cancelled."""
        if not self._is_wanted():
            return False
        if now < self.deadline_secs:
            return True
        waited_secs = now - self.submitted_secs
        message = f"the task waited {waited_secs:.3g} s for its batch, past its deadline"
        self.fail(DeadlineExceededError(message))
        return False

    def finish(self, outputs: Outputs, errors: Mapping[int, BaseException]) -> None:
        """Hands over what became of this task's rows.

        Args:
            outputs: Those of the rows that succeeded, in order.
            errors: Those of the other rows, by their index in the task.
        """
        if errors:
            self.fail(RowErrors.of(errors, self.num_rows, outputs))
            return
        try:  # noqa: SIM105 - once per task, where `suppress` costs more than all else here
            self.future.set_result(outputs)
        except InvalidStateError:  # failed already: it took too long
            pass

    def give_up(self, errors: Mapping[int, BaseException]) -> None:
        """Fails the task for the rows in `errors`; what became of the others is not known."""
        self.fail(RowErrors.of(errors, self.num_rows, None))

    def fail(self, error: BaseException) -> None:
        """Tells the caller why there are no outputs; unless it has got an answer already."""
        with contextlib.suppress(InvalidStateError):
            self.future.set_exception(error)

    def _is_wanted(self) -> bool:
        return self.future.set_running_or_notify_cancel()


class _Parts:
    """Joins what became of the parts of one task; thread-safe.

    The rows of the parts, one after the other, are those of the task, or these permuted: then row i
    of the parts is row `order[i]` of the task.
    """

    def __init__(self, whole: SessionTask, num_parts: int, order: np.ndarray | None) -> None:
        self._whole = whole
        self._order = order
        self._lock = threading.Lock()
        self._outputs: list[Outputs] = [{}] * num_parts  # Guarded by _lock.
        self._errors: dict[int, BaseException] = {}  # By row of the parts. Guarded by _lock.
        self._num_missing = num_parts  # Guarded by _lock.
        self._is_wanted: bool | None = None  # Guarded by _lock. None: not asked yet.

    def is_wanted(self) -> bool:
        with self._lock:
            if self._is_wanted is None:  # a future may be asked only once
                self._is_wanted = self._whole._is_wanted()  # noqa: SLF001 - parts of the same
            # It has an answer already if another part has failed.
            return self._is_wanted and not self._whole.future.done()

    def finish(
        self, index: int, first_row: int, outputs: Outputs, errors: Mapping[int, BaseException]
    ) -> None:
        with self._lock:
            self._outputs[index] = outputs
            self._errors.update((first_row + row, error) for row, error in errors.items())
            self._num_missing -= 1
            is_complete = not self._num_missing
        if is_complete:  # so nobody else touches the outputs any more
            self._join()

    def give_up(self, first_row: int, errors: Mapping[int, BaseException]) -> None:
        self._whole.give_up({self._row(first_row + row): error for row, error in errors.items()})

    def fail(self, error: BaseException) -> None:
        self._whole.fail(error)

    def _row(self, row: int) -> int:
        """Returns which row of the task a row of the parts is."""
        return row if self._order is None else int(self._order[row])

    def _join(self) -> None:
        try:
            unbatched = self._whole.unbatched
            outputs = concat_outputs([each for each in self._outputs if each], unbatched)
            errors: Mapping[int, BaseException] = self._errors
            if self._order is not None:
                outputs, errors = _in_order(outputs, errors, self._order, unbatched)
        except Exception as error:  # noqa: BLE001 - the future carries it to the one who asks
            self.fail(error)
        else:
            self._whole.finish(outputs, errors)


class _PartTask(SessionTask):
    """Consecutive rows of a task."""

    __slots__ = ("_first_row", "_index", "_parts")

    def __init__(
        self,
        whole: SessionTask,
        inputs: Mapping[str, Any],
        rows: slice,
        *,
        parts: _Parts,
        index: int,
    ) -> None:
        own = {
            name: value if name in whole.unbatched else value[rows]
            for name, value in inputs.items()
        }
        super().__init__(
            own,
            rows.stop - rows.start,
            whole.submitted_secs,
            whole.future,
            deadline_secs=whole.deadline_secs,
            unbatched=whole.unbatched,
        )
        self._first_row = rows.start
        self._parts = parts
        self._index = index

    @override
    def _is_wanted(self) -> bool:
        return self._parts.is_wanted()

    @override
    def finish(self, outputs: Outputs, errors: Mapping[int, BaseException]) -> None:
        self._parts.finish(self._index, self._first_row, outputs, errors)

    @override
    def give_up(self, errors: Mapping[int, BaseException]) -> None:
        self._parts.give_up(self._first_row, errors)

    @override
    def fail(self, error: BaseException) -> None:
        self._parts.fail(error)


def split_task(task: SessionTask, sizes: Sequence[int]) -> list[SessionTask]:
    """Cuts a task with rows into consecutive parts; its future gets their outputs, joined in order."""
    return _cut(task, task.inputs, sizes, None)


def split_permuted(
    task: SessionTask, inputs: Mapping[str, Any], order: np.ndarray, sizes: Sequence[int]
) -> list[SessionTask]:
    """Cuts a task whose rows were permuted; its future gets the outputs in the task's own order.

    Args:
        task: The task.
        inputs: Its inputs, permuted: row i is row `order[i]` of the task.
        order: The permutation.
        sizes: Rows of each part, which add up to those of the task.
    """
    return _cut(task, inputs, sizes, order)


def _cut(
    task: SessionTask, inputs: Mapping[str, Any], sizes: Sequence[int], order: np.ndarray | None
) -> list[SessionTask]:
    parts = _Parts(task, len(sizes), order)
    tasks: list[SessionTask] = []
    start = 0
    for index, size in enumerate(sizes):
        rows = slice(start, start + size)
        tasks.append(_PartTask(task, inputs, rows, parts=parts, index=index))
        start += size
    return tasks


def concat_outputs(outputs: Sequence[Outputs], unbatched: Collection[str]) -> Outputs:
    """Returns the rows of all `outputs` in order; of those in `unbatched`, the first."""
    if len(outputs) < 2:
        return outputs[0] if outputs else {}
    return {
        name: value if name in unbatched else _concat(name, [each[name] for each in outputs])
        for name, value in outputs[0].items()
    }


def _concat(name: str, values: Sequence[Any]) -> Any:
    if isinstance(values[0], RaggedArray):
        return concat_ragged(values)
    try:
        return np.concatenate(values)
    except ValueError as error:
        shapes = sorted({tuple(value.shape[1:]) for value in values})
        raise FailedPreconditionError(
            f"output {name!r} has rows of shapes {shapes} in different batches, and a task has some of "
            "each; if its second dimension is the length of a ragged input, declare it as ragged"
        ) from error


def _in_order(
    outputs: Outputs,
    errors: Mapping[int, BaseException],
    order: np.ndarray,
    unbatched: Collection[str],
) -> tuple[Outputs, dict[int, BaseException]]:
    """Puts the rows back: `order[i]` says where row i of the parts belongs."""
    succeeded = np.delete(order, list(errors)) if errors else order
    # Where, among the rows that succeeded, each is found, in the task's order.
    places = np.argsort(succeeded)
    in_order = {
        name: value if name in unbatched else _take(value, places)
        for name, value in outputs.items()
    }
    return in_order, {int(order[row]): error for row, error in errors.items()}


def _take(value: Any, rows: np.ndarray) -> Any:
    return value.take(rows) if isinstance(value, RaggedArray) else value[rows]
