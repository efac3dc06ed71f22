import math

import pytest

from pipelines.report.gate_view import allowed_change, rule_line, sliced_metrics, tally
from transforms.evaluation.verdict import (
    CandidateVerdict,
    RuleOutcome,
    Severity,
    Status,
    Verdict,
)

_DE, _FR = (("country", "DE"),), (("country", "FR"),)


def _outcome(metric="log_loss", status=Status.PASS, key=_DE, **fields):
    return RuleOutcome(
        rule_id="r", metric=metric, slice=key, test="t", status=status, reason="because", **fields
    )


@pytest.mark.parametrize(
    ("metric", "measure", "low", "high", "allowed"),
    [
        ("auc", "improvement", -0.01, None, (-0.01, math.nan)),
        ("log_loss", "improvement", -0.05, None, (math.nan, 0.05)),
        ("log_loss", "improvement", -0.05, 0.2, (-0.2, 0.05)),
        ("log_loss", "change", -0.05, 0.2, (-0.05, 0.2)),
        ("log_loss", "value", 0.0, 0.2, (math.nan, math.nan)),
    ],
)
def test_limits_are_of_the_change_whichever_way_is_better(metric, measure, low, high, allowed):
    """A loss may rise by the margin by which a gain may fall."""
    outcome = _outcome(metric, measure=measure, low=low, high=high)
    found = allowed_change(CandidateVerdict(version=2, outcomes=(outcome,)), metric, "")
    assert found == pytest.approx(allowed, nan_ok=True)


def test_of_several_limits_the_tightest_counts_and_those_of_all_rows_do_not():
    outcomes = (
        _outcome("auc", measure="change", low=-0.05),
        _outcome("auc", measure="change", low=-0.02),
        _outcome("auc", key=(), measure="change", low=-0.001),
        _outcome("ks", measure="change", low=-0.001),
    )
    found = allowed_change(CandidateVerdict(version=2, outcomes=outcomes), "auc", "")
    assert found == pytest.approx((-0.02, math.nan), nan_ok=True)
    assert allowed_change(None, "auc", "") == pytest.approx((math.nan, math.nan), nan_ok=True)


def test_metrics_that_fail_on_slices_come_first():
    outcomes = (
        _outcome("auc"),
        _outcome("ks", status=Status.FAIL),
        _outcome("brier", status=Status.FAIL, severity=Severity.WARN),
        _outcome("mcc", status=Status.FAIL, key=()),
        _outcome("auc", status=Status.INCONCLUSIVE, key=_FR),
    )
    candidates = (CandidateVerdict(version=2, outcomes=outcomes),)
    verdict = Verdict(model_name="m", baseline=1, candidates=candidates)
    assert [metric for metric, _ in sliced_metrics(verdict)] == ["ks", "auc", "brier"]
    assert sliced_metrics(None) == []


def test_checks_are_counted_by_what_they_mean():
    outcomes = (
        _outcome(),
        _outcome(status=Status.FAIL, severity=Severity.WARN),
        _outcome(status=Status.FAIL),
        _outcome(status=Status.FAIL),
    )
    found = tally(CandidateVerdict(version=2, outcomes=outcomes))
    assert found == "4 checks: 2 fail, 1 warn, 1 pass"


def test_a_rule_shows_as_many_digits_as_its_interval_has():
    line = rule_line(
        _outcome(
            measure="improvement",
            measured=-0.28594,
            interval=(-0.42874, -0.14314),
            low=-0.1,
            num_rows=1176,
        )
    )
    minus = "\N{MINUS SIGN}"
    assert line.measured == f"{minus}0.29"
    assert line.interval == f"[{minus}0.43, {minus}0.14]"
    assert line.allowed == f"improvement ≥ {minus}0.1"
    assert (line.rows, line.slice_name) == ("1,176", "country=DE")


def test_a_rule_without_numbers_has_its_reason():
    line = rule_line(_outcome(status=Status.FAIL, interval=(-math.inf, math.inf)))
    assert (line.measured, line.allowed, line.rows, line.reason) == ("", "", "", "because")
