"""Processes one unit from its input ranges to its receipt: read, infer, write, commit.

The whole data flow of the system is `process_unit`; everything around it decides which units run where.
"""

import itertools
import resource
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from transforms.bad_records import BadRecord, Stage
from transforms.batch_isolation import isolate
from transforms.batching_options import batching_parameters
from transforms.batching_report import to_document
from transforms.content_options import ContentOptions
from transforms.distinct_rows import DistinctRows
from transforms.execution import ExecutionOptions
from transforms.formats.part_writer import OutputRows, PartWriter
from transforms.formats.text_types import type_from_text
from transforms.formats.tfrecord import Feature
from transforms.formats.tfrecord_options import tfrecord_options
from transforms.infer import InferredBatch, InFlightWindow, infer_batches
from transforms.input_batch import SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN, InputBatch
from transforms.input_map import padded_columns, parse_input_map
from transforms.lineage import package_versions
from transforms.nulls import OnNull, parse_null_policy, without_nulls
from transforms.output_formats import OUTPUT_FORMATS
from transforms.plan import PinnedModel, Plan
from transforms.prefetch import Prefetcher
from transforms.read_unit import ReadOptions, read_unit
from transforms.receipts import OutputFile, Receipt, part_path, read_receipt, write_receipt
from transforms.stage_times import TimedStage
from transforms.submission import Submission
from transforms.unit_attempt import UnitAttempt
from transforms.unit_commit import CommittedElsewhereError, check_may_commit, write_unit_letters
from transforms.unit_job import UnitJob
from transforms.unit_table import Unit
from transforms.user_functions import BatchFunction
from transforms.write_unit import part_writers

_READ_AHEAD_BYTES = 64 << 20
_MAX_BATCHES_IN_FLIGHT = 64
# Enough to find rows of about one length; more would only delay what calibration has found.
_MAX_RAGGED_IN_FLIGHT = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputBatch:
    """A batch with what is to be written of it.

    Attributes:
        batch: The input rows.
        outputs: For each model the output rows, in order, in one piece or several.
        bad_records: Rows that lack the outputs of a model.
    """

    batch: InputBatch
    outputs: tuple[tuple[OutputRows, ...], ...]
    bad_records: tuple[BadRecord, ...]


def process_unit(unit: Unit, job: UnitJob, num_retries: int = 0) -> Receipt:
    """Runs one unit and commits it, unless it has a valid receipt when it begins or when it is done.

    Order of commit: dead letters, parts, then the receipt. Each replaces what an attempt that was
    killed has left, also where there is nothing to write. On any error nothing is committed.

    Args:
        unit: The unit.
        job: What it is part of.
        num_retries: Attempts at the unit that failed before, for the receipt.

    Raises:
        DataLossError: The rows written are not the rows read.
        AbortedError: The job was stopped, or another job has replaced its plan.
        Exception: Whatever reading, the model or writing raised.
    """
    done = read_receipt(job.plan, unit, job.output)
    if done is not None:
        return done
    started_secs = job.clock.wall_time()
    attempt = start_attempt(unit, job)
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
            rows_failed=attempt.rows_failed,
            rows_reused=attempt.rows_reused,
            dead_letters=dict(Counter(each.stage.value for each in attempt.bad_records)),
            stage_secs=attempt.stage_secs,
            num_retries=num_retries,
            num_batch_threads=job.core.num_batch_threads,
            model_loads=job.core.model_loads,
            command_line=job.command_line,
            packages=package_versions(),
        )
        write_receipt(receipt, job.output, len(job.plan.units))
    except CommittedElsewhereError as overtaken:
        attempt.take_back()
        return overtaken.receipt
    except BaseException:
        attempt.take_back()
        raise
    job.state.add_unit(unit.size_bytes - attempt.bytes_written, attempt.num_batches)
    return receipt


def start_attempt(unit: Unit, job: UnitJob) -> UnitAttempt:
    """Returns the counts of an attempt at a unit, which begins."""
    return UnitAttempt(unit, job.plan, job.state, job.execution.failure_budget, job.clock)


def _run(unit: Unit, job: UnitJob, attempt: UnitAttempt) -> tuple[OutputFile, ...]:
    """Writes the unit's dead letters and parts, and returns the parts."""
    with closing(_infer_unit(unit, job, attempt)) as batches:
        paths = [_part(job, model, unit) for model in job.plan.models]
        full_paths = [f"{job.output}/{path}" for path in paths]
        create = [stage.create_writer for stage in job.stages]
        # Writing is all that is done here but to pull batches, which has stages of its own.
        writing = attempt.writer_times.during(TimedStage.WRITE)
        with writing, part_writers(job.output, full_paths, create) as writers:
            for batch in batches:
                for writer, outputs in zip(writers, batch.outputs, strict=True):
                    for rows in outputs:
                        writer.write(rows.columns, rows.tensors)
                attempt.add_written(batch.batch, batch.bad_records)
            attempt.check_rows([each.rows for each in writers])
            check_may_commit(unit, job)  # the last moment: from here on all becomes visible
            write_unit_letters(unit, job, attempt.bad_records)
    return tuple(
        _output_file(model, path, writer)
        for model, path, writer in zip(job.plan.models, paths, writers, strict=True)
        if writer.rows
    )


def infer_unit(
    unit: Unit, job: UnitJob, attempt: UnitAttempt | None = None
) -> Generator[OutputBatch, None, None]:
    """Yields each batch of the unit with its output rows, in order; writes nothing.

    Args:
        unit: The unit.
        job: What it is part of.
        attempt: What is told of records that never become rows of a batch.
    """
    attempt = attempt or start_attempt(unit, job)
    with closing(_infer_unit(unit, job, attempt)) as batches:
        yield from batches


def _infer_unit(
    unit: Unit, job: UnitJob, attempt: UnitAttempt
) -> Generator[OutputBatch, None, None]:
    times = attempt.writer_times
    with (
        Prefetcher(
            _read(unit, job, attempt),
            size_bytes=lambda batch: batch.size_bytes,
            max_bytes=_READ_AHEAD_BYTES,
            budget=job.core.in_flight,
            name=f"read_unit_{unit.index}",
        ) as batches,
        closing(
            _infer(
                times.iterate(TimedStage.WAIT_FOR_ROWS, batches), job, attempt, batches.give_back
            )
        ) as inferred,
    ):
        # Whatever inference does but wait for rows and bind them, is to wait for the model.
        for each in times.iterate(TimedStage.WAIT_FOR_MODEL, inferred):
            with times.during(TimedStage.CONVERT):
                outputs = _output_batch(each, job)
            yield outputs


def _part(job: UnitJob, model: PinnedModel, unit: Unit) -> str:
    suffix = OUTPUT_FORMATS[job.plan.content.output_format].suffix
    return part_path(model.name, model.version, unit.index, len(job.plan.units), suffix)


def _read(unit: Unit, job: UnitJob, attempt: UnitAttempt) -> Iterator[InputBatch]:
    """Yields the rows to infer; those that cannot be read, or preprocessed, go to the attempt."""
    times, options = attempt.reader_times, _read_options(job)
    for batch in read_unit(unit, job.plan.inputs, options, attempt.add_unreadable, times):
        attempt.rows_read += batch.num_rows
        yield from times.iterate(TimedStage.PREPROCESS, _made_ready(batch, job, attempt))


def _made_ready(batch: InputBatch, job: UnitJob, attempt: UnitAttempt) -> Iterator[InputBatch]:
    for rows in _preprocess(batch, job, attempt):
        yield from _treat_nulls(rows, job, attempt)


def _preprocess(batch: InputBatch, job: UnitJob, attempt: UnitAttempt) -> Iterator[InputBatch]:
    content = job.plan.content
    if job.preprocess is None:
        yield batch
    elif not content.keeps_bad_records:
        yield preprocessed(batch, job.preprocess, content.key)
    else:
        yield from _preprocess_isolated(batch, job.preprocess, content.key, attempt)


def _treat_nulls(batch: InputBatch, job: UnitJob, attempt: UnitAttempt) -> Iterator[InputBatch]:
    policy = parse_null_policy(job.plan.content.on_null)
    if policy.action is OnNull.ERROR:  # which making tensors takes care of
        yield batch
        return
    fed = dict.fromkeys(name for stage in job.stages for name in stage.binding(batch).columns)
    treated = without_nulls(batch, list(fed), policy)
    attempt.add_bad_records(treated.bad_records)
    if treated.num_rows:
        yield replace(treated, bad_records=()) if treated.bad_records else treated


def _preprocess_isolated(
    batch: InputBatch, preprocess: BatchFunction, key: str | None, attempt: UnitAttempt
) -> Iterator[InputBatch]:
    def apply(start: int, stop: int) -> InputBatch:
        return preprocessed(batch.slice(start, stop), preprocess, key)

    isolated = isolate(batch, apply, Stage.PREPROCESS)
    attempt.add_bad_records(isolated.bad_records)
    for _, rows in isolated.results:
        yield rows


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

    def rows_now() -> int:
        """What is too small for one model is joined, but what is too large is refused."""
        return first if fixed_rows else min(stage.batch_size(first) for stage in job.stages)

    return ReadOptions(
        input_format=plan.content.input_format,
        columns=plan.read_columns,
        features=tuple(
            Feature(
                name=name,
                value_type=type_from_text(each[0]),
                length=each[1],
                is_sequence=each[2],
            )
            for name, each in plan.features.items()
        ),
        with_records=plan.reads_records,
        with_source=plan.content.key is None,
        batch_rows=rows_now,
        fixed_rows=fixed_rows,
        sample=plan.content.sample,
        sample_seed=plan.content.sample_seed,
        on_error=plan.content.on_error,
        tfrecord=tfrecord_options(plan.content.crc, plan.content.on_error),
        in_flight=job.core.in_flight,
    )


def batch_rows(plan: Plan, execution: ExecutionOptions) -> int:
    """Returns the rows of a batch to begin with: as recorded, as asked, or as planned for this data."""
    said = execution.max_batch_size or batching_parameters(execution, None).max_batch_size
    asked = said if isinstance(said, int) else None
    return plan.content.deterministic_batch_size or asked or plan.batch_size_hint


def _infer(
    batches: Iterator[InputBatch | None],
    job: UnitJob,
    attempt: UnitAttempt,
    give_back: Callable[[InputBatch], None],
) -> Generator[InferredBatch, None, None]:
    size = batch_rows(job.plan, job.execution)
    is_ragged = _is_ragged(job.plan.content)
    max_batches = _MAX_RAGGED_IN_FLIGHT if is_ragged else _MAX_BATCHES_IN_FLIGHT
    if job.plan.content.dedupe:
        attempt.distinct = tuple(
            DistinctRows(max_batches_in_flight=max_batches) for _ in job.stages
        )
    while_binding = partial(attempt.writer_times.during, TimedStage.BIND)

    def submit(batch: InputBatch) -> Sequence[Submission]:
        return [
            stage.submit(batch, size, job.execution, distinct, while_binding=while_binding)
            for stage, distinct in itertools.zip_longest(job.stages, attempt.distinct)
        ]

    return infer_batches(
        batches,
        submit,
        window=InFlightWindow(max_batches=max_batches, max_bytes=job.execution.max_in_flight_bytes),
        timeout_secs=job.execution.batch_timeout_secs,
        check=job.state.abort.check,
        flush=partial(_flush, job),
        give_back=give_back,
    )


def _flush(job: UnitJob, all_rows: bool) -> None:
    for stage in job.stages:
        stage.flush(all_rows=all_rows)


def _is_ragged(content: ContentOptions) -> bool:
    return content.pad_variable_length_inputs or bool(
        padded_columns(parse_input_map(content.input_map))
    )


def _output_batch(inferred: InferredBatch, job: UnitJob) -> OutputBatch:
    written = [
        stage.output_rows(outcome, job.postprocess)
        for stage, outcome in zip(job.stages, inferred.outcomes, strict=True)
    ]
    return OutputBatch(
        batch=inferred.batch,
        outputs=tuple(tuple(rows for _, rows in each.results) for each in written),
        bad_records=tuple(bad for each in written for bad in each.bad_records),
    )


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
