"""`--dry_run`: plans, binds and runs one batch, and shows what the job would do. Writes nothing."""

from dataclasses import replace

import pyarrow as pa

from pipelines.options import PrecomputeOptions
from pipelines.output_directory import check_apart, check_plan_apart, check_usable
from pipelines.text_table import text_table
from servable_core.runtime.clock import SystemClock
from transforms.job_state import JobState
from transforms.plan import Plan
from transforms.planning import make_plan
from transforms.process_unit import batch_rows, infer_unit
from transforms.unit_cutting import limit_rows
from transforms.unit_job import create_unit_job
from transforms.unit_table import Unit, UnitTable
from transforms.worker_core import WorkerCore, WorkerCoreConfig


def dry_run(options: PrecomputeOptions) -> str:
    """Returns the plan in words and the first rows of the first batch's output.

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
    return "\n".join([*_describe(plan, rows), *_first_rows(plan, options, rows)])


def _describe(plan: Plan, rows: int) -> list[str]:
    total = "an unknown number of" if plan.num_rows is None else f"{plan.num_rows:,}"
    return [
        f"would read {total} rows from {len(plan.inputs)} files ({plan.size_bytes:,} bytes) in {len(plan.units)} units",
        f"would run {', '.join(str(each.servable_id) for each in plan.models)}, signature {plan.content.signature_name!r}, up to {rows:,} rows a batch",
        f"columns read: {', '.join(plan.read_columns) or 'none'}",
    ]


def _first_rows(plan: Plan, options: PrecomputeOptions, rows: int) -> list[str]:
    ranges = plan.units[0].ranges[:1]
    if ranges[0].num_rows != -1 and plan.content.sample is None:
        ranges = tuple(limit_rows(ranges, rows))
    first = replace(plan, units=UnitTable.of([Unit(index=0, ranges=ranges)]))
    config = WorkerCoreConfig(models=plan.models, execution=options.execution)
    lines: list[str] = []
    with WorkerCore(config) as core:
        state = JobState(stops_siblings=True)
        job = create_unit_job(
            first,
            options.output_path,
            options.execution,
            core=core,
            state=state,
            clock=SystemClock(),
        )
        found = next(infer_unit(first.units[0], job), None)
        if found is None:
            return [f"no row of {plan.inputs[ranges[0].file_index].path} would be run"]
        outputs = found.outputs
        for model, stage, pieces in zip(plan.models, job.stages, outputs, strict=True):
            batch = pa.Table.from_batches([each.columns for each in pieces])
            lines += [f"{model.servable_id} is fed:", *(f"  {each}" for each in stage.bound_inputs)]
            lines.append(
                f"one batch of {batch.num_rows:,} rows through {model.servable_id} gave, for example:"
            )
            lines.append(text_table(batch.slice(0, 3)))
    return lines
