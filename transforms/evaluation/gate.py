"""Decides whether candidates may be promoted; pure.

rule ─▶ cases: a question for each slice ─▶ p-values, adjusted ─▶ outcomes ─▶ verdict
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from transforms.evaluation import gate_reasons
from transforms.evaluation.gate_cases import Case, GateCases, NoCase
from transforms.evaluation.gate_config import GateConfig
from transforms.evaluation.gate_rules import GateRule, On
from transforms.evaluation.lost_rows import lost_rows
from transforms.evaluation.results import EvaluationResults
from transforms.evaluation.significance import AdjustedTest, adjust
from transforms.evaluation.verdict import (
    CandidateVerdict,
    RuleOutcome,
    Status,
    Verdict,
    VerdictInputs,
    gravity,
)
from transforms.metrics import RowMetric, metric_direction

_NO_RULES = "the gate has no rules, so nothing was decided; list some under gate: rules:."


def decide(
    results: EvaluationResults,
    config: GateConfig,
    *,
    inputs: VerdictInputs | None = None,
    row_metrics: Sequence[RowMetric] = (),
) -> Verdict:
    """Returns what the gate says of each candidate.

    An evaluation of a single version has no baseline: that version is judged by the rules about
    values; what comes out of the others is a matter of policy.

    Args:
        results: What was measured.
        config: The gate.
        inputs: What it is about, for the record.
        row_metrics: Metrics of your own, which say which way they are better.
    """
    direction = partial(metric_direction, row_metrics=tuple(row_metrics))
    cases = GateCases(results, config.missing, direction)
    baseline = results.baseline if results.candidates else None
    versions = results.candidates or (results.baseline,)
    return Verdict(
        model_name=results.model_name,
        baseline=baseline,
        candidates=tuple(_judge(cases, config, version, baseline) for version in versions),
        inputs=inputs or VerdictInputs(),
    )


def _judge(
    cases: GateCases, config: GateConfig, version: int, baseline: int | None
) -> CandidateVerdict:
    if not config.rules:
        return CandidateVerdict(version=version, problem=_NO_RULES)
    outcomes = [
        each for rule in config.rules for each in _outcomes(cases, config, rule, version, baseline)
    ]
    outcomes += lost_rows(cases.results, version, {rule.metric for rule in config.rules})
    outcomes.sort(key=lambda each: (-gravity(each.effect), each.rule_id, each.slice, each.sub_key))
    slices = {key for rule in config.rules for key in cases.slices_of(rule)}
    missing = {key for rule in config.rules for key in cases.missing_slices(rule)}
    return CandidateVerdict(
        version=version,
        outcomes=tuple(outcomes),
        missing_slices=tuple(sorted(missing)),
        num_suppressed_slices=sum(not cases.is_scored(key) for key in slices),
    )


def _outcomes(
    cases: GateCases, config: GateConfig, rule: GateRule, version: int, baseline: int | None
) -> Iterator[RuleOutcome]:
    found = list(cases.of(rule, version))
    for none in found:
        if isinstance(none, NoCase):
            yield _unjudged(rule, none)
    asked = [each for each in found if isinstance(each, Case)]
    num_tests = sum(_is_testable(each) for each in asked)
    for outcome in _judged(rule, asked, config):
        reason = gate_reasons.judged(
            outcome, rule, version=version, baseline=baseline, num_tests=num_tests
        )
        yield replace(outcome, reason=reason)


def _judged(rule: GateRule, cases: Sequence[Case], config: GateConfig) -> Iterator[RuleOutcome]:
    """Yields the outcomes of the cases of one rule, among which the level is shared."""
    if rule.on is On.POINT:
        for case in cases:
            status = Status.PASS if case.question.holds() else Status.FAIL
            yield replace(_measured(rule, case), status=status)
        return
    tests = [each for each in cases if _is_testable(each)]
    inside = [each.question.p_inside() for each in tests]
    outside = [each.question.p_outside() for each in tests]
    shown = adjust(inside, config.alpha, config.multiplicity)
    refuted = adjust(outside, config.alpha, config.multiplicity)
    for case, p_value, pro, contra in zip(tests, inside, shown, refuted, strict=True):
        yield _tested(rule, case, p_value, pro, contra)
    for case in cases:
        if not _is_testable(case):
            yield replace(_measured(rule, case), status=Status.INCONCLUSIVE)


def _is_testable(case: Case) -> bool:
    return not math.isnan(case.question.p_inside())


def _tested(
    rule: GateRule, case: Case, p_value: float, pro: AdjustedTest, contra: AdjustedTest
) -> RuleOutcome:
    between = _between(rule, case)
    status = Status.PASS if pro.is_shown else Status.FAIL if contra.is_shown else between
    level = contra.level if contra.is_shown or between is Status.PASS else pro.level
    is_open = status is Status.INCONCLUSIVE
    return replace(
        _measured(rule, case),
        status=status,
        interval=case.question.estimate.interval(1 - 2 * level),
        interval_level=1 - 2 * level,
        p_value=p_value,
        adjusted_p_value=pro.p_value,
        rows_needed=case.question.rows_needed(case.num_rows, level) if is_open else None,
    )


def _between(rule: GateRule, case: Case) -> Status:
    """Returns what comes out where only a part of the interval keeps the limits.

    Where one end of the interval decides, it is the far end of the limit, which must be shown to
    be kept, or the near one, which must be shown to be broken.
    """
    if rule.on is On.INTERVAL:
        return Status.INCONCLUSIVE
    has_low = not math.isinf(case.question.low)
    return Status.FAIL if has_low is (rule.on is On.CI_LOWER) else Status.PASS


def _measured(rule: GateRule, case: Case) -> RuleOutcome:
    """Returns the outcome of a case before it is judged."""
    question = case.question
    return RuleOutcome(
        rule_id=rule.rule_id,
        metric=rule.metric,
        sub_key=case.sub_key,
        slice=case.slice,
        test=rule.test_name,
        severity=rule.severity,
        status=Status.ERROR,
        reason="",
        num_rows=case.num_rows,
        baseline_value=case.baseline_value,
        candidate_value=case.candidate_value,
        delta=case.delta,
        measure=question.measure,
        measured=question.estimate.value,
        interval_method=question.estimate.method.value,
        approximation_error=question.estimate.certified_error,
        low=None if math.isinf(question.low) else question.low,
        high=None if math.isinf(question.high) else question.high,
    )


def _unjudged(rule: GateRule, none: NoCase) -> RuleOutcome:
    return RuleOutcome(
        rule_id=rule.rule_id,
        metric=rule.metric,
        sub_key=none.sub_key,
        slice=none.slice,
        test=rule.test_name,
        severity=rule.severity,
        status=none.status,
        reason=none.reason,
        num_rows=none.num_rows,
    )
