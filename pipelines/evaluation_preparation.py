"""Everything that is decided before the first unit: versions, columns, task, slices. Writes nothing.

The first rows tell what outputs there are and what they look like: of models they are predicted on
this machine, of saved predictions they are read.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.evaluate_options import EvaluateOptions
from pipelines.evaluated_versions import compared_versions, ordered, request_of_versions
from servable_core.errors import InvalidArgumentError
from servable_core.runtime.clock import SystemClock
from servable_core.runtime.executor import create_executor
from transforms.evaluation.class_names import common_class_names
from transforms.evaluation.evaluation_config import EvaluationConfig
from transforms.evaluation.evaluation_rows import EvaluationColumns
from transforms.evaluation.evaluation_setup import EvaluationSetup
from transforms.evaluation.first_rows import check_first_rows
from transforms.evaluation.model_rows import model_rows
from transforms.evaluation.predicted_rows import PredictedRows
from transforms.evaluation.prediction_choice import (
    PredictionChoice,
    check_same_outputs,
    choose_prediction,
    output_specs,
)
from transforms.evaluation.saved_predictions import (
    SavedPredictions,
    plan_saved,
    read_saved,
    scan_saved,
)
from transforms.evaluation.slice_catalog import SliceCatalog, build_catalog, needs_scan
from transforms.evaluation.slice_counts import SliceCounts
from transforms.evaluation.slice_scan import scan_unit
from transforms.evaluation.task_choice import check_label, check_task, infer_task
from transforms.evaluation.unit_source import Measured, ModelUnits, SavedUnits, UnitSource
from transforms.execution import ExecutionOptions, usable_cores
from transforms.input_batch import SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN
from transforms.job_state import JobState
from transforms.metrics import Task
from transforms.outputs import copied_columns
from transforms.plan import Plan
from transforms.planning import make_plan
from transforms.process_unit import start_attempt
from transforms.unit_cutting import limit_rows
from transforms.unit_job import create_unit_job
from transforms.unit_table import Unit
from transforms.worker_core import acquired_core, worker_core_config

_FIRST_ROWS = 512  # fewer than make a budget of failures tell


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """An evaluation, decided.

    Attributes:
        measured: What is measured.
        source: The units.
        facts: Where models and data come from.
        num_rows: Of all units, or None when only reading tells.
        size_bytes: About how many bytes are read.
        plan: Of the models' units; None of saved predictions.
    """

    measured: Measured
    source: UnitSource
    facts: Mapping[str, Any]
    num_rows: int | None
    size_bytes: int
    plan: Plan | None = None


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
    choice = _choose(options.config, first, names, copied)
    plan = _with_outputs(plan, choice)
    catalog = _catalog(
        options.config, len(plan.units), lambda index: _scan_unit(index, plan, options.config)
    )
    measured = _measured(
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
        facts=_facts(
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
                found = next((each for each in batches if _has_all(each)), None)
            if found is not None:
                return found
    raise _no_rows()


def _short_units(plan: Plan) -> Iterator[Unit]:
    for unit in plan.units:
        ranges = unit.ranges[:1]
        if ranges[0].num_rows != -1 and plan.content.sample is None:
            ranges = tuple(limit_rows(ranges, _FIRST_ROWS))
        yield Unit(index=unit.index, ranges=ranges)


def _has_all(rows: PredictedRows) -> bool:
    return rows.columns.num_rows > 0 and None not in rows.outputs


def _no_rows() -> InvalidArgumentError:
    return InvalidArgumentError(
        "there is nothing to evaluate: the data has no row that all versions have a prediction for"
    )


def prepare_saved(options: EvaluateOptions) -> Prepared:
    """Plans an evaluation of saved predictions.

    Raises:
        ServableCoreError: Anything that can be known to be wrong before the first unit.
    """
    config = options.config
    versions = compared_versions(config)
    saved = plan_saved(
        options.predictions,
        model_name=options.models.get("model_name"),
        baseline=versions.baseline,
        candidates=versions.candidates,
        example_key=config.example_key,
    )
    _check_saved_columns(config, saved)
    outputs = saved.output_names(config.columns)
    not_outputs = tuple(name for name in saved.baseline.schema.names if name not in outputs)
    names = tuple(str(each.version) for each in saved.versions)
    first = _first_saved_rows(saved, config.columns, outputs)
    choice = _choose(config, first, names, not_outputs)
    catalog = _catalog(
        config, len(saved.units), lambda index: scan_saved(index, saved, config.slices)
    )
    measured = _measured(
        config,
        model_name=saved.model_name,
        versions=tuple(each.version for each in saved.versions),
        num_saved_rows=tuple(each.num_rows for each in saved.versions),
        choice=choice,
        first=first,
        catalog=catalog,
        key=saved.key,
    )
    wanted = [each for each in (choice.prediction, choice.classes) if each is not None]
    files = [(each.path, each.size_bytes, 0.0) for each in saved.baseline.parts]
    return Prepared(
        measured=measured,
        source=SavedUnits(measured=measured, saved=saved, outputs=tuple(wanted)),
        facts=_facts(
            options,
            models={each.version: each.fingerprint for each in saved.versions if each.fingerprint},
            files=files,
        ),
        num_rows=saved.baseline.num_rows,
        size_bytes=sum(each.size_bytes for each in saved.baseline.parts),
    )


def _check_saved_columns(config: EvaluationConfig, saved: SavedPredictions) -> None:
    names = saved.baseline.schema.names
    for column in config.columns:
        if column not in names:
            raise InvalidArgumentError(
                f"the predictions of version {saved.baseline.version} have no column {column!r}, which the evaluation names; precompute them with --passthrough={column} (they have {', '.join(names)})"
            )


def _first_saved_rows(
    saved: SavedPredictions, columns: Sequence[str], outputs: Sequence[str]
) -> PredictedRows:
    for unit in saved.units:
        for rows in read_saved(unit, saved, columns, outputs):
            if _has_all(rows):
                return _sliced(rows, _FIRST_ROWS)
    raise _no_rows()


def _sliced(rows: PredictedRows, num_rows: int) -> PredictedRows:
    return PredictedRows(
        columns=rows.columns.slice(0, num_rows),
        outputs=tuple(None if each is None else each.slice(0, num_rows) for each in rows.outputs),
    )


def _choose(
    config: EvaluationConfig,
    first: PredictedRows,
    versions: Sequence[str],
    not_outputs: Sequence[str],
) -> PredictionChoice:
    specs = {
        version: output_specs(outputs, not_outputs)
        for version, outputs in zip(versions, first.outputs, strict=True)
        if outputs is not None
    }
    choice = choose_prediction(specs[versions[0]], config.prediction)
    check_same_outputs(specs, choice)
    return choice


def _catalog(
    config: EvaluationConfig, num_units: int, scan: Callable[[int], SliceCounts]
) -> SliceCatalog:
    """Counts the values of the slice columns where that is needed, and numbers the slices."""
    counts = None
    if needs_scan(config.slices):
        counts = _scanned(num_units, scan)
    return build_catalog(
        config.slices,
        counts,
        max_values_per_column=config.max_values_per_column,
        max_slices=config.max_slices,
        min_rows=config.min_slice_rows,
    )


def _scanned(num_units: int, scan: Callable[[int], SliceCounts]) -> SliceCounts:
    executor = create_executor(usable_cores(), "slice_scan")
    try:
        return SliceCounts.merge(executor.map(scan, range(num_units)))
    finally:  # of an error, or Ctrl-C, the units that wait need not hear
        executor.shutdown(cancel_futures=True)


def _measured(
    config: EvaluationConfig,
    *,
    model_name: str,
    versions: tuple[int, ...],
    choice: PredictionChoice,
    first: PredictedRows,
    catalog: SliceCatalog,
    key: Sequence[str] | None,
    num_saved_rows: tuple[int, ...] = (),
) -> Measured:
    label = config.label
    label_type = None if label is None else first.columns.schema.field(label).type
    task = config.task or infer_task(choice, label_type)
    check_task(task, choice)
    class_names = _class_names(config, choice, first, versions)
    if label_type is not None:
        check_label(task, label_type, class_names)
    setup = EvaluationSetup(
        model_name=model_name,
        versions=versions,
        num_saved_rows=num_saved_rows,
        task=task,
        num_classes=choice.num_classes,
        class_names=class_names,
        is_labelled=label is not None,
        is_weighted=config.weight is not None,
        is_clustered=config.cluster_key is not None,
        label_centre=_label_centre(task, first.columns, label),
        thresholds=config.thresholds,
        top_k=config.top_k,
        quantiles=config.quantiles,
        max_false_positive_rate=config.max_false_positive_rate,
        min_precision=config.min_precision,
        confidence_level=config.confidence_level,
        min_slice_rows=config.min_slice_rows,
        max_top_rows=config.max_top_rows,
        metrics=config.metrics,
    )
    row_key = (SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN) if key is None else tuple(key)
    columns = EvaluationColumns(
        prediction=choice.prediction,
        classes=choice.classes,
        class_names=class_names,
        label=label,
        weight=config.weight,
        example_key=row_key[0] if len(row_key) == 1 else None,
        cluster_key=config.cluster_key,
        versions=tuple(map(str, versions)),
    )
    measured = Measured(
        setup=setup,
        columns=columns,
        needed=tuple(dict.fromkeys([*config.columns, *row_key])),
        catalog=catalog,
    )
    rows = measured.row_measure().rows.batch(first.columns, first.outputs)
    check_first_rows(rows, setup.options(), columns)  # refuses what cannot be measured
    return measured


def _class_names(
    config: EvaluationConfig,
    choice: PredictionChoice,
    first: PredictedRows,
    versions: Sequence[int],
) -> tuple[str, ...]:
    """Returns the names of the classes, as the configuration or the models give them."""
    rows = {
        str(version): outputs
        for version, outputs in zip(versions, first.outputs, strict=True)
        if outputs is not None
    }
    return common_class_names(rows, choice, config.classes)


def _label_centre(task: Task, columns: pa.RecordBatch, label: str | None) -> float:
    """Returns a number near the labels' mean, as the first rows tell it."""
    if task is not Task.REGRESSION or label is None:
        return 0.0
    labels = columns.column(label).cast(pa.float64()).to_numpy(zero_copy_only=False)
    finite = labels[np.isfinite(labels)]
    return float(np.float32(finite.mean())) if finite.size else 0.0


def _facts(
    options: EvaluateOptions,
    *,
    models: Mapping[int, str],
    files: Sequence[tuple[str, int, float]],
) -> dict[str, Any]:
    config = asdict(options.config)
    return {
        "config_sha256": _digest(config),
        "data_fingerprint": _digest(files),
        "data_files": len(files),
        "data_first_file": files[0][0] if files else "",
        "models": {str(version): each for version, each in models.items()},
        "command_line": options.command_line,
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
