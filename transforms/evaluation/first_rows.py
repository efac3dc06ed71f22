"""Refuses what the first rows show to be no fault of single rows: logits, labels of another task."""

from collections.abc import Mapping

import numpy as np

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.evaluation_rows import EvaluationColumns
from transforms.metrics import EvaluationBatch, EvaluationOptions, Task, create_evaluation
from transforms.metrics.array_types import Floats
from transforms.metrics.row_checks import MAX_NUMBER, ROW_COUNTS

_MAX_SHARE = 0.5
# Two classes as others number them: no row of such data is at fault.
_OTHER_CLASSES = ([-1.0, 1.0], [1.0, 2.0])
_MAX_LABELS = 5


def check_first_rows(
    rows: EvaluationBatch, options: EvaluationOptions, columns: EvaluationColumns
) -> None:
    """Checks that most rows have labels and scores of the task; single ones are counted later.

    Args:
        rows: Some rows.
        options: What is measured.
        columns: Where labels and scores come from.

    Raises:
        InvalidArgumentError: More than half of the scores of a version, or of the labels, cannot be
            of the task.
    """
    _, counters = create_evaluation(options).checks.check(rows)
    for version, counts in enumerate(counters.dense(slice_id=0)):
        found = dict(zip(ROW_COUNTS, counts.tolist(), strict=True))
        if _is_most(found, "out_of_range_scores"):
            raise _no_probabilities(rows.predictions[version], version, columns)
        if rows.labels is None:
            continue
        if _is_most(found, "bad_labels") or _are_other_classes(rows.labels, options, columns):
            raise _no_labels(rows.labels, options, columns)


def _is_most(counts: Mapping[str, int], name: str) -> bool:
    return counts[name] > _MAX_SHARE * counts["rows"]


def _are_other_classes(
    labels: Floats, options: EvaluationOptions, columns: EvaluationColumns
) -> bool:
    if options.task is not Task.BINARY or columns.class_names:
        return False
    return np.unique(labels[~np.isnan(labels)]).tolist() in _OTHER_CLASSES


def _no_probabilities(
    scores: Floats, version: int, columns: EvaluationColumns
) -> InvalidArgumentError:
    low, high = np.nanmin(scores), np.nanmax(scores)
    name = columns.versions[version] if columns.versions else version
    return InvalidArgumentError(
        f"{columns.prediction!r} of version {name} is from {low:.4g} to {high:.4g} in the first {scores.shape[0]} rows, where probabilities from 0 to 1 are expected; if these are logits, name an output of probabilities with --prediction, or make them with --postprocess; quantities are --task=regression"
    )


def _no_labels(
    labels: Floats, options: EvaluationOptions, columns: EvaluationColumns
) -> InvalidArgumentError:
    found = np.unique(labels[~np.isnan(labels)])[:_MAX_LABELS]
    expected = _expected_labels(options)
    names = f" or the names {list(columns.class_names[:10])}" if columns.class_names else ""
    return InvalidArgumentError(
        f"--label={columns.label}: too many labels of the first {labels.size} rows are outside of {expected}{names}, which --task={options.task.value} expects{_listed(found, columns)}; give another --label or --task, or change the labels"
    )


def _expected_labels(options: EvaluationOptions) -> str:
    if options.task is Task.REGRESSION:
        return f"-{MAX_NUMBER:,.0f} to {MAX_NUMBER:,.0f}"
    highest = 1 if options.task is Task.BINARY else options.num_classes - 1
    return "0 and 1" if highest == 1 else f"0 to {highest}"


def _listed(labels: Floats, columns: EvaluationColumns) -> str:
    """Returns what labels there are, unless they are places of names by now."""
    if columns.class_names:
        return ""
    return f"; there are {', '.join(f'{each:g}' for each in labels)}"
