"""Which families of metrics measure a task."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from servable_core.errors import InvalidArgumentError
from transforms.metrics import row_values
from transforms.metrics.array_types import Floats
from transforms.metrics.calibration_bins import CalibrationBins
from transforms.metrics.channels import Quantiles, ScoreDrift
from transforms.metrics.class_matrix import ClassMatrix
from transforms.metrics.columnar_family import ColumnarFamily
from transforms.metrics.decisions import (
    AGREEMENT_TABLES,
    BINARY_TABLES,
    Decisions,
    class_cells,
    threshold_cells,
)
from transforms.metrics.evaluation import Evaluation
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.evaluation_options import EvaluationOptions, Task
from transforms.metrics.metric_family import MetricFamily
from transforms.metrics.ratios import ratio
from transforms.metrics.row_checks import RowChecks
from transforms.metrics.row_means import MeanFunction, RowMeans
from transforms.metrics.row_metric import RowMetric
from transforms.metrics.score_ranking import ScoreRanking
from transforms.metrics.task_channels import difference_channels, error_channels, score_channels
from transforms.metrics.top_rows import MOST_DIFFERENT, MostDifferent
from transforms.metrics.transitions import Transitions


def create_evaluation(options: EvaluationOptions) -> Evaluation:
    """Returns what measures the task, and the metrics of your own.

    Functions in it need not be picklable: workers make their own of the same options.
    """
    max_label = {Task.BINARY: 1, Task.MULTICLASS: options.num_classes - 1, Task.REGRESSION: None}
    checks = RowChecks(
        num_versions=options.num_versions,
        num_blocks=options.num_blocks,
        max_label=max_label[options.task],
        is_probability=options.task is not Task.REGRESSION,
        is_labelled=options.is_labelled,
        is_weighted=options.is_weighted,
    )
    families = [*_of_predictions(options), *options.families]
    if options.is_labelled:
        families += _LABELLED[options.task](options)
    return Evaluation(checks=checks, families=tuple(families))


def _of_predictions(options: EvaluationOptions) -> list[MetricFamily | ColumnarFamily]:
    """Returns what needs no labels: drift, differences, changes of class, the most different rows."""
    families: list[MetricFamily | ColumnarFamily] = [
        ScoreDrift(scores=score_channels(options)),
        Quantiles(
            numbers=difference_channels(options),
            metrics=("absolute_difference",),
            shares=options.quantiles,
            has_order=_are_rows_alike(options),
        ),
        MostDifferent(name=MOST_DIFFERENT, max_rows=options.max_top_rows),
        row_means(options),
    ]
    if options.task is Task.MULTICLASS:
        families.append(
            Transitions(num_versions=options.num_versions, num_classes=options.num_classes)
        )
    return families


def row_means(options: EvaluationOptions) -> RowMeans:
    """Returns the means; without labels, of the predictions alone."""
    metrics: tuple[RowMetric, ...] = _PREDICTION_MEANS[options.task]
    functions: tuple[MeanFunction, ...] = ()
    if options.is_labelled:
        more, functions = _LABELLED_MEANS[options.task](options)
        metrics = (*metrics, *more, *map(_checked, options.row_metrics))
    return RowMeans(
        name="means",
        metrics=metrics,
        functions=functions,
        num_versions=options.num_versions,
        num_blocks=options.num_blocks,
        is_weighted=options.is_weighted,
        is_clustered=options.is_clustered,
    )


def _checked(metric: RowMetric) -> RowMetric:
    """Returns a metric of somebody's own, which is asked for less than it may give."""
    return replace(metric, values=partial(_share_values, metric)) if metric.is_share else metric


def _share_values(metric: RowMetric, batch: EvaluationBatch) -> Floats:
    """Returns the values of a share.

    Raises:
        InvalidArgumentError: Some are not 0, 1 or NaN; they are counted and not added up.
    """
    values = np.asarray(metric.values(batch), dtype=np.float64)
    others = values[~((values == 0) | (values == 1) | np.isnan(values))]
    if others.size:
        raise InvalidArgumentError(
            f"metric {metric.name!r} is a share, whose values are 0, 1 or NaN, but gave {others[0]:g}; let it give those alone, or leave `is_share` out"
        )
    return values


def _binary(options: EvaluationOptions) -> list[MetricFamily | ColumnarFamily]:
    return [
        Decisions(
            name="decisions",
            cells=threshold_cells(options.thresholds),
            sub_keys=tuple(f"threshold={each:g}" for each in options.thresholds),
            metrics=BINARY_TABLES,
            num_versions=options.num_versions,
            num_blocks=options.num_blocks,
            is_weighted=options.is_weighted,
            is_clustered=options.is_clustered,
        ),
        _ranking(options, has_joint=True),
        _calibration(options),
    ]


def _multiclass(options: EvaluationOptions) -> list[MetricFamily | ColumnarFamily]:
    return [
        Decisions(
            name="agreement",
            cells=class_cells,
            sub_keys=("",),
            metrics=AGREEMENT_TABLES,
            num_versions=options.num_versions,
            num_blocks=options.num_blocks,
            is_weighted=options.is_weighted,
            is_clustered=options.is_clustered,
        ),
        ClassMatrix(
            name="confusion",
            num_versions=options.num_versions,
            num_classes=options.num_classes,
            num_blocks=options.num_blocks,
        ),
        _ranking(options, has_joint=False),
        _calibration(options),
    ]


def _regression(options: EvaluationOptions) -> list[MetricFamily | ColumnarFamily]:
    return [
        Quantiles(
            numbers=error_channels(options),
            metrics=("error", "absolute_error"),
            shares=options.quantiles,
            has_order=_are_rows_alike(options),
        ),
    ]


_LABELLED = {Task.BINARY: _binary, Task.MULTICLASS: _multiclass, Task.REGRESSION: _regression}


_Means = tuple[tuple[RowMetric, ...], tuple[MeanFunction, ...]]


def _binary_means(options: EvaluationOptions) -> _Means:  # noqa: ARG001 - one shape for all tasks
    return _BINARY_MEANS, (_CALIBRATION_RATIO,)


def _multiclass_means(options: EvaluationOptions) -> _Means:
    top_k = tuple(
        RowMetric(f"top_{k}_accuracy", partial(_is_among, k=k), is_share=True)
        for k in options.top_k
    )
    return (*_MULTICLASS_MEANS, *top_k), ()


def _regression_means(options: EvaluationOptions) -> _Means:
    centred = partial(row_values.centred_label, centre=options.label_centre)
    squared = partial(row_values.squared_centred_label, centre=options.label_centre)
    metrics = (
        RowMetric("bias", row_values.error),
        RowMetric("mae", row_values.absolute_error),
        RowMetric("mse", row_values.squared_error),
        RowMetric("mape", row_values.absolute_percentage_error),
        RowMetric("centred_label", centred, is_reported=False, is_of_row=True),
        RowMetric("squared_centred_label", squared, is_reported=False, is_of_row=True),
    )
    return metrics, _REGRESSION_FUNCTIONS


_LABELLED_MEANS = {
    Task.BINARY: _binary_means,
    Task.MULTICLASS: _multiclass_means,
    Task.REGRESSION: _regression_means,
}


def _calibration(options: EvaluationOptions) -> CalibrationBins:
    return CalibrationBins(
        name="calibration", num_versions=options.num_versions, num_blocks=options.num_blocks
    )


def _ranking(options: EvaluationOptions, *, has_joint: bool) -> ScoreRanking:
    return ScoreRanking(
        scores=score_channels(options),
        max_false_positive_rate=options.max_false_positive_rate,
        min_precision=options.min_precision,
        uses_delong=_are_rows_alike(options),
        has_joint=has_joint and _are_rows_alike(options),
    )


def _are_rows_alike(options: EvaluationOptions) -> bool:
    """Whether rows are independent and of equal weight."""
    return not (options.is_clustered or options.is_weighted)


def _is_among(batch: EvaluationBatch, k: int) -> Floats:
    return (row_values.classes_above(batch) < k).astype(np.float64)


def _is_equal(batch: EvaluationBatch) -> Floats:
    is_equal = batch.predictions == batch.predictions[:1]
    return (is_equal if is_equal.ndim == 2 else is_equal.all(axis=2)).astype(np.float64)


_EQUAL = RowMetric("equal_to_baseline", _is_equal, is_paired=True, is_share=True)
_PREDICTION_MEANS = {
    Task.BINARY: (RowMetric("mean_prediction", row_values.prediction), _EQUAL),
    Task.MULTICLASS: (_EQUAL,),
    Task.REGRESSION: (RowMetric("mean_prediction", row_values.prediction), _EQUAL),
}
_BINARY_MEANS = (
    RowMetric("log_loss", row_values.log_loss),
    RowMetric("brier", row_values.squared_error),
    RowMetric("label", row_values.label, is_reported=False, is_share=True, is_of_row=True),
)
_CALIBRATION_RATIO = MeanFunction(
    "calibration_ratio", lambda means: ratio(means["mean_prediction"], means["label"])
)
_MULTICLASS_MEANS = (
    RowMetric("log_loss", row_values.class_log_loss),
    RowMetric("brier", row_values.class_brier),
    RowMetric("reciprocal_rank", row_values.reciprocal_rank),
)
_REGRESSION_FUNCTIONS = (
    MeanFunction("rmse", lambda means: np.sqrt(means["mse"])),
    MeanFunction("r2", lambda means: 1 - ratio(means["mse"], _label_variance(means))),
)


def _label_variance(means: Mapping[str, Floats]) -> Floats:
    return means["squared_centred_label"] - np.square(means["centred_label"])
