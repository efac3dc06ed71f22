"""From the states of all rows to the numbers."""

from collections.abc import Iterator, Sequence

import numpy as np

from transforms.evaluation.formula_digest import formula_digest
from transforms.evaluation.metric_columns import MetricColumns
from transforms.evaluation.metric_tables import read_metrics
from transforms.evaluation.results import EvaluationResults, SliceResult
from transforms.evaluation.state_files import SavedEvaluation
from transforms.metrics import Evaluation
from transforms.metrics.metric_column import MetricColumn

# Of each of thousands of slices these would be most of all there is to tell.
_OF_ALL_ROWS = ("reliability_", "transition")


def evaluation_results(saved: SavedEvaluation, directory: str | None = None) -> EvaluationResults:
    """Returns all that was measured; metrics of the slices with enough rows alone.

    Args:
        saved: The evaluation.
        directory: Where the metrics of these very states may have been written already.
    """
    evaluation = saved.evaluation()
    slices = tuple(_slices(saved, evaluation))
    formulas = formula_digest(saved.setup.metrics)
    known = None if directory is None else read_metrics(directory, slices, saved.sha256, formulas)
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
    scored = [each for each in slices if each.is_scored]
    ids = np.array([each.slice_id for each in scored], dtype=np.int64)
    found = evaluation.finalise_slices(saved.states, ids)
    return MetricColumns.of_slices(
        filter(None, map(_told, found)),
        versions=saved.setup.versions,
        slice_ids=ids,
        keys=tuple(each.key for each in scored),
        num_rows=np.array([each.num_rows for each in scored], dtype=np.int64),
    )


def _told(column: MetricColumn) -> MetricColumn | None:
    """Returns what of a column is told, if anything."""
    if not column.metric.startswith(_OF_ALL_ROWS):
        return column
    of_all = column.where(column.slice_ids == 0)
    return of_all if of_all.slice_ids.size else None


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
