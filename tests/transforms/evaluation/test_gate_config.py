"""The section `gate:`: all that it may say, and what is told of a slip."""

import pytest
import yaml

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.gate_config import Multiplicity, parse_gate
from transforms.evaluation.gate_rules import (
    Amount,
    ChangeLimits,
    Comparison,
    ComparisonKind,
    On,
    SliceSelector,
    ValueLimits,
)
from transforms.evaluation.verdict import Severity, Status
from transforms.metrics import Direction

_WHOLE = """
alpha: 0.1
multiplicity: bh
mode: point
rules:
- {metric: auc, test: non_inferior, margin: {absolute: 0.002}, mode: interval}
- {metric: log_loss, test: superior, severity: warn}
- {metric: auc, test: equivalent, margin: {relative: 0.01}, slices: {columns: [country, device]}}
- {metric: expected_calibration_error, value: {max: 0.03}, on: ci_upper, slices: {country: DE, adult: true}}
- {id: jump, metric: accuracy, sub_key: threshold=0.5, change: {max_improvement: 5e-2}, direction: lower, slices: [overall, all]}
- {metric: mean_prediction, change: {min: -0.1, max: {relative: 0.2}}, slices: {columns: country}}
missing: {metric: error, slice: skip, suppressed_slice: fail, baseline: skip, undefined: fail}
"""


def _parse(text):
    return parse_gate(yaml.safe_load(text))


def test_all_there_is_to_say():
    gate = _parse(_WHOLE)
    assert (gate.alpha, gate.multiplicity) == (0.1, Multiplicity.BH)
    auc, log_loss, equivalent, ece, jump, mean = gate.rules
    assert auc.requirement == Comparison(
        kind=ComparisonKind.NON_INFERIOR, margin=Amount(number=0.002)
    )
    assert (auc.on, auc.rule_id, auc.slices) == (
        On.INTERVAL,
        "auc non_inferior",
        (SliceSelector(),),
    )
    assert (log_loss.severity, log_loss.on) == (Severity.WARN, On.POINT)
    assert equivalent.requirement.margin == Amount(number=0.01, is_relative=True)
    assert equivalent.slices == (SliceSelector(columns=("country", "device")),)
    assert (ece.requirement, ece.on) == (ValueLimits(max=0.03), On.CI_UPPER)
    assert ece.slices == (SliceSelector(key=(("adult", "true"), ("country", "DE"))),)
    assert jump.requirement == ChangeLimits(max_improvement=Amount(number=0.05))
    assert (jump.rule_id, jump.sub_key) == ("jump", "threshold=0.5")
    assert jump.slices == (SliceSelector(), SliceSelector(is_all=True))
    assert mean.requirement == ChangeLimits(
        min=Amount(number=-0.1), max=Amount(number=0.2, is_relative=True)
    )
    assert mean.slices == (SliceSelector(columns=("country",)),)
    assert (jump.direction, mean.direction) == (Direction.LOWER, None)
    missing = gate.missing
    assert (missing.metric, missing.slice, missing.baseline) == (
        Status.ERROR,
        Status.SKIPPED,
        Status.SKIPPED,
    )
    assert (missing.suppressed_slice, missing.undefined) == (Status.FAIL, Status.FAIL)


@pytest.mark.parametrize("section", [{}, {"rules": None}, {"rules": []}, {"alpha": 0.1}])
def test_a_gate_without_rules_is_refused(section):
    with pytest.raises(InvalidArgumentError, match="gate: rules is empty"):
        parse_gate(section)


def test_rules_alike_have_names_of_their_own():
    rule = {"metric": "auc", "value": {"min": 0.5}}
    gate = parse_gate({"rules": [rule, rule, {**rule, "slices": "all"}]})
    names = [each.rule_id for each in gate.rules]
    assert names == ["auc value", "auc value #2", "auc value on all slices"]


def test_the_digest_tells_gates_apart():
    rule = {"metric": "auc", "value": {"min": 0.5}}
    other = {"metric": "auc", "value": {"min": 0.6}}
    named = [{"id": "a", **rule}, {"id": "b", **other}]
    digests = [
        parse_gate(each).sha256()
        for each in (
            {"rules": named},
            {"rules": named[::-1]},
            {"rules": [rule]},
            {"rules": [other]},
            {"rules": [rule], "alpha": 0.01},
        )
    ]
    assert digests[0] == digests[1]
    assert len(set(digests[1:])) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rulez: []", "gate: unknown key 'rulez'; did you mean 'rules'"),
        ("rules: 3", "gate: rules must be a list, got 3"),
        ("rules: [3]", r"gate: rules\[0\] must have id, metric, .*got 3"),
        ("rules: [{metrc: auc}]", r"rules\[0\]: unknown key 'metrc'; did you mean 'metric'"),
        ("rules: [{value: {min: 1}}]", "names no metric"),
        ("rules: [{metric: 3, value: {min: 1}}]", "metric must be a name, got 3"),
        ("rules: [{metric: auc}]", "expected one of value, change and test, got none"),
        (
            "rules: [{metric: auc, value: {min: 1}, test: superior}]",
            "expected one of value, change and test, got value and test",
        ),
        ("rules: [{metric: auc, value: {}}]", "no limit is given; give one of min and max"),
        ("rules: [{metric: auc, value: {mx: 1}}]", "unknown key 'mx'; did you mean 'max'"),
        ("rules: [{metric: auc, value: {min: 2, max: 1}}]", "min must not be above max"),
        ("rules: [{metric: auc, value: {min: a lot}}]", "must be a number, got 'a lot'"),
        ("rules: [{metric: auc, value: {min: .nan}}]", "must be a number, got nan"),
        ("rules: [{metric: auc, value: {min: true}}]", "must be a number, got True"),
        ("rules: [{metric: auc, value: 0.5}]", "must have min, max, got 0.5"),
        ("rules: [{metric: auc, value: {min: 1}, margin: 1}]", "margin goes with test"),
        ("rules: [{metric: auc, test: non_inferior}]", "non_inferior needs a margin"),
        ("rules: [{metric: auc, test: inferior}]", "did you mean 'non_inferior'"),
        ("rules: [{metric: auc, test: superior, margin: -1}]", "margin must be 0 or more"),
        (
            "rules: [{metric: auc, test: superior, margin: {relative: 1, absolute: 1}}]",
            "expected absolute or relative",
        ),
        ("rules: [{metric: auc, change: {}}]", "no limit is given"),
        ("rules: [{metric: auc, change: {max_regression: -1}}]", "must be 0 or more"),
        ("rules: [{metric: auc, change: {max_regression: 1, min: 1}}]", "make two rules of it"),
        (
            "rules: [{metric: auc, change: {max_regression: 1, min_improvement: 1}}]",
            "says nothing beside",
        ),
        ("rules: [{metric: auc, value: {min: 1, max: 2}, on: ci_upper}]", "goes with one limit"),
        (
            "rules: [{metric: auc, test: equivalent, margin: 1, on: ci_upper}]",
            "goes with one limit",
        ),
        ("rules: [{metric: auc, test: superior, on: upper}]", "did you mean 'ci_upper'"),
        ("rules: [{metric: auc, test: superior, on: point, mode: point}]", "says nothing beside"),
        ("rules: [{metric: auc, test: superior, severity: warning}]", "did you mean 'warn'"),
        ("rules: [{metric: auc, test: superior, direction: up}]", "direction must be one of"),
        ("rules: [{metric: auc, value: {min: 1}, direction: higher}]", "says nothing here"),
        ("rules: [{metric: auc, change: {min: 1}, direction: higher}]", "says nothing here"),
        (
            "rules: [{metric: positive_rate, test: superior}]",
            r"rules\[0\]: neither more nor less of positive_rate is better; give a direction",
        ),
        ("rules: [{metric: churn, test: superior}]", "compares versions by itself"),
        ("rules: [{metric: psi, change: {max: 1}}]", "compares versions by itself"),
        ("rules: [{metric: auc, test: superior, slices: DE}]", "expected overall, all"),
        ("rules: [{metric: auc, test: superior, slices: []}]", "names no slice"),
        ("rules: [{id: a, metric: b, test: superior}, {id: a, metric: c, test: superior}]", "'a'"),
        ("alpha: 0.7", "alpha must be above 0 and below 0.5"),
        ("alpha: 0", "alpha must be above 0"),
        ("multiplicity: bonferroni", "must be one of holm, bh, none"),
        ("mode: points", "did you mean 'point'"),
        ("missing: {metrics: fail}", "unknown key 'metrics'; did you mean 'metric'"),
        ("missing: {metric: pass}", "metric must be one of error, fail, inconclusive, skip"),
    ],
)
def test_slips_are_told(text, message):
    with pytest.raises(InvalidArgumentError, match=message) as found:
        _parse(text)
    assert str(found.value).startswith("gate")
