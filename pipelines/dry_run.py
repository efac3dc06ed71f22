"""`--dry_run`: plans, binds and runs one batch, and shows what the job would do. Writes nothing."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import pyarrow as pa

from pipelines.job_estimate import BatchSample, estimate_job
from pipelines.options import PrecomputeOptions
from pipelines.output_directory import check_apart, check_plan_apart, check_usable
from pipelines.text_table import text_table
from servable_core.runtime.clock import Clock, SystemClock
from transforms.formats.part_writer import OutputRows
from transforms.job_state import JobState
from transforms.plan import Plan
from transforms.planning import make_plan
from transforms.process_unit import OutputBatch, batch_rows, infer_unit
from transforms.storage import DigestingSink
from transforms.unit_cutting import limit_rows
from transforms.unit_job import UnitJob, create_unit_job
from transforms.unit_table import Unit, UnitTable
from transforms.worker_core import WorkerCore, worker_core_config

_SLOW_SECS = 10.0


def dry_run(options: PrecomputeOptions, clock: Clock | None = None) -> str:
    """Returns the plan in words, what it would take, and the first rows of the first batch's output.

    Raises:
        ServableCoreError: The job would fail before its first unit is through a batch.
    """
    output, inputs = options.output_path, options.input or ()
    check_apart(output, inputs, options.model_base_path)
    plan = check_usable(output, options.if_exists)
    if plan is None:
        plan = make_plan(options.plan_request(), options.execution)
        check_plan_apart(output, plan, inputs)
    else:
        options.check_resumes(plan)
    rows = batch_rows(plan, options.execution)
    lines = _first_rows(plan, options, rows, clock or SystemClock())
    return "\n".join([*_describe(plan, rows), *lines])


def _describe(plan: Plan, rows: int) -> list[str]:
    total = "an unknown number of" if plan.num_rows is None else f"{plan.num_rows:,}"
    return [
        f"would read {total} rows from {len(plan.inputs)} files ({plan.size_bytes:,} bytes) in {len(plan.units)} units",
        f"would run {', '.join(str(each.servable_id) for each in plan.models)}, signature {plan.content.signature_name!r}, up to {rows:,} rows a batch",
        f"columns read: {', '.join(plan.read_columns) or 'none'}",
    ]


def _first_rows(plan: Plan, options: PrecomputeOptions, rows: int, clock: Clock) -> list[str]:
    ranges = plan.units[0].ranges[:1]
    if ranges[0].num_rows != -1 and plan.content.sample is None:
        ranges = tuple(limit_rows(ranges, rows))
    first = replace(plan, units=UnitTable.of([Unit(index=0, ranges=ranges)]))
    with WorkerCore(worker_core_config(plan, options.execution)) as core:
        job = create_unit_job(
            first,
            options.output_path,
            options.execution,
            core=core,
            state=JobState(stops_siblings=True),
            clock=clock,
        )
        found, secs = _timed_batch(job, clock)
        if found is None:
            return [f"no row of {plan.inputs[ranges[0].file_index].path} would be run"]
        estimate = estimate_job(plan, _sample(found, job, secs), core.num_batch_threads)
        told = [] if estimate is None else [str(estimate)]
        return [*told, *_batch_lines(found, job)]


def _timed_batch(job: UnitJob, clock: Clock) -> tuple[OutputBatch | None, float]:
    """Returns the first batch, and the seconds that it takes once the models have been called.

    A batch that is slow by itself runs only once: the first call's own work matters less there.
    """
    found, secs = _first_batch(job, clock)
    return (found, secs) if found is None or secs > _SLOW_SECS else _first_batch(job, clock)


def _first_batch(job: UnitJob, clock: Clock) -> tuple[OutputBatch | None, float]:
    started_secs = clock.now()
    with closing(infer_unit(job.plan.units[0], job)) as batches:
        found = next(batches, None)
        return found, clock.now() - started_secs


def _sample(found: OutputBatch, job: UnitJob, secs: float) -> BatchSample:
    return BatchSample(
        rows=found.batch.num_rows + len(found.batch.bad_records),
        input_bytes=found.batch.input_bytes,
        secs=secs,
        empty_bytes=_written_bytes(job, tuple(() for _ in job.stages)),
        written_bytes=_written_bytes(job, found.outputs),
    )


def _written_bytes(job: UnitJob, outputs: Sequence[Sequence[OutputRows]]) -> int:
    """Returns what the rows take as they would be written: in a temporary file, which goes again."""
    total = 0
    for stage, pieces in zip(job.stages, outputs, strict=True):
        with tempfile.TemporaryFile() as file:
            writer = stage.create_writer(DigestingSink(file, "the size of the output"))
            for rows in pieces:
                writer.write(rows.columns, rows.tensors)
            writer.close()
            total += writer.written().size_bytes
    return total


def _batch_lines(found: OutputBatch, job: UnitJob) -> Iterator[str]:
    if found.bad_records:
        first = found.bad_records[0]
        yield f"of its first batch would put aside {len(found.bad_records):,} records; the first: {first.message}"
    for model, stage, pieces in zip(job.plan.models, job.stages, found.outputs, strict=True):
        yield f"{model.servable_id} is fed:"
        yield from (f"  {each}" for each in stage.bound_inputs)
        if not pieces:
            yield f"no row of its first batch went through {model.servable_id}"
            continue
        batch = pa.Table.from_batches([each.columns for each in pieces])
        yield f"one batch of {batch.num_rows:,} rows through {model.servable_id} gave, for example:"
        yield text_table(batch.slice(0, 3))
