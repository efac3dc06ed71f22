"""Rows that were not evaluated and why, and slices that are too small to be scored."""

from dataclasses import dataclass

from pipelines.report.content import ReportContent
from pipelines.report.number_format import counted
from transforms.evaluation.repeated_keys import REPEATED_KEYS
from transforms.evaluation.results import SliceResult
from transforms.metrics.row_checks import ROW_COUNTS

_FAILED = "inference_errors"
_UNMATCHED = "unmatched_rows"
_UNDEFINED = "undefined_rows"
_WORDS = {
    "rows": "rows with predictions",
    "valid_rows": "evaluated",
    "missing_labels": "without a label",
    "bad_labels": "label outside the task's domain",
    "bad_weights": "weight is no moderate number from 0",
    "nan_scores": "prediction is NaN or missing",
    "out_of_range_scores": "prediction out of range",
    _FAILED: "no prediction: the row or the model failed",
    _UNMATCHED: "saved for a version, but not for the baseline",
}
_ALWAYS = ("rows", "valid_rows")


@dataclass(frozen=True, kw_only=True, slots=True)
class RowProblem:
    """A count of rows.

    Attributes:
        words: What is counted.
        counts: By version, the baseline first.
    """

    words: str
    counts: tuple[int, ...]


def row_counts(content: ReportContent) -> list[RowProblem]:
    """Returns the counts of all rows, evaluated ones, and those with problems that there are."""
    names = (*ROW_COUNTS, _FAILED, _UNMATCHED)
    found = [(name, _counts(content, name)) for name in names]
    counts = [
        RowProblem(words=_WORDS[name], counts=each)
        for name, each in found
        if name in _ALWAYS or any(each)
    ]
    return [*counts, *_undefined(content)]


def num_problem_rows(content: ReportContent) -> int:
    """Returns how many rows were not evaluated; a row counts for all versions or for none."""
    rows, valid = (max(_counts(content, name)) for name in _ALWAYS)
    return rows - valid + sum(max(_counts(content, name)) for name in (_FAILED, _UNMATCHED))


def repeated_keys_warning(content: ReportContent) -> str:
    """Returns what to know where rows share their keys, which are there to identify them."""
    num_rows = max(_counts(content, REPEATED_KEYS))
    if not num_rows:
        return ""
    return (
        f"{counted(num_rows, 'row')} with the example key of another row, so that it does not identify"
        " them; if rows with one key depend on each other, intervals are too narrow: give it as"
        " --cluster_key"
    )


def small_slices(content: ReportContent) -> list[SliceResult]:
    """Returns the slices that are not scored, the largest first."""
    found = [each for each in content.results.slices if not each.is_scored]
    return sorted(found, key=lambda each: (-each.num_rows, each.name))


def _counts(content: ReportContent, metric: str, sub_key: str = "") -> tuple[int, ...]:
    found = [
        content.results.find(metric, version, sub_key=sub_key)
        for version in content.results.versions
    ]
    return tuple(0 if each is None else round(each.estimate.value) for each in found)


def _undefined(content: ReportContent) -> list[RowProblem]:
    keys = [
        each.sub_key
        for each in content.results.of_slice(())
        if each.metric == _UNDEFINED and each.estimate.value
    ]
    return [
        RowProblem(
            words=f"not defined: {key.removeprefix('metric=')}",
            counts=(max(_counts(content, _UNDEFINED, key)),) * len(content.results.versions),
        )
        for key in dict.fromkeys(keys)
    ]
