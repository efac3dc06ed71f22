"""Small results of evaluations, and gates over them."""

import math

from transforms.evaluation.gate import decide
from transforms.evaluation.gate_config import parse_gate
from transforms.evaluation.results import ALL_ROWS, EvaluationResults, MetricResult, SliceResult
from transforms.metrics import Estimate, Method

BASELINE, CANDIDATE = 7, 9
ROWS = 10_000


def estimate_of(value, error=0.01, **fields):
    """Returns a normal estimate."""
    fields.setdefault("method", Method.DELONG)
    return Estimate(value=value, standard_error=error, **fields)


def share_of(value, rows=ROWS):
    return Estimate(value=value, method=Method.WILSON, effective_rows=rows, standard_error=0.001)


def count_of(number):
    return Estimate(value=float(number))


def metric_of(metric, estimate, version=CANDIDATE, key=ALL_ROWS, **fields):
    fields.setdefault("num_rows", ROWS)
    return MetricResult(metric=metric, version=version, slice=key, estimate=estimate, **fields)


def compared(metric, baseline, delta, error=0.01, key=ALL_ROWS, version=CANDIDATE, **fields):
    """Returns a metric of the baseline and of the candidate, and their difference."""
    if not isinstance(delta, Estimate):
        delta = estimate_of(delta, error)
    return [
        metric_of(metric, estimate_of(baseline), BASELINE, key, **fields),
        metric_of(metric, estimate_of(baseline + delta.value), version, key, **fields),
        metric_of(metric, delta, version, key, is_difference=True, **fields),
    ]


def results_of(*metrics, candidates=(CANDIDATE,), small=(), keys=()):
    """Returns results with the slices that the metrics are of; `small` ones are not scored."""
    found = list(dict.fromkeys([ALL_ROWS, *keys, *(each.slice for each in metrics)]))
    slices = [
        SliceResult(slice_id=number, key=key, num_rows=ROWS, is_scored=True)
        for number, key in enumerate(found)
    ]
    slices += [
        SliceResult(slice_id=len(slices) + number, key=key, num_rows=12, is_scored=False)
        for number, key in enumerate(small)
    ]
    return EvaluationResults(
        model_name="ranker",
        baseline=BASELINE,
        candidates=candidates,
        slices=tuple(slices),
        metrics=tuple(metrics),
    )


def gate_of(*rules, **section):
    return parse_gate({"rules": list(rules), **section})


def outcomes_of(results, *rules, **section):
    """Returns what comes out of rules, the gravest first."""
    (candidate,) = decide(results, gate_of(*rules, **section)).candidates
    assert not candidate.problem
    return candidate.outcomes


def outcome_of(results, rule, **section):
    (outcome,) = outcomes_of(results, rule, **section)
    return outcome


def reach(alpha=0.05):
    """Returns how many standard errors a one-sided bound is away."""
    from scipy.stats import norm

    return float(norm.ppf(1 - alpha))


def is_finite_or_none(number):
    return number is None or math.isfinite(number)
