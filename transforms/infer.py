"""Batches of rows through models: submits ahead, yields results in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any

from servable_core.batching.row_errors import RowErrors
from servable_core.errors import DeadlineExceededError, InternalError, error_for_code
from servable_core.runtime.stack_dump import all_stacks
from transforms.input_batch import InputBatch

Outputs = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class InferredBatch:
    """Rows with what every model said of them.

    Attributes:
        batch: The input rows.
        outputs: One dict of arrays for each model, in the order of the models.
    """

    batch: InputBatch
    outputs: tuple[Outputs, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class InFlightWindow:
    """How far submission may run ahead of the consumer.

    Attributes:
        max_batches: Batches submitted and not yet consumed.
        max_bytes: Their bytes; one batch is always allowed.
    """

    max_batches: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class _Pending:
    batch: InputBatch
    futures: tuple["Future[Outputs]", ...]


def infer_batches(
    batches: Iterable[InputBatch],
    submit: Callable[[InputBatch], Sequence["Future[Outputs]"]],
    *,
    window: InFlightWindow,
    timeout_secs: float,
    check: Callable[[], None],
    flush: Callable[[bool], None] = lambda _: None,
) -> Generator[InferredBatch, None, None]:
    """Yields every batch with its outputs, in input order.

    Args:
        batches: Rows; pulled on the caller's thread, only as far ahead as `window` allows.
        submit: Hands a batch to all models; while their queues are full it blocks, up to the timeout.
        window: Bound of what is in flight.
        timeout_secs: How long to wait for one batch, be it for its result or for room for it.
        check: Called per batch; raises to stop the job.
        flush: Lets rows run that wait for others to share a batch with: with True all of them, for
            no more will come; with False the oldest, for no more will come until they are done.

    Raises:
        DeadlineExceededError: A model call hangs; the message has the stacks of all threads.
        Exception: What a model raised.
    """
    pending: deque[_Pending] = deque()
    pending_bytes = 0
    try:
        for batch in batches:
            check()
            pending.append(_submit(batch, submit, timeout_secs))
            pending_bytes += batch.size_bytes
            while pending and (
                _is_done(pending[0])
                or len(pending) > window.max_batches
                or (len(pending) > 1 and pending_bytes > window.max_bytes)
            ):
                if not _is_done(pending[0]):
                    flush(False)
                pending_bytes -= pending[0].batch.size_bytes
                yield _wait(pending.popleft(), timeout_secs)
        flush(True)
        while pending:
            check()
            yield _wait(pending.popleft(), timeout_secs)
    finally:
        for each in pending:
            for future in each.futures:
                future.cancel()


def _submit(
    batch: InputBatch,
    submit: Callable[[InputBatch], Sequence["Future[Outputs]"]],
    timeout_secs: float,
) -> _Pending:
    try:
        return _Pending(batch, tuple(submit(batch)))
    except DeadlineExceededError as error:
        raise _too_slow(batch, timeout_secs) from error


def _is_done(pending: _Pending) -> bool:
    return all(future.done() for future in pending.futures)


def _wait(pending: _Pending, timeout_secs: float) -> InferredBatch:
    try:
        outputs = tuple(future.result(timeout_secs) for future in pending.futures)
    except RowErrors as error:
        raise _of_row(pending.batch, error) from error
    except FutureTimeoutError as error:
        if isinstance(error, DeadlineExceededError):
            raise
        raise _too_slow(pending.batch, timeout_secs) from error
    return InferredBatch(batch=pending.batch, outputs=outputs)


def _of_row(batch: InputBatch, error: RowErrors) -> Exception:
    """Returns the error of the first row that failed, which says where that row comes from."""
    row, cause = next(iter(error.errors.items()))
    message = f"{batch.locate(row)}: {cause}"
    return error_for_code(error.code.value, message) or InternalError(message)


def _too_slow(batch: InputBatch, timeout_secs: float) -> DeadlineExceededError:
    return DeadlineExceededError(
        f"a batch of {batch.num_rows} rows took longer than --batch_timeout_secs={timeout_secs:g}; what the threads are doing:\n{all_stacks()}"
    )
