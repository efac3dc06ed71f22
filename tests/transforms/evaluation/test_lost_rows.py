"""Rows that a candidate has no usable prediction for."""

import pytest

from tests.transforms.evaluation.gated import (
    BASELINE,
    CANDIDATE,
    compared,
    count_of,
    gate_of,
    metric_of,
    results_of,
)
from transforms.evaluation.gate import decide
from transforms.evaluation.verdict import Status
from transforms.evaluation.verdict_files import from_json, to_json

_RULE = {"metric": "auc", "test": "non_inferior", "margin": 0.05}
_COUNTS = ("nan_scores", "out_of_range_scores", "inference_errors")


def _verdict(metric, baseline, candidate, *rules):
    results = results_of(
        *compared("auc", 0.8, 0.1),
        metric_of(metric, count_of(baseline), BASELINE),
        metric_of(metric, count_of(candidate), CANDIDATE),
    )
    return decide(results, gate_of(_RULE, *rules))


@pytest.mark.parametrize("metric", _COUNTS)
def test_more_than_the_baseline_loses_are_a_warning(metric):
    verdict = _verdict(metric, 3, 4000)
    (warning,) = verdict.candidates[0].warnings
    assert verdict.status is Status.PASS
    assert metric in warning.reason
    assert "4,000, against 3 of the baseline" in warning.reason
    assert from_json(to_json(verdict)) == verdict


@pytest.mark.parametrize("lost", [0, 3])
def test_as_many_as_the_baseline_loses_are_none(lost):
    assert not _verdict("nan_scores", 3, lost).candidates[0].warnings


def test_a_rule_decides_instead_where_there_is_one():
    verdict = _verdict("nan_scores", 0, 5, {"metric": "nan_scores", "value": {"max": 10}})
    assert not verdict.candidates[0].warnings
    verdict = _verdict("nan_scores", 0, 5, {"metric": "nan_scores", "value": {"max": 4}})
    assert verdict.status is Status.FAIL
