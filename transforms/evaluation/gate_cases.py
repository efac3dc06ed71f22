"""Finds what a rule is about: a question for each of its slices, or why there is none."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from servable_core.errors import FailedPreconditionError, InvalidArgumentError
from transforms.evaluation import gate_reasons
from transforms.evaluation.gate_config import MissingPolicy
from transforms.evaluation.gate_questions import Change, Question, change_question, value_question
from transforms.evaluation.gate_rules import ALL_SUB_KEYS, GateRule, ValueLimits
from transforms.evaluation.measured_metrics import (
    MeasuredMetric,
    MeasuredMetrics,
    compares_by_itself,
)
from transforms.evaluation.results import ALL_ROWS, EvaluationResults, MetricResult, SliceKey
from transforms.evaluation.verdict import Status
from transforms.metrics.directions import Direction


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A question to judge.

    Attributes:
        slice: Where.
        sub_key: Of the metric.
        num_rows: Rows of the slice.
        question: What is asked.
        baseline_value: The metric of the baseline; None where there is none.
        candidate_value: Of the candidate.
        delta: Candidate less baseline.
    """

    slice: SliceKey
    sub_key: str
    num_rows: int
    question: Question
    baseline_value: float | None
    candidate_value: float
    delta: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class NoCase:
    """Why there is nothing to judge.

    Attributes:
        status: What comes out nevertheless.
        reason: Why, in a sentence.
        slice: Where.
        sub_key: Of the metric.
        num_rows: Rows of the slice, where it has any.
    """

    status: Status
    reason: str
    slice: SliceKey = ALL_ROWS
    sub_key: str = ""
    num_rows: int | None = None


class _Numbers(NamedTuple):
    """What was measured of a metric; None where nothing was, or there is nothing to compare."""

    candidate: MetricResult | None
    baseline: MetricResult | None
    difference: MetricResult | None


class _NothingToJudgeError(Exception):
    """Nothing can be asked here; carries what comes out, and why."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


class GateCases:
    """Questions about the results of one evaluation. Immutable."""

    def __init__(
        self,
        results: EvaluationResults,
        missing: MissingPolicy,
        direction: Callable[[str], Direction],
    ) -> None:
        """Looks over the results, once.

        Args:
            results: What was measured.
            missing: What comes out where there is nothing to judge.
            direction: Gives which way a metric is better; raises InvalidArgumentError if that is
                not known.
        """
        self._results = results
        self._missing = missing
        self._direction = direction
        self._measured = MeasuredMetrics(results)
        self._slices = {each.key: each for each in results.slices}

    @property
    def results(self) -> EvaluationResults:
        """What was measured."""
        return self._results

    def of(self, rule: GateRule, version: int) -> Iterator[Case | NoCase]:
        """Yields a case, or why there is none, for each slice of a rule."""
        try:
            metric = self._metric(rule, version)
            sub_keys = self._sub_keys(rule, metric)
        except _NothingToJudgeError as nothing:
            yield NoCase(status=nothing.status, reason=nothing.reason, sub_key=rule.sub_key or "")
            return
        for selector in rule.slices:
            if not any(map(selector.matches, self._slices)):
                reason = gate_reasons.no_such_slice(selector, list(self._slices))
                yield NoCase(status=self._missing.slice, reason=reason, slice=selector.key)
        for key in self.slices_of(rule):
            for sub_key in sub_keys:
                yield self._at(rule, version, metric, key, sub_key)

    def slices_of(self, rule: GateRule) -> list[SliceKey]:
        """Returns the slices of a rule that have rows, each once."""
        return [key for key in self._slices if any(each.matches(key) for each in rule.slices)]

    def is_scored(self, key: SliceKey) -> bool:
        """Whether a slice has enough rows."""
        return self._slices[key].is_scored

    def missing_slices(self, rule: GateRule) -> set[SliceKey]:
        """Returns the slices that a rule names and no row is in."""
        named = {each.key for each in rule.slices if each.key}
        return named - {key for key in named if self._has(key)}

    def _has(self, key: SliceKey) -> bool:
        return any(dict(each) == dict(key) for each in self._slices)

    def _metric(self, rule: GateRule, version: int) -> MeasuredMetric:
        needs_baseline = rule.needs_baseline or compares_by_itself(rule.metric)
        if needs_baseline and not self._results.candidates:
            raise _NothingToJudgeError(
                self._missing.baseline, gate_reasons.no_baseline(rule, version)
            )
        metric = self._measured.find(rule.metric)
        if metric is None:
            near = self._measured.similar_to(rule.metric)
            raise _NothingToJudgeError(
                self._missing.metric, gate_reasons.not_measured(rule.metric, near)
            )
        if metric.is_paired and rule.needs_baseline:
            raise _NothingToJudgeError(Status.ERROR, gate_reasons.compares_by_itself(rule))
        return metric

    def _sub_keys(self, rule: GateRule, metric: MeasuredMetric) -> tuple[str, ...]:
        if rule.sub_key == ALL_SUB_KEYS:
            return metric.sub_keys
        if rule.sub_key in metric.sub_keys:
            return (rule.sub_key,)
        if rule.sub_key is not None:
            reason = gate_reasons.no_such_sub_key(rule, metric.sub_keys)
            raise _NothingToJudgeError(self._missing.metric, reason)
        if "" in metric.sub_keys:
            return ("",)
        if len(metric.sub_keys) > 1:
            reason = gate_reasons.several_sub_keys(rule, metric.sub_keys)
            raise _NothingToJudgeError(Status.ERROR, reason)
        return metric.sub_keys

    def _at(
        self, rule: GateRule, version: int, metric: MeasuredMetric, key: SliceKey, sub_key: str
    ) -> Case | NoCase:
        try:
            return self._case(rule, version, metric, key, sub_key)
        except _NothingToJudgeError as nothing:
            return NoCase(
                status=nothing.status,
                reason=nothing.reason,
                slice=key,
                sub_key=sub_key,
                num_rows=self._slices[key].num_rows,
            )

    def _case(
        self, rule: GateRule, version: int, metric: MeasuredMetric, key: SliceKey, sub_key: str
    ) -> Case:
        if not self.is_scored(key):
            raise _NothingToJudgeError(
                self._missing.suppressed_slice, gate_reasons.too_few_rows(self._slices[key])
            )
        found = self._numbers(metric, version, key, sub_key)
        candidate = self._defined(rule, version, key, found.candidate)
        if isinstance(rule.requirement, ValueLimits):
            question = value_question(rule.requirement, candidate.estimate)
        else:
            change = Change(
                baseline=self._defined(rule, self._results.baseline, key, found.baseline).estimate,
                candidate=candidate.estimate,
                difference=self._defined(rule, version, key, found.difference).estimate,
            )
            question = self._change_question(rule, change)
        return Case(
            slice=key,
            sub_key=sub_key,
            num_rows=candidate.num_rows,
            question=question,
            baseline_value=_value(found.baseline),
            candidate_value=candidate.estimate.value,
            delta=_value(found.difference),
        )

    def _numbers(
        self, metric: MeasuredMetric, version: int, key: SliceKey, sub_key: str
    ) -> "_Numbers":
        own = self._measured.value(metric, version, key, sub_key)
        if metric.is_paired or version == self._results.baseline:
            return _Numbers(own, None, None)
        return _Numbers(
            own,
            self._measured.value(metric, self._results.baseline, key, sub_key),
            self._measured.difference(metric, version, key, sub_key),
        )

    def _change_question(self, rule: GateRule, change: Change) -> Question:
        requirement = rule.requirement
        assert not isinstance(requirement, ValueLimits)  # noqa: S101 - see the caller
        try:
            return change_question(
                requirement, change, lambda: rule.direction or self._direction(rule.metric)
            )
        except (InvalidArgumentError, FailedPreconditionError) as error:
            raise _NothingToJudgeError(Status.ERROR, f"{rule.metric}: {error}.") from error

    def _defined(
        self, rule: GateRule, version: int, key: SliceKey, found: MetricResult | None
    ) -> MetricResult:
        """Returns a number that is one."""
        if found is None:
            reason = gate_reasons.not_measured_here(rule.metric, version, key)
            raise _NothingToJudgeError(self._missing.metric, reason)
        if math.isnan(found.estimate.value):
            reason = gate_reasons.not_defined(rule.metric, version, self._slices[key])
            raise _NothingToJudgeError(self._missing.undefined, reason)
        return found


def _value(found: MetricResult | None) -> float | None:
    return None if found is None else found.estimate.value
