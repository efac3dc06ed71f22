"""Runs one batch: merge, pad, call the model, hand each task its rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from servable_core.batching.batch_sizing import BatchSizing
from servable_core.batching.batching_statistics import StatisticsRecorder
from servable_core.batching.merging import Concat, concat_values, merge_inputs
from servable_core.batching.padding import PaddedInputs, PaddingOptions, cut_outputs, pad_inputs
from servable_core.batching.row_isolation import Segment, run_isolated
from servable_core.batching.session_task import Outputs, SessionTask, concat_outputs
from servable_core.errors import FailedPreconditionError, ResourceExhaustedError
from servable_core.runtime.clock import Clock

_NO_ERRORS: Mapping[int, BaseException] = {}
_EXHAUSTION = (ResourceExhaustedError, MemoryError)
Run = Callable[[Mapping[str, Any]], Mapping[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """What a session has to know of its model.

    Attributes:
        padding: How ragged inputs become dense.
        unbatched_inputs: Inputs without a batch dimension; tasks that differ in them share no call.
        unbatched_outputs: Outputs without a batch dimension: every task of a call gets them whole.
        halves_on_exhaustion: Whether rows that exhaust memory run again in smaller calls. If not,
            they fail: for those to whom it matters which rows are computed together.
        isolates_all_rows: Whether every row that fails is found; otherwise, only the first of each
            task, whose other rows are then given up.
        timeout_secs: What one batch may take; then its tasks fail.
    """

    padding: PaddingOptions = field(default_factory=PaddingOptions)
    unbatched_inputs: frozenset[str] = frozenset()
    unbatched_outputs: frozenset[str] = frozenset()
    halves_on_exhaustion: bool = True
    isolates_all_rows: bool = True
    timeout_secs: float = float("inf")


class BatchRunner:
    """The model calls of one session; thread-safe.

    Args:
        run: The model: outputs with as many rows as the inputs, row by row.
        concat: Joins values of one input along the first dimension.
        options: What to know of the model.
        sizing: How many rows a call may have; learns from each.
        recorder: Where to count.
        clock: Whose time counts.
        name: What to call the session in messages.
    """

    def __init__(
        self,
        run: Run,
        concat: Concat,
        options: RunOptions,
        *,
        sizing: BatchSizing,
        recorder: StatisticsRecorder,
        clock: Clock,
        name: str,
    ) -> None:
        self._run = run
        self._concat = concat
        self._options = options
        self._sizing = sizing
        self._recorder = recorder
        self._clock = clock
        self._name = name

    def run_tasks(self, tasks: Sequence[SessionTask], now: float, *, is_ragged: bool) -> None:
        """Runs tasks of one layout, and finishes or fails each.

        Args:
            tasks: The tasks, whose callers have been told that they run.
            now: The time.
            is_ragged: Whether their inputs may be ragged.
        """
        try:
            inputs = merge_inputs(tasks, self._concat, self._options.unbatched_inputs)
            num_rows = sum([task.num_rows for task in tasks])
            num_slots = None if is_ragged else self._num_slots(num_rows, now)
            if num_slots is None:
                self._run_padded(inputs, num_rows, tasks, now)
            else:
                self._run_usual(inputs, num_rows, num_slots, tasks, now)
        except Exception as error:  # noqa: BLE001 - the futures carry it to those who ask
            for task in tasks:
                task.fail(error)

    def _num_slots(self, num_rows: int, now: float) -> int | None:
        """Returns the rows that a usual batch could have; None for a batch that is not one."""
        return None if self._options.padding.derived else self._sizing.usual_slots(num_rows, now)

    def _run_usual(
        self,
        inputs: Mapping[str, Any],
        num_rows: int,
        num_slots: int,
        tasks: Sequence[SessionTask],
        now: float,
    ) -> None:
        """Runs a batch that needs neither padding nor cutting: in few steps, for small tasks."""
        start_secs = self._clock.now()
        try:
            outputs = self._run(inputs)
        except BaseException as error:  # noqa: BLE001 - what has become of which row is found out
            self._recorder.add_failed_run(self._clock.now() - start_secs, is_extra=False)
            first_error = self._explained(error, num_rows)
            self._run_in_parts(PaddedInputs(inputs), num_rows, tasks, now, first_error)
            return
        end_secs = self._clock.now()
        run_secs = end_secs - start_secs
        waits_secs = [now - task.submitted_secs for task in tasks]
        self._recorder.add_usual(num_rows, num_slots, waits_secs, run_secs)
        self._sizing.record(num_rows, 0, run_secs, end_secs)
        self._hand_out_whole(self._checked(outputs, num_rows), tasks)

    def _run_padded(
        self, inputs: Mapping[str, Any], num_rows: int, tasks: Sequence[SessionTask], now: float
    ) -> None:
        padded = pad_inputs(inputs, self._options.padding)
        self._sizing.relieve_memory(padded.padded_length, now)
        self._run_in_parts(padded, num_rows, tasks, now)

    def _run_in_parts(
        self,
        padded: PaddedInputs,
        num_rows: int,
        tasks: Sequence[SessionTask],
        now: float,
        first_error: BaseException | None = None,
    ) -> None:
        """Runs a batch in as many calls as it takes to find the rows that fail, or that fit."""
        length = padded.padded_length
        self._recorder.add_batch(
            num_rows=num_rows,
            num_slots=max(num_rows, self._sizing.target_rows(length)),
            waits_secs=[now - task.submitted_secs for task in tasks],
        )
        segments, max_rows = run_isolated(
            partial(self._run_rows, padded, num_rows),
            num_rows,
            self._sizing.max_rows(length),
            next_wanted=partial(self._next_wanted, tasks),
            rounded_down=self._sizing.allowed_rows,
            first_error=first_error,
        )
        if max_rows < num_rows:
            self._sizing.note_ceiling(length, max_rows)
        self._hand_out(segments, tasks)

    def _next_wanted(self, tasks: Sequence[SessionTask], row: int) -> int:
        """Returns where to go on behind a row that has failed."""
        if self._options.isolates_all_rows:
            return row + 1
        stop = 0
        for task in tasks:
            stop += task.num_rows
            if row < stop:
                break
        return stop

    def _run_rows(
        self, padded: PaddedInputs, num_rows: int, start: int, stop: int, max_rows: int
    ) -> Outputs:
        """Calls the model with rows [start, stop) of a batch, and more to reach a fitting size."""
        size = self._sizing.padded_rows(
            stop - start, padded.padded_length, max_rows, wants_few_shapes=padded.is_padded
        )
        is_whole = (start, stop) == (0, num_rows)
        inputs = padded.inputs
        if not is_whole or size > num_rows:
            inputs = {name: self._rows_of(name, inputs[name], start, stop, size) for name in inputs}
        start_secs = self._clock.now()
        try:
            outputs = self._run(inputs)
        except BaseException as error:  # noqa: BLE001 - raised again, explained
            self._recorder.add_failed_run(self._clock.now() - start_secs, is_extra=not is_whole)
            raise self._explained(error, stop - start)  # noqa: B904 - which has its cause
        rows = slice(start, stop)
        self._learn(padded, rows, size, start_secs, is_extra=not is_whole)
        return self._own_rows(outputs, padded, rows, size)

    def _explained(self, error: BaseException, num_rows: int) -> BaseException:
        """Returns the error to tell: exhaustion is one to give up on where calls may not be halved."""
        if self._options.halves_on_exhaustion or not isinstance(error, _EXHAUSTION):
            return error
        explained = FailedPreconditionError(
            f"{self._name}: {num_rows} rows exhaust memory, and may not be run in smaller batches: {error}"
        )
        explained.__cause__ = error
        return explained

    def _rows_of(self, name: str, value: Any, start: int, stop: int, size: int) -> Any:
        """Returns rows [start, stop), and repeats them until they are `size`: they are valid rows."""
        if name in self._options.unbatched_inputs:
            return value
        rows = value[start:stop]
        num_rows = stop - start
        while num_rows < size:
            more = min(num_rows, size - num_rows)
            rows = concat_values([rows, rows[:more]], self._concat)
            num_rows += more
        return rows

    def _learn(
        self, padded: PaddedInputs, rows: slice, size: int, start_secs: float, *, is_extra: bool
    ) -> None:
        end_secs = self._clock.now()
        num_rows = rows.stop - rows.start
        run_secs = end_secs - start_secs
        self._recorder.add_run(
            num_rows=num_rows,
            padded_rows=size,
            padded_length=padded.padded_length,
            cells=0 if padded.lengths is None else int(padded.lengths[rows].sum()),
            is_padded=padded.is_padded,
            run_secs=run_secs,
            is_extra=is_extra,
        )
        self._sizing.record(num_rows, padded.padded_length, run_secs, end_secs)

    def _own_rows(
        self, outputs: Mapping[str, np.ndarray], padded: PaddedInputs, rows: slice, size: int
    ) -> Outputs:
        """Returns the outputs of the rows that were asked for, cut to their lengths."""
        num_rows = rows.stop - rows.start
        own = self._checked(outputs, size)
        if size > num_rows:
            unbatched = self._options.unbatched_outputs
            own = {
                name: value if name in unbatched else value[:num_rows]
                for name, value in own.items()
            }
        return cut_outputs(own, padded, rows, self._options.padding)

    def _checked(self, outputs: Mapping[str, np.ndarray], num_rows: int) -> Outputs:
        """Returns the outputs of a call, if they are what a model has to return."""
        try:
            checked = dict(outputs)
        except (TypeError, ValueError):
            raise FailedPreconditionError(
                f"{self._name}: a model must return its outputs as arrays by name, got {outputs!r}"
            ) from None
        unbatched = self._options.unbatched_outputs
        for name, value in checked.items():
            if name not in unbatched:
                self._check_rows(name, value, num_rows)
        return checked

    def _check_rows(self, name: str, value: Any, num_rows: int) -> None:
        shape = getattr(value, "shape", None)
        if shape is None:
            raise FailedPreconditionError(
                f"{self._name}: output {name!r} must be an array, got {value!r}"
            )
        if not shape or shape[0] != num_rows:
            raise FailedPreconditionError(
                f"{self._name}: output {name!r} has shape {tuple(shape)} for a batch of "
                f"{num_rows} rows; outputs need the batch as first dimension; leave it out with --output_tensors"
            )

    def _hand_out(self, segments: Sequence[Segment[Outputs]], tasks: Sequence[SessionTask]) -> None:
        if len(segments) == 1 and segments[0].result is not None:  # as almost always
            self._hand_out_whole(segments[0].result, tasks)
            return
        start = 0
        for task in tasks:
            stop = start + task.num_rows
            own = [each for each in segments if _overlaps(each, start, stop)]
            self._settle(task, own, start, stop)
            start = stop

    def _hand_out_whole(self, outputs: Outputs, tasks: Sequence[SessionTask]) -> None:
        """Finishes the tasks of a batch, `outputs` being those of all of its rows."""
        if len(tasks) == 1:
            tasks[0].finish(outputs, _NO_ERRORS)
            return
        unbatched = self._options.unbatched_outputs
        start = 0
        for task in tasks:
            rows = slice(start, start + task.num_rows)
            own = {
                name: value if name in unbatched else value[rows] for name, value in outputs.items()
            }
            task.finish(own, _NO_ERRORS)
            start = rows.stop

    def _settle(
        self, task: SessionTask, segments: Sequence[Segment[Outputs]], start: int, stop: int
    ) -> None:
        """Finishes or fails a task, whose rows are [start, stop) of the batch."""
        errors: dict[int, BaseException] = {}
        outputs: list[Outputs] = []
        for each in segments:
            if each.result is not None:
                outputs.append(self._cut(each, each.result, start, stop))
            elif each.error is not None and each.is_row_fault:
                errors[each.start - start] = each.error
            elif each.error is not None:
                task.fail(each.error)
                return
        if errors:
            self._recorder.count("num_failed_rows", len(errors))
        if errors and not self._options.isolates_all_rows:
            task.give_up(errors)
        else:
            task.finish(concat_outputs(outputs, self._options.unbatched_outputs), errors)

    def _cut(self, segment: Segment[Outputs], outputs: Outputs, start: int, stop: int) -> Outputs:
        """Returns those of a segment's outputs that are of rows [start, stop) of the batch."""
        if start <= segment.start and segment.stop <= stop:
            return dict(outputs)
        rows = slice(max(start - segment.start, 0), stop - segment.start)
        unbatched = self._options.unbatched_outputs
        return {
            name: value if name in unbatched else value[rows] for name, value in outputs.items()
        }


def _overlaps(segment: Segment[Outputs], start: int, stop: int) -> bool:
    # Tasks without rows share their batch, of one segment, only with others such.
    return start == stop or max(segment.start, start) < min(segment.stop, stop)
