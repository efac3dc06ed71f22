"""What is measured: chosen by the configuration, and by what the first rows look like."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from servable_core.runtime.executor import create_executor
from transforms.evaluation.class_names import common_class_names
from transforms.evaluation.evaluation_config import EvaluationConfig
from transforms.evaluation.evaluation_rows import EvaluationColumns
from transforms.evaluation.evaluation_setup import EvaluationSetup
from transforms.evaluation.first_rows import check_first_rows
from transforms.evaluation.predicted_rows import PredictedRows
from transforms.evaluation.prediction_choice import (
    PredictionChoice,
    check_same_outputs,
    choose_prediction,
    output_specs,
)
from transforms.evaluation.row_labels import to_labels
from transforms.evaluation.slice_catalog import SliceCatalog, build_catalog, needs_scan
from transforms.evaluation.slice_counts import SliceCounts
from transforms.evaluation.task_choice import check_label, check_task, infer_task
from transforms.evaluation.unit_source import Measured
from transforms.execution import usable_cores
from transforms.input_batch import SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN
from transforms.metrics import Task
from transforms.metrics.row_checks import MAX_NUMBER

# Labels this many times as far from 0 as they are spread lose digits to their mean.
_FAR = 64.0
_ROUND = 128.0


def choose_output(
    config: EvaluationConfig,
    first: PredictedRows,
    versions: Sequence[str],
    not_outputs: Sequence[str],
) -> PredictionChoice:
    """Returns the output that is evaluated, which all versions have.

    Args:
        config: What the user asked for.
        first: The first rows.
        versions: The versions' names.
        not_outputs: Columns that stand beside the outputs.

    Raises:
        InvalidArgumentError: It is not clear which, or versions differ in it.
    """
    specs = {
        version: output_specs(outputs, not_outputs)
        for version, outputs in zip(versions, first.outputs, strict=True)
        if outputs is not None
    }
    choice = choose_prediction(specs[versions[0]], config.prediction, config.classes)
    check_same_outputs(specs, choice)
    return choice


def slice_catalog(
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


def decide_measured(
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
    """Returns what is measured.

    Args:
        config: What the user asked for.
        model_name: The model.
        versions: The baseline first.
        choice: The output.
        first: The first rows.
        catalog: The slices.
        key: Columns that identify a row; None for its file and number.
        num_saved_rows: Rows that were saved of each version; empty for models.

    Raises:
        InvalidArgumentError: Labels, task and output do not go together.
    """
    label = config.label
    label_type = None if label is None else first.columns.schema.field(label).type
    task = config.task or infer_task(choice, label_type)
    check_task(task, choice)
    class_names = _class_names(config, choice, first, versions)
    if label_type is not None:
        check_label(task, label_type, class_names)
    row_key = (SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN) if key is None else tuple(key)
    example_key = row_key[0] if len(row_key) == 1 else None
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
        has_example_key=example_key not in (None, config.cluster_key),
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
    columns = EvaluationColumns(
        prediction=choice.prediction,
        classes=choice.classes,
        class_names=class_names,
        label=label,
        weight=config.weight,
        example_key=example_key,
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
    """Returns a number near the labels' mean where they are far from 0, as the first rows tell it.

    It is 0 otherwise, and a round number, so that other first rows of the same data say the same.
    """
    if task is not Task.REGRESSION or label is None:
        return 0.0
    labels = to_labels(columns.column(label), ())
    usable = labels[np.abs(labels) <= MAX_NUMBER]  # nor NaN
    if not usable.size:
        return 0.0
    low, middle, high = np.quantile(usable, (0.25, 0.5, 0.75))
    if abs(middle) <= _FAR * (high - low):
        return 0.0
    share, exponent = np.frexp(middle)
    return float(np.ldexp(np.rint(share * _ROUND), exponent) / _ROUND)
