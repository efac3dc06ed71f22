"""From the states of all rows to the numbers."""

from collections.abc import Iterator, Sequence

from transforms.evaluation.metric_columns import MetricColumns
from transforms.evaluation.metric_tables import read_metrics
from transforms.evaluation.results import EvaluationResults, MetricResult, SliceResult
from transforms.evaluation.state_files import SavedEvaluation
from transforms.metrics import Evaluation

# Points of a curve: of each of thousands of slices they would be most of all there is to tell.
_CURVE_POINTS = "reliability_"


def evaluation_results(saved: SavedEvaluation, directory: str | None = None) -> EvaluationResults:
    """Returns all that was measured; metrics of the slices with enough rows alone.

    Args:
        saved: The evaluation.
        directory: Where the metrics of these very states may have been written already.
    """
    evaluation = saved.evaluation()
    slices = tuple(_slices(saved, evaluation))
    known = None if directory is None else read_metrics(directory, slices, saved.sha256)
    baseline, *candidates = saved.setup.versions
    return EvaluationResults(
        model_name=saved.setup.model_name,
        baseline=baseline,
        candidates=tuple(candidates),
        slices=slices,
        metrics=known or _all_metrics(saved, evaluation, slices),
    )


def _all_metrics(
    saved: SavedEvaluation, evaluation: Evaluation, slices: Sequence[SliceResult]
) -> MetricColumns:
    return MetricColumns.of(
        metric for each in slices if each.is_scored for metric in _metrics(saved, evaluation, each)
    )


def _slices(saved: SavedEvaluation, evaluation: Evaluation) -> Iterator[SliceResult]:
    for slice_id in sorted({0, *evaluation.slices(saved.states)}):
        num_rows = evaluation.num_valid_rows(saved.states, slice_id)
        yield SliceResult(
            slice_id=slice_id,
            key=saved.catalog.keys[slice_id],
            num_rows=num_rows,
            # All rows are told of even where they are few: there is nothing else.
            is_scored=slice_id == 0 or num_rows >= saved.setup.min_slice_rows,
        )


def _metrics(
    saved: SavedEvaluation, evaluation: Evaluation, of: SliceResult
) -> Iterator[MetricResult]:
    for value in evaluation.finalise(saved.states, of.slice_id):
        if of.slice_id and value.metric.startswith(_CURVE_POINTS):
            continue
        yield MetricResult(
            metric=value.metric,
            sub_key=value.sub_key,
            version=saved.setup.versions[value.version],
            is_difference=value.is_difference,
            slice=of.key,
            num_rows=of.num_rows,
            estimate=value.estimate,
        )
