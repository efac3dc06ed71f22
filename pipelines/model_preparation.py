"""Plans an evaluation of models: writes nothing, but runs the first rows through them."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

from pipelines.evaluate_options import EvaluateOptions
from pipelines.evaluated_versions import ordered, request_of_versions
from pipelines.measured_choice import choose_output, decide_measured, slice_catalog
from pipelines.prepared_evaluation import (
    FIRST_ROWS,
    Prepared,
    evaluation_facts,
    has_all_outputs,
    no_rows,
)
from servable_core.runtime.clock import SystemClock
from transforms.evaluation.evaluation_config import EvaluationConfig
from transforms.evaluation.model_rows import model_rows
from transforms.evaluation.predicted_rows import PredictedRows
from transforms.evaluation.prediction_choice import (
    PredictionChoice,
)
from transforms.evaluation.slice_counts import SliceCounts
from transforms.evaluation.slice_scan import scan_unit
from transforms.evaluation.unit_source import ModelUnits
from transforms.execution import ExecutionOptions
from transforms.job_state import JobState
from transforms.outputs import copied_columns
from transforms.plan import Plan
from transforms.planning import make_plan
from transforms.process_unit import start_attempt
from transforms.unit_cutting import limit_rows
from transforms.unit_job import create_unit_job
from transforms.unit_table import Unit
from transforms.worker_core import acquired_core, worker_core_config


def prepare_models(options: EvaluateOptions) -> Prepared:
    """Plans an evaluation of models, and runs the first rows through them.

    Raises:
        ServableCoreError: Anything that can be known to be wrong before the first unit.
    """
    request, versions = request_of_versions(options)
    plan = make_plan(request, options.execution)
    plan = replace(plan, models=ordered(plan.models, versions))
    copied = copied_columns(plan.content.key, plan.content.passthrough)
    first = _first_rows_of_models(plan, options.execution)
    names = tuple(str(each.version) for each in plan.models)
    choice = choose_output(options.config, first, names, copied)
    plan = _with_outputs(plan, choice)
    catalog = slice_catalog(
        options.config, len(plan.units), lambda index: _scan_unit(index, plan, options.config)
    )
    measured = decide_measured(
        options.config,
        model_name=plan.models[0].name,
        versions=tuple(each.version for each in plan.models),
        choice=choice,
        first=first,
        catalog=catalog,
        key=None if plan.content.key is None else (plan.content.key,),
    )
    return Prepared(
        measured=measured,
        source=ModelUnits(
            measured=measured,
            directory=options.scratch_path,
            output=options.output_path,
            num_units=len(plan.units),
            execution=options.execution,
        ),
        facts=evaluation_facts(
            options,
            models={each.version: each.fingerprint for each in plan.models},
            files=[(each.path, each.size_bytes, each.mtime_secs) for each in plan.inputs],
        ),
        num_rows=plan.num_rows,
        size_bytes=plan.size_bytes,
        plan=plan,
    )


def _scan_unit(index: int, plan: Plan, config: EvaluationConfig) -> SliceCounts:
    return scan_unit(plan.units[index], plan, config.slices)


def _with_outputs(plan: Plan, choice: PredictionChoice) -> Plan:
    """Returns the plan with the output that is evaluated alone: the others need not be fetched."""
    content = plan.content
    if content.output_tensors or content.method != "predict" or content.postprocess:
        return plan
    return replace(plan, content=replace(content, output_tensors=choice.columns))


def _first_rows_of_models(plan: Plan, execution: ExecutionOptions) -> PredictedRows:
    with acquired_core(worker_core_config(plan, execution)) as core:
        job = create_unit_job(
            plan,
            "",
            execution,
            core=core,
            state=JobState(stops_siblings=True),
            clock=SystemClock(),
        )
        for unit in _short_units(plan):
            with closing(model_rows(unit, job, start_attempt(unit, job))) as batches:
                found = next((each for each in batches if has_all_outputs(each)), None)
            if found is not None:
                return found
    raise no_rows()


def _short_units(plan: Plan) -> Iterator[Unit]:
    for unit in plan.units:
        ranges = unit.ranges[:1]
        if ranges[0].num_rows != -1 and plan.content.sample is None:
            ranges = tuple(limit_rows(ranges, FIRST_ROWS))
        yield Unit(index=unit.index, ranges=ranges)
