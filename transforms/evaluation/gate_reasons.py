"""Why a gate decided what it did, in sentences."""

import math
from collections.abc import Iterable, Sequence

from transforms.evaluation.gate_rules import GateRule, On, SliceSelector
from transforms.evaluation.results import SliceKey, SliceResult, slice_name
from transforms.evaluation.verdict import RuleOutcome, Status

_MAX_SHOWN = 6


def judged(
    outcome: RuleOutcome, rule: GateRule, *, version: int, baseline: int | None, num_tests: int
) -> str:
    """Returns what was measured, what is allowed, and what follows.

    Args:
        outcome: All of it but the reason.
        rule: The rule.
        version: The candidate.
        baseline: What it was compared with.
        num_tests: How many share the level.
    """
    measured = {
        "value": _value_words,
        "change": _change_words,
        "improvement": _improvement_words,
    }[outcome.measure or "value"](outcome, baseline)
    sub_key = f" at {outcome.sub_key}" if outcome.sub_key else ""
    where = f" on {outcome.slice_name}" if outcome.slice else ""
    interval = _interval_words(outcome, num_tests)
    return (
        f"{outcome.metric}{sub_key} of version {version}{where} is {measured}{interval};"
        f" it {_demand(outcome)}{_conclusion(outcome, rule)}."
    )


def _value_words(outcome: RuleOutcome, baseline: int | None) -> str:
    if outcome.baseline_value is None or baseline is None:
        return number(outcome.measured)
    return f"{number(outcome.measured)} ({number(outcome.baseline_value)} of version {baseline})"


def _change_words(outcome: RuleOutcome, baseline: int | None) -> str:
    more = "above" if (outcome.measured or 0) >= 0 else "below"
    return (
        f"{number(abs(outcome.measured or 0))} {more} that of version {baseline} {_both(outcome)}"
    )


def _improvement_words(outcome: RuleOutcome, baseline: int | None) -> str:
    return f"{_better(outcome.measured or 0)} than that of version {baseline} {_both(outcome)}"


def _both(outcome: RuleOutcome) -> str:
    return f"({number(outcome.candidate_value)} against {number(outcome.baseline_value)})"


def _better(change: float) -> str:
    return f"{number(abs(change))} {'worse' if change < 0 else 'better'}"


def _interval_words(outcome: RuleOutcome, num_tests: int) -> str:
    if outcome.interval is None or outcome.interval_level is None or _is_exact(outcome):
        return ""
    words = _better_range if outcome.measure == "improvement" else _range
    shared = f", level shared by {num_tests:,} tests" if num_tests > 1 else ""
    level = f"{100 * outcome.interval_level:.5g} %"
    return f", {level} interval {words(*outcome.interval)}{shared}"


def _range(low: float, high: float) -> str:
    return f"{number(low)} to {number(high)}"


def _better_range(low: float, high: float) -> str:
    if low < 0 < high:
        return f"{_better(low)} to {_better(high)}"
    return f"{_range(low, high)} better" if high > 0 else f"{_range(-high, -low)} worse"


def _demand(outcome: RuleOutcome) -> str:
    limits = _improvement_limits if outcome.measure == "improvement" else _plain_limits
    return limits(outcome)


def _plain_limits(outcome: RuleOutcome) -> str:
    low = None if outcome.low is None else f"at least {number(outcome.low)}"
    high = None if outcome.high is None else f"at most {number(outcome.high)}"
    verb = "may change by" if outcome.measure == "change" else "must be"
    return f"{verb} {' and '.join(each for each in (low, high) if each)}"


def _improvement_limits(outcome: RuleOutcome) -> str:
    parts = []
    if outcome.low is not None:
        if outcome.test == "superior":
            parts.append(
                f"must be more than {number(outcome.low)} better"
                if outcome.low
                else "must be better"
            )
        elif outcome.low > 0:
            parts.append(f"must be at least {number(outcome.low)} better")
        else:
            parts.append(f"may be at most {number(-outcome.low)} worse")
    if outcome.high is not None:
        parts.append(f"may be at most {number(outcome.high)} better")
    return " and ".join(parts)


def _conclusion(outcome: RuleOutcome, rule: GateRule) -> str:
    if outcome.status is Status.PASS:
        return ""
    if rule.on is On.POINT or _is_exact(outcome):
        return ": it is not"
    if outcome.status is Status.FAIL:
        return {
            On.CI_LOWER: ": the lower end of the interval is not",
            On.CI_UPPER: ": the upper end of the interval is not",
        }.get(rule.on, ": none of the interval is")
    if outcome.interval is None:
        return ": no interval is known, as there are too few rows or clusters, or the metric has none; judge the number alone with `on: point`"
    return f": only a part of the interval is{_power_hint(outcome)}"


def _is_exact(outcome: RuleOutcome) -> bool:
    """Whether the interval is the number itself, as that of a count."""
    return outcome.interval is not None and outcome.interval[0] == outcome.interval[1]


def _power_hint(outcome: RuleOutcome) -> str:
    if outcome.rows_needed is None:
        return "; more rows alone would not tell"
    about = float(f"{outcome.rows_needed:.2g}")
    return f"; about {about:,.0f} rows would tell, there are {outcome.num_rows:,}"


def no_baseline(rule: GateRule, version: int) -> str:
    """Returns that there is nothing to compare with."""
    return f"{rule.metric} ({rule.test_name}) compares version {version} with a baseline, and there is none: it is the only version; `missing: {{baseline: skip}}` lets a first version pass."


def not_measured(metric: str, near: str | None) -> str:
    """Returns that nothing of the name was measured."""
    meant = f"; did you mean {near!r}?" if near else ""
    return f"the metric {metric!r} was not measured{meant or ': the task has none, or the rows have no labels.'}"


def not_measured_here(metric: str, version: int, key: SliceKey) -> str:
    """Returns that a metric was measured, but not there."""
    return f"{metric} of version {version} was not measured on {slice_name(key)}; it is one of all rows, or of other versions."


def not_defined(metric: str, version: int, where: SliceResult) -> str:
    """Returns that a metric has no value."""
    return f"{metric} of version {version} is not defined for the {where.num_rows:,} rows of {where.name}, as where all labels are equal."


def compares_by_itself(rule: GateRule) -> str:
    """Returns that a change of a change was asked for."""
    return f"{rule.metric} compares versions by itself and has no {rule.test_name}; give it a value: {{max: ...}} instead."


def no_such_sub_key(rule: GateRule, sub_keys: Iterable[str]) -> str:
    """Returns which there are instead."""
    return f"{rule.metric} was not measured at {rule.sub_key!r}; there are {_some(sub_keys)}."


def several_sub_keys(rule: GateRule, sub_keys: Iterable[str]) -> str:
    """Returns that one must be chosen."""
    return f"{rule.metric} depends on more: choose with sub_key: one of {_some(sub_keys)}, or all."


def no_such_slice(selector: SliceSelector, keys: Sequence[SliceKey]) -> str:
    """Returns which there are instead."""
    columns = selector.columns or tuple(column for column, _ in selector.key)
    by_same = SliceSelector(columns=columns)
    similar = [slice_name(key) for key in keys if key and by_same.matches(key)]
    if similar:
        return f"no row is in the slice {selector}; there are {_some(similar)}."
    return f"no row is in {selector}: the evaluation has no slices by {', '.join(columns)}; ask for them under slices:, or with --slice={','.join(columns)}."


def too_few_rows(where: SliceResult) -> str:
    """Returns that a slice is too small."""
    return f"{where.name} has {where.num_rows:,} rows, too few to be scored (min_slice_rows)."


def lost_rows(metric: str, version: int, lost: int, of_baseline: int) -> str:
    """Returns that some rows were not judged, for the candidate has no usable prediction."""
    beside = f", against {of_baseline:,} of the baseline" if of_baseline else ""
    return f"{metric} of version {version} are {lost:,}{beside}: these rows were judged for no version; say how many there may be with {{metric: {metric}, value: {{max: 0}}}}."


def number(value: float | None) -> str:
    """Returns a number for people."""
    if value is None or math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "infinity" if value > 0 else "-infinity"
    if value == round(value) and abs(value) < 1e15:
        return f"{round(value):,}"
    return f"{value:.5g}"


def _some(names: Iterable[str]) -> str:
    all_names = list(names)
    return ", ".join(all_names[:_MAX_SHOWN]) + (", ..." if len(all_names) > _MAX_SHOWN else "")
