"""Each distinct input of a unit is computed once, and its outputs are given to all rows that have it.

What a unit has submitted to a model is remembered: the bytes of each input, and the future of its
outputs. Only rows that are new are submitted. When what is remembered takes too much memory, all of
it is forgotten, and rows begin to count as new again. When that happens depends on the rows alone,
never on timing: so jobs that must give the same bytes on every run submit the same rows.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from servable_core.batching.merging import concat_values
from servable_core.batching.ragged_array import RaggedArray
from servable_core.batching.row_errors import RowErrors
from servable_core.batching.row_isolation import is_about_rows
from transforms.row_keys import row_keys
from transforms.submission import Outputs

_Submit = Callable[[dict[str, Any]], "Future[Outputs]"]

_MAX_BYTES = 64 << 20
_KEY_OVERHEAD_BYTES = 200  # of a short key in a dict, with its number


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows that were submitted together.

    Attributes:
        batch: Index of the batch that they were new in.
        first: Number of the first of them.
        num_rows: How many they are; numbered in order.
        future: Their outputs.
    """

    batch: int
    first: int
    num_rows: int
    future: "Future[Outputs]"

    def outcome(
        self, timeout_secs: float | None
    ) -> tuple[Outputs | None, dict[int, BaseException]]:
        """Returns the outputs of the rows that did not fail, and why the others did.

        Without outputs nothing is known of rows other than the one that failed.

        Raises:
            Exception: No row is to blame.
        """
        try:
            return self.future.result(timeout_secs), {}
        except RowErrors as error:
            return error.outputs, error.errors
        except Exception as error:  # of a single row, the model's own
            if self.num_rows > 1 or not self.future.done() or not is_about_rows(error):
                raise
            return {}, {0: error}


class SharedOutputs:
    """The outputs of a batch, some of whose rows were computed with earlier ones."""

    def __init__(self, parts: list[_Part], part_of: np.ndarray, row_of: np.ndarray) -> None:
        """Takes for each row of the batch the index of its part, and its row in there."""
        self._parts = parts
        self._part_of = part_of
        self._row_of = row_of

    def done(self) -> bool:
        """Whether `result` would return, or raise, at once."""
        return all(part.future.done() for part in self._parts)

    def cancel(self) -> None:
        """Gives up what does not run yet."""
        for part in self._parts:
            part.future.cancel()

    def result(self, timeout_secs: float | None = None) -> Outputs:
        """Waits for the outputs of all rows.

        Raises:
            TimeoutError: They are not there after `timeout_secs`.
            RowErrors: Rows failed; each row whose input failed is among them. A single row's error
                comes as it is.
            Exception: No row is to blame.
        """
        order = np.argsort(self._part_of, kind="stable")
        sizes = np.bincount(self._part_of, minlength=len(self._parts))
        rows_of_parts = np.split(order, np.cumsum(sizes)[:-1])
        pieces: list[Outputs] = []
        good: list[np.ndarray] = []
        errors: dict[int, BaseException] = {}
        for part, rows in zip(self._parts, rows_of_parts, strict=True):
            outputs, own_errors = part.outcome(timeout_secs)
            failed = np.array(sorted(own_errors), np.int64)
            is_bad = np.isin(self._row_of[rows], failed)
            errors |= {row: own_errors[int(self._row_of[row])] for row in rows[is_bad].tolist()}
            if outputs is None:
                raise RowErrors.of(errors, len(order), None)
            kept = rows[~is_bad]
            if len(kept):
                positions = self._row_of[kept] - np.searchsorted(failed, self._row_of[kept])
                pieces.append({name: take_rows(each, positions) for name, each in outputs.items()})
                good.append(kept)
        joined = _in_order(pieces, good)
        if errors:
            raise RowErrors.of(errors, len(order), joined)
        return joined


class DistinctRows:
    """The distinct inputs of one unit that one model was given. One thread at a time.

    Attributes:
        num_reused: Rows that were not submitted, since an equal one was.
    """

    def __init__(self, *, max_batches_in_flight: int, max_bytes: int = _MAX_BYTES) -> None:
        """Remembers nothing yet.

        Args:
            max_batches_in_flight: Batches that may be submitted before the outputs of the first
                of them are there.
            max_bytes: What the inputs remembered, and their outputs, may take. The outputs of
                batches in flight come on top.
        """
        self._max_batches_in_flight = max_batches_in_flight
        self._max_bytes = max_bytes
        self._batch = 0
        self._numbers: dict[bytes, int] = {}
        self._parts: list[_Part] = []
        self._uncounted: deque[_Part] = deque()
        self._num_bytes = 0
        self.num_reused = 0

    def start_batch(self) -> None:
        """Begins with the next batch; its rows come in one `submit`, or in several."""
        self._batch += 1
        while self._uncounted and self._is_settled(self._uncounted[0]):
            self._num_bytes += _output_bytes(self._uncounted.popleft().future)
        if self._num_bytes > self._max_bytes:
            self._numbers, self._parts, self._num_bytes = {}, [], 0
            self._uncounted.clear()

    def _is_settled(self, part: _Part) -> bool:
        """Whether its outputs are there for sure, however slow the model is."""
        return part.batch + self._max_batches_in_flight < self._batch

    def submit(self, submit: _Submit, inputs: dict[str, Any]) -> "SharedOutputs | Future[Outputs]":
        """Submits the rows that are new, each once, and returns the outputs of all.

        Args:
            submit: Hands inputs to the model.
            inputs: Arrays, `RaggedArray`s, or tensors of strings, equal in their first dimension.
        """
        keys = row_keys(inputs)
        if not keys:
            return submit(inputs)
        first = len(self._numbers)
        number = self._numbers.setdefault
        numbers = np.fromiter((number(key, len(self._numbers)) for key in keys), np.int64)
        new = np.flatnonzero(numbers >= first)
        if len(new):
            new = new[np.unique(numbers[new], return_index=True)[1]]
            is_all = len(new) == len(keys)
            own = {name: take_rows(each, new) for name, each in inputs.items()}
            self._add(submit(inputs if is_all else own), [keys[row] for row in new.tolist()], first)
        self.num_reused += len(keys) - len(new)
        return self._outputs_of(numbers)

    def _add(self, future: "Future[Outputs]", keys: list[bytes], first: int) -> None:
        part = _Part(self._batch, first, len(keys), future)
        self._parts.append(part)
        self._uncounted.append(part)
        self._num_bytes += sum(map(len, keys)) + _KEY_OVERHEAD_BYTES * len(keys)

    def _outputs_of(self, numbers: np.ndarray) -> SharedOutputs:
        firsts = np.array([part.first for part in self._parts])
        part_of = np.searchsorted(firsts, numbers, side="right") - 1
        used, own_part_of = np.unique(part_of, return_inverse=True)
        parts = [self._parts[index] for index in used.tolist()]
        return SharedOutputs(parts, own_part_of, numbers - firsts[part_of])


def take_rows(value: Any, rows: np.ndarray) -> Any:
    """Returns the rows of these indices, in their order; all of them in order are not copied."""
    if len(rows) == value.shape[0] and (np.diff(rows) == 1).all():
        return value
    if isinstance(value, RaggedArray):
        return value.take(rows)
    if isinstance(value, np.ndarray):
        return value[rows]
    from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow

    return import_tensorflow().gather(value, rows)


def _in_order(pieces: list[Outputs], rows: list[np.ndarray]) -> Outputs:
    """Returns the outputs of all rows, by their numbers."""
    if not pieces:
        return {}
    order = np.argsort(np.concatenate(rows))
    return {
        name: take_rows(concat_values([each[name] for each in pieces], np.concatenate), order)
        for name in pieces[0]
    }


def _output_bytes(future: "Future[Outputs]") -> int:
    if future.cancelled() or future.exception() is not None:
        return 0
    return sum(map(_held_bytes, future.result().values()))


def _held_bytes(value: np.ndarray | RaggedArray) -> int:
    """Returns about how much memory a value keeps from being freed: that of all it is a view of."""
    if isinstance(value, RaggedArray):
        return _held_bytes(value.values) + value.offsets.nbytes
    texts = sum(map(len, value.flat)) if value.dtype.kind == "O" else 0
    return max(value.nbytes, getattr(value.base, "nbytes", 0)) + texts
