"""Warns of rows that a candidate has no usable prediction for: no rule judges them.

Rows count for all versions or for none, so a candidate that fails at the hard ones may pass.
"""

from collections.abc import Collection, Iterator

from transforms.evaluation import gate_reasons
from transforms.evaluation.results import ALL_ROWS, EvaluationResults
from transforms.evaluation.verdict import RuleOutcome, Severity, Status

_COUNTS = ("nan_scores", "out_of_range_scores", "inference_errors")


def lost_rows(
    results: EvaluationResults, version: int, judged_metrics: Collection[str]
) -> Iterator[RuleOutcome]:
    """Yields a warning for each count of such rows that is above the baseline's.

    Args:
        results: What was measured.
        version: The candidate.
        judged_metrics: What rules ask for; they say themselves how many rows may be lost.
    """
    for metric in _COUNTS:
        lost = _count(results, metric, version)
        allowed = 0 if version == results.baseline else _count(results, metric, results.baseline)
        if lost <= allowed or metric in judged_metrics:
            continue
        yield RuleOutcome(
            rule_id=f"{metric} without a rule",
            metric=metric,
            test="value",
            severity=Severity.WARN,
            status=Status.FAIL,
            reason=gate_reasons.lost_rows(metric, version, lost, allowed),
            num_rows=_count(results, "rows", version),
            candidate_value=float(lost),
            measure="value",
            measured=float(lost),
            high=float(allowed),
        )


def _count(results: EvaluationResults, metric: str, version: int) -> int:
    found = results.find(metric, version, slice=ALL_ROWS)
    return 0 if found is None else round(found.estimate.value)
