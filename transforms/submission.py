"""One batch on its way through one model: submitted whole, or in parts where rows of it are bad."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from servable_core.batching.row_errors import RowErrors
from servable_core.batching.row_isolation import is_about_rows
from servable_core.errors import InternalError, error_for_code
from transforms.bad_records import BadRecord, Stage
from transforms.batch_isolation import isolate
from transforms.dead_letters import bad_row
from transforms.input_batch import InputBatch

Outputs = dict[str, Any]


class PendingOutputs(Protocol):
    """The outputs of rows that were submitted: a future of them, or what looks like one."""

    def done(self) -> bool:
        """Whether `result` would return, or raise, at once."""

    def cancel(self) -> object:
        """Gives up what does not run yet."""

    def result(self, timeout_secs: float | None, /) -> Outputs:
        """Waits for the outputs; raises what the model raised."""


Submit = Callable[[dict[str, Any]], PendingOutputs]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelOutcome:
    """What a model said of a batch.

    Attributes:
        results: Consecutive rows with their outputs, in order.
        bad_records: The rows that have none.
    """

    results: list[tuple[InputBatch, Outputs]] = field(default_factory=list)
    bad_records: list[BadRecord] = field(default_factory=list)


class Submission:
    """The outputs to come of one batch in one model. One thread at a time."""

    def __init__(
        self,
        parts: list[tuple[InputBatch, PendingOutputs]],
        bad_records: list[BadRecord],
        *,
        model: tuple[str, int],
        keeps_bad_records: bool,
    ) -> None:
        self._parts = parts
        self._bad_records = bad_records
        self._model = model
        self._keeps_bad_records = keeps_bad_records

    def done(self) -> bool:
        """Whether `outcome` would return at once."""
        return all(future.done() for _, future in self._parts)

    def cancel(self) -> None:
        """Gives up what does not run yet."""
        for _, future in self._parts:
            future.cancel()

    def outcome(self, timeout_secs: float) -> ModelOutcome:
        """Waits for the outputs.

        Raises:
            TimeoutError: They are not there after `timeout_secs`.
            Exception: A row failed, and bad records are not kept; or no row is to blame.
        """
        outcome = ModelOutcome(bad_records=self._bad_records)
        for batch, future in self._parts:
            try:
                outcome.results.append((batch, future.result(timeout_secs)))
            except RowErrors as error:
                if not self._keeps_bad_records or error.outputs is None:
                    raise _of_row(batch, error) from error
                self._add_rows(outcome, batch, error.errors, error.outputs)
            except Exception as error:  # of a single row, the model's own
                is_bad_row = batch.num_rows == 1 and future.done() and is_about_rows(error)
                if not self._keeps_bad_records or not is_bad_row:
                    raise
                self._add_rows(outcome, batch, {0: error}, {})
        return outcome

    def _add_rows(
        self,
        outcome: ModelOutcome,
        batch: InputBatch,
        errors: dict[int, BaseException],
        outputs: Outputs,
    ) -> None:
        kept = np.setdiff1d(np.arange(batch.num_rows), np.fromiter(errors, np.int64))
        if len(kept):
            outcome.results.append((batch.take(kept), outputs))
        outcome.bad_records.extend(
            bad_row(batch, row, Stage.PREDICT, error, self._model) for row, error in errors.items()
        )


def submit_batch(
    batch: InputBatch,
    to_inputs: Callable[[InputBatch], dict[str, Any]],
    submit: Submit,
    *,
    model: tuple[str, int],
    keeps_bad_records: bool,
) -> Submission:
    """Submits a batch to a model.

    Args:
        batch: The rows.
        to_inputs: Makes the model's inputs of rows; an error of it is that of a row.
        submit: Hands inputs to the model.
        model: Name and version, for the records that fail.
        keeps_bad_records: Whether rows that fail are told apart and the others go on; if not, the
            first of them is an error.
    """
    if not keeps_bad_records:
        parts: list[tuple[InputBatch, PendingOutputs]] = [(batch, submit(to_inputs(batch)))]
        return Submission(parts, [], model=model, keeps_bad_records=False)
    isolated = isolate(
        batch, lambda start, stop: to_inputs(batch.slice(start, stop)), Stage.BIND, model
    )
    parts = [(rows, submit(inputs)) for rows, inputs in isolated.results]
    return Submission(parts, isolated.bad_records, model=model, keeps_bad_records=True)


def _of_row(batch: InputBatch, error: RowErrors) -> Exception:
    """Returns the error of the first row that failed, which says where that row comes from."""
    row, cause = next(iter(error.errors.items()))
    message = f"{batch.locate(row)}: {cause}"
    return error_for_code(error.code.value, message) or InternalError(message)
