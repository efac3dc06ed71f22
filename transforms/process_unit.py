"""Processes one unit from its input ranges to its receipt: read, infer, write, commit.

The whole data flow of the system is `process_unit`; everything around it decides which units run where.
"""

import itertools
import resource
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from servable_core.batching import BatchingSession
from servable_core.batching.padding import PaddingOptions
from servable_core.errors import DataLossError
from servable_core.runtime.clock import Clock
from servable_core.servables.signature import SignatureSpec
from transforms.batching_options import batching_parameters, max_rows
from transforms.batching_report import to_document
from transforms.binding import Binding, BoundInput, bind
from transforms.execution import ExecutionOptions
from transforms.formats.tfrecord import Feature
from transforms.infer import InferredBatch, InFlightWindow, infer_batches
from transforms.input_batch import SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN, InputBatch
from transforms.input_map import (
    ColumnSource,
    padded_columns,
    parse_input_map,
    parse_pad_values,
    parse_renames,
)
from transforms.job_state import JobState
from transforms.outputs import OutputLayout, copied_columns, plan_outputs, to_record_batch
from transforms.padding import padding_options
from transforms.plan import ContentOptions, PinnedModel, Plan, Unit
from transforms.prefetch import Prefetcher
from transforms.ragged_outputs import without_fixed_outputs
from transforms.read_unit import ReadOptions, read_unit
from transforms.receipts import OutputFile, Receipt, part_path, read_receipt, write_receipt
from transforms.tensors import to_tensors
from transforms.user_functions import BatchFunction, load_function
from transforms.worker_core import SessionRequest, WorkerCore
from transforms.write_unit import PartWriter, part_writers

_READ_AHEAD_BYTES = 64 << 20
_MAX_BATCHES_IN_FLIGHT = 64
# Enough to find rows of about one length; more would only delay what calibration has found.
_MAX_RAGGED_IN_FLIGHT = 16


class ModelStage:
    """One pinned model: how rows become its inputs, and its outputs become columns. Thread-safe."""

    def __init__(self, core: WorkerCore, model: PinnedModel, content: ContentOptions) -> None:
        self._core = core
        self.model = model
        self.signature: SignatureSpec = core.signature(model, content.signature_name)
        own_inputs = {each.name for each in self.signature.inputs}
        self._input_map: dict[str, ColumnSource] = {
            name: source
            for name, source in parse_input_map(content.input_map).items()
            if name in own_inputs  # other versions of the job may have others
        }
        self._content = content
        parameters = core.batching_parameters(model)
        self._max_rows = max_rows(parameters)
        self._is_size_given = parameters.max_batch_size is not None
        self._session: BatchingSession | None = None
        self._is_ragged = False
        self.layout: OutputLayout = plan_outputs(
            self.signature,
            copied=copied_columns(content.key, content.passthrough),
            renames=parse_renames(content.output_tensors),
            model=str(model.servable_id),
        )
        # The last schema seen; two threads may both bind it, to the same result.
        self._bound: tuple[pa.Schema, Binding] | None = None

    def binding(self, batch: InputBatch) -> Binding:
        """Returns how the inputs bind to this batch's columns."""
        schema = batch.columns.schema
        bound = self._bound
        if bound is None or not bound[0].equals(schema):
            binding = bind(
                self.signature,
                schema,
                self._input_map,
                has_records=batch.records is not None,
                model=str(self.model.servable_id),
                pads_all=self._content.pad_variable_length_inputs,
            )
            bound = self._bound = (schema, binding)
        return bound[1]

    def session(
        self, binding: Binding, batch_size: int, inputs: Mapping[str, Any]
    ) -> BatchingSession:
        """Returns the session that batches for this model; the same for every binding.

        Args:
            binding: How its inputs are fed.
            batch_size: Rows of a batch to start with.
            inputs: What will be submitted first.
        """
        if self._session is None:
            self._is_ragged = any(each.is_padded for each in binding.inputs)
            self._session = self._core.session(
                SessionRequest(
                    model=self.model,
                    signature_name=self.signature.name,
                    outputs=tuple(self.layout.tensors),
                    batch_size=batch_size,
                    padding=self._padding(binding, inputs),
                    is_ragged=self._is_ragged,
                )
            )
        return self._session

    def _padding(self, binding: Binding, inputs: Mapping[str, Any]) -> PaddingOptions:
        content = self._content
        pad_values = parse_pad_values(content.pad_values)
        return without_fixed_outputs(
            padding_options(self.signature, binding, pad_values, content.length_ladder),
            inputs,
            lambda padded: self._core.predict(
                self.model, self.signature.name, padded, tuple(self.layout.tensors)
            ),
        )

    @property
    def bound_inputs(self) -> tuple[BoundInput, ...]:
        """How the inputs were fed last; empty before the first batch."""
        return () if self._bound is None else self._bound[1].inputs

    def flush(self, *, all_rows: bool) -> None:
        """Lets rows run that wait for others to share a batch with: all, or the oldest."""
        if self._session is None:
            return
        if all_rows:
            self._session.flush()
        else:
            self._session.flush_oldest()

    def batch_size(self, batch_size: int) -> int:
        """Returns the rows that batches should be read in now; `batch_size` if nobody has said."""
        session = self._session
        if session is not None and not self._is_ragged:
            return session.batch_size
        if self._max_rows is None or self._is_size_given:
            return self._max_rows or batch_size
        return min(batch_size, self._max_rows)


@dataclass(frozen=True, kw_only=True)
class UnitJob:
    """All that processing any unit of a plan needs. Thread-safe.

    Attributes:
        plan: The plan.
        output: Output directory.
        execution: Limits.
        core: Models and batching of this process.
        stages: One for each model of the plan.
        preprocess: Applied to each batch that was read, or None.
        postprocess: Applied to each batch before it is written, or None.
        state: The process's abort token and counters.
        clock: For the receipts.
    """

    plan: Plan
    output: str
    execution: ExecutionOptions
    core: WorkerCore
    stages: tuple[ModelStage, ...]
    preprocess: BatchFunction | None
    postprocess: BatchFunction | None
    state: JobState
    clock: Clock


def create_unit_job(
    plan: Plan,
    output: str,
    execution: ExecutionOptions,
    *,
    core: WorkerCore,
    state: JobState,
    clock: Clock,
) -> UnitJob:
    """Builds the job for a plan whose models `core` has loaded."""
    content = plan.content
    return UnitJob(
        plan=plan,
        output=output,
        execution=execution,
        core=core,
        stages=tuple(ModelStage(core, model, content) for model in plan.models),
        preprocess=load_function("--preprocess", content.preprocess),
        postprocess=load_function("--postprocess", content.postprocess),
        state=state,
        clock=clock,
    )


def process_unit(unit: Unit, job: UnitJob) -> Receipt:
    """Runs one unit and commits it; returns at once when it has a valid receipt already.

    Order of commit: parts, then the receipt. On any error nothing is committed.

    Raises:
        DataLossError: The rows written are not the rows read.
        AbortedError: The job was stopped.
        Exception: Whatever reading, the model or writing raised.
    """
    done = read_receipt(job.plan, unit, job.output)
    if done is not None:
        return done
    started_secs = job.clock.wall_time()
    attempt = _Attempt(unit, job.state)
    try:
        files = _run(unit, job, attempt)
        receipt = Receipt(
            plan_id=job.plan.plan_id,
            unit=unit.index,
            rows_read=attempt.rows_read,
            files=files,
            num_batches=attempt.num_batches,
            started_secs=started_secs,
            ended_secs=job.clock.wall_time(),
            peak_rss_bytes=peak_rss_bytes(),
            worker=job.core.token,
            batching=to_document(job.core.statistics()),
        )
        write_receipt(receipt, job.output, len(job.plan.units))
    except BaseException:
        attempt.take_back()
        raise
    job.state.add_unit(unit.size_bytes - attempt.bytes_written, attempt.num_batches)
    return receipt


class _Attempt:
    """What one attempt at a unit has read and written; the latter counts in the job's progress."""

    def __init__(self, unit: Unit, state: JobState) -> None:
        self._unit = unit
        self._state = state
        self._rows_written = 0
        self.rows_read = 0  # Grows on the reader's thread.
        self.bytes_written = 0  # Input bytes that the rows written stand for.
        self.num_batches = 0

    def add_written(self, batch: InputBatch) -> None:
        num_bytes = min(batch.input_bytes, self._unit.size_bytes - self.bytes_written)
        self._rows_written += batch.num_rows
        self.bytes_written += num_bytes
        self.num_batches += 1
        self._state.add_rows(batch.num_rows)
        self._state.add_bytes(num_bytes)

    def take_back(self) -> None:
        self._state.add_rows(-self._rows_written)
        self._state.add_bytes(-self.bytes_written)


def _run(unit: Unit, job: UnitJob, attempt: _Attempt) -> tuple[OutputFile, ...]:
    """Writes the unit's parts, and returns them."""
    with closing(_infer_unit(unit, job, attempt)) as batches:
        first = next(batches, None)
        if first is None:
            _check_rows(unit, attempt.rows_read, [0])
            return ()
        paths = [_part(job, model, unit) for model in job.plan.models]
        with part_writers(job.output, [f"{job.output}/{path}" for path in paths]) as writers:
            for batch, outputs in itertools.chain([first], batches):
                for writer, rows in zip(writers, outputs, strict=True):
                    writer.write(rows)
                attempt.add_written(batch)
            _check_rows(unit, attempt.rows_read, [each.rows for each in writers])
            job.state.abort.check()  # the last moment: from here on the parts become visible
    return tuple(
        _output_file(model, path, writer)
        for model, path, writer in zip(job.plan.models, paths, writers, strict=True)
    )


def infer_unit(unit: Unit, job: UnitJob) -> Generator[tuple[pa.RecordBatch, ...], None, None]:
    """Yields the output rows of each batch of the unit, in order: one RecordBatch for each model."""
    with closing(_infer_unit(unit, job, _Attempt(unit, job.state))) as batches:
        for _, outputs in batches:
            yield outputs


def _infer_unit(
    unit: Unit, job: UnitJob, attempt: _Attempt
) -> Generator[tuple[InputBatch, tuple[pa.RecordBatch, ...]], None, None]:
    """Yields each batch of the unit with its output rows."""
    with (
        Prefetcher(
            _read(unit, job, attempt),
            size_bytes=lambda batch: batch.size_bytes,
            max_bytes=_READ_AHEAD_BYTES,
            name=f"read_unit_{unit.index}",
        ) as batches,
        closing(_infer(iter(batches), job)) as inferred,
    ):
        for each in inferred:
            outputs = tuple(
                _output_rows(each, index, stage, job.postprocess)
                for index, stage in enumerate(job.stages)
            )
            yield each.batch, outputs


def _part(job: UnitJob, model: PinnedModel, unit: Unit) -> str:
    return part_path(model.name, model.version, unit.index, len(job.plan.units))


def _read(unit: Unit, job: UnitJob, attempt: _Attempt) -> Iterator[InputBatch]:
    for batch in read_unit(unit, job.plan.inputs, _read_options(job)):
        attempt.rows_read += batch.num_rows
        if job.preprocess is None:
            yield batch
        else:
            yield preprocessed(batch, job.preprocess, job.plan.content.key)


def preprocessed(batch: InputBatch, preprocess: BatchFunction, key: str | None) -> InputBatch:
    """Returns the batch with the user's function applied; row identities without a key are kept."""
    columns = preprocess(batch.columns)
    if key is None:
        for name in (SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN):
            if name not in columns.schema.names:
                columns = columns.append_column(name, batch.columns.column(name))
    return replace(batch, columns=columns)


def _read_options(job: UnitJob) -> ReadOptions:
    plan = job.plan
    first = batch_rows(plan, job.execution)
    fixed_rows = plan.content.deterministic_batch_size is not None

    def rows_now() -> (
        int
    ):  # what is too small for one model is joined, what is too large is refused
        return first if fixed_rows else min(stage.batch_size(first) for stage in job.stages)

    return ReadOptions(
        input_format=plan.content.input_format,
        columns=plan.read_columns,
        features=tuple(
            Feature(name=name, value_type=_value_type(each[0]), length=each[1])
            for name, each in plan.features.items()
        ),
        with_records=plan.reads_records,
        with_source=plan.content.key is None,
        batch_rows=rows_now,
        fixed_rows=fixed_rows,
    )


def _value_type(name: str) -> pa.DataType:
    return pa.type_for_alias(name)


def batch_rows(plan: Plan, execution: ExecutionOptions) -> int:
    """Returns the rows of a batch to begin with: as recorded, as asked, or as planned for this data."""
    said = execution.max_batch_size or batching_parameters(execution, None).max_batch_size
    asked = said if isinstance(said, int) else None
    return plan.content.deterministic_batch_size or asked or plan.batch_size_hint


def _infer(batches: Iterator[InputBatch], job: UnitJob) -> Generator[InferredBatch, None, None]:
    size = batch_rows(job.plan, job.execution)

    def submit(batch: InputBatch) -> Sequence["Future[dict[str, Any]]"]:
        return [_submit(batch, stage, size, job.execution) for stage in job.stages]

    return infer_batches(
        batches,
        submit,
        window=InFlightWindow(
            max_batches=_MAX_RAGGED_IN_FLIGHT
            if _is_ragged(job.plan.content)
            else _MAX_BATCHES_IN_FLIGHT,
            max_bytes=job.execution.max_in_flight_bytes,
        ),
        timeout_secs=job.execution.batch_timeout_secs,
        check=job.state.abort.check,
        flush=partial(_flush, job),
    )


def _flush(job: UnitJob, all_rows: bool) -> None:
    for stage in job.stages:
        stage.flush(all_rows=all_rows)


def _is_ragged(content: ContentOptions) -> bool:
    return content.pad_variable_length_inputs or bool(
        padded_columns(parse_input_map(content.input_map))
    )


def _submit(
    batch: InputBatch, stage: ModelStage, batch_size: int, execution: ExecutionOptions
) -> "Future[dict[str, Any]]":
    binding = stage.binding(batch)
    inputs = to_tensors(batch, binding)
    return stage.session(binding, batch_size, inputs).submit(
        inputs, timeout_secs=execution.batch_timeout_secs
    )


def _output_rows(
    inferred: InferredBatch, index: int, stage: ModelStage, postprocess: BatchFunction | None
) -> pa.RecordBatch:
    rows = to_record_batch(inferred.batch.columns, inferred.outputs[index], stage.layout)
    return rows if postprocess is None else postprocess(rows)


def _check_rows(unit: Unit, rows_read: int, rows_written: Sequence[int]) -> None:
    planned = unit.num_rows
    if planned is not None and rows_read != planned:
        raise DataLossError(f"{rows_read} rows were read where {planned} were planned")
    for written in rows_written:
        if written != rows_read:
            raise DataLossError(f"{rows_read} rows were read, but {written} written")


def _output_file(model: PinnedModel, path: str, writer: PartWriter) -> OutputFile:
    written = writer.written()
    return OutputFile(
        model_name=model.name,
        model_version=model.version,
        path=path,
        rows=writer.rows,
        size_bytes=written.size_bytes,
        sha256=written.sha256,
    )


def peak_rss_bytes() -> int:
    """Returns the largest resident memory that this process has had."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes there, KiB elsewhere
    usage: Any = resource.getrusage(resource.RUSAGE_SELF)
    return int(usage.ru_maxrss) * unit
