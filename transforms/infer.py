"""Batches of rows through models: submits ahead, yields results in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

from servable_core.errors import DeadlineExceededError
from servable_core.runtime.stack_dump import all_stacks
from transforms.input_batch import InputBatch
from transforms.submission import ModelOutcome, Submission


@dataclass(frozen=True, kw_only=True, slots=True)
class InferredBatch:
    """Rows with what every model said of them.

    Attributes:
        batch: The input rows.
        outcomes: One for each model, in the order of the models.
    """

    batch: InputBatch
    outcomes: tuple[ModelOutcome, ...]


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
    submissions: tuple[Submission, ...]


def infer_batches(
    batches: Iterable[InputBatch | None],
    submit: Callable[[InputBatch], Sequence[Submission]],
    *,
    window: InFlightWindow,
    timeout_secs: float,
    check: Callable[[], None],
    flush: Callable[[bool], None] = lambda _: None,
    give_back: Callable[[InputBatch], None] = lambda _: None,
) -> Generator[InferredBatch, None, None]:
    """Yields every batch with its outputs, in input order.

    Args:
        batches: Rows; pulled on the caller's thread, only as far ahead as `window` allows. None tells
            that no more come before one is given back.
        submit: Hands a batch to all models; while their queues are full it blocks, up to the timeout.
        window: Bound of what is in flight.
        timeout_secs: How long to wait for one batch, be it for its result or for room for it.
        check: Called per batch; raises to stop the job.
        flush: Lets rows run that wait for others to share a batch with: with True all of them, for
            no more will come; with False the oldest, for no more will come until they are done.
        give_back: Called with each batch when the consumer comes for the next one.

    Raises:
        DeadlineExceededError: A model call hangs; the message has the stacks of all threads.
        Exception: What a model raised.
    """
    pending: deque[_Pending] = deque()
    pending_bytes = 0
    try:
        for batch in batches:
            check()
            if batch is not None:
                pending.append(_submit(batch, submit, timeout_secs))
                pending_bytes += batch.size_bytes
            is_short = batch is None
            while pending and (
                is_short
                or _is_done(pending[0])
                or len(pending) > window.max_batches
                or (len(pending) > 1 and pending_bytes > window.max_bytes)
            ):
                is_short = False
                if not _is_done(pending[0]):
                    flush(False)
                pending_bytes -= pending[0].batch.size_bytes
                inferred = _wait(pending.popleft(), timeout_secs)
                yield inferred
                give_back(inferred.batch)
        flush(True)
        while pending:
            check()
            inferred = _wait(pending.popleft(), timeout_secs)
            yield inferred
            give_back(inferred.batch)
    finally:
        for each in pending:
            for submission in each.submissions:
                submission.cancel()


def _submit(
    batch: InputBatch,
    submit: Callable[[InputBatch], Sequence[Submission]],
    timeout_secs: float,
) -> _Pending:
    try:
        return _Pending(batch, tuple(submit(batch)))
    except DeadlineExceededError as error:
        raise _too_slow(batch, timeout_secs) from error


def _is_done(pending: _Pending) -> bool:
    return all(submission.done() for submission in pending.submissions)


def _wait(pending: _Pending, timeout_secs: float) -> InferredBatch:
    try:
        outcomes = tuple(each.outcome(timeout_secs) for each in pending.submissions)
    except TimeoutError as error:
        if isinstance(error, DeadlineExceededError):
            raise
        raise _too_slow(pending.batch, timeout_secs) from error
    return InferredBatch(batch=pending.batch, outcomes=outcomes)


def _too_slow(batch: InputBatch, timeout_secs: float) -> DeadlineExceededError:
    return DeadlineExceededError(
        f"a batch of {batch.num_rows} rows took longer than --batch_timeout_secs={timeout_secs:g}; what the threads are doing:\n{all_stacks()}"
    )
