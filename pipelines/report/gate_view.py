"""What a gate decided, in the order in which people ask: what is wrong, where, by how much."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.report.number_format import (
    counted,
    digits_after_point,
    format_change,
    format_count,
    format_number,
    printable,
)
from transforms.evaluation.results import ALL_ROWS
from transforms.evaluation.verdict import (
    CandidateVerdict,
    RuleOutcome,
    Status,
    Verdict,
    gravity,
)
from transforms.metrics.directions import Direction
from transforms.metrics.metric_catalogue import metric_facts

_REASON_LENGTH = 400
MEANINGS = {
    Status.PASS: "may be promoted",
    Status.FAIL: "must not be promoted",
    Status.INCONCLUSIVE: "cannot be judged: the rows do not tell",
    Status.ERROR: "could not be judged",
}


def headline(verdict: Verdict, candidate: CandidateVerdict) -> str:
    """Returns the verdict in a sentence, as `version 3 must not be promoted over version 1`."""
    against = "" if verdict.baseline is None else f" in place of version {verdict.baseline}"
    over = against if candidate.status in {Status.PASS, Status.FAIL} else ""
    return f"Version {candidate.version} {MEANINGS[candidate.status]}{over}"


def reasons(candidate: CandidateVerdict) -> list[str]:
    """Returns why a verdict is not a plain PASS: what decided it, and what only warns."""
    decisive = () if candidate.status is Status.PASS else candidate.reasons
    warnings = (f"Warning: {each.reason}" for each in candidate.warnings)
    return [printable(each, _REASON_LENGTH) for each in (*decisive, *warnings)]


def tally(candidate: CandidateVerdict) -> str:
    """Returns how many checks came out how, as `3 fail, 20 pass`; a check is a rule on a slice."""
    words = {Status.WARN: "warn", Status.SKIPPED: "skipped"}
    counts = dict.fromkeys(sorted(Status, key=gravity, reverse=True), 0)
    for each in candidate.outcomes:
        counts[each.effect] += 1
    said = [
        f"{count:,} {words.get(status, status.value.lower())}"
        for status, count in counts.items()
        if count
    ]
    checks = counted(len(candidate.outcomes), "check")
    return f"{checks}: {', '.join(said)}" if said else checks


def worst_first(candidate: CandidateVerdict) -> list[RuleOutcome]:
    """Returns what came out of the rules, the gravest first; equal ones in the gate's order."""
    return sorted(candidate.outcomes, key=lambda each: -gravity(each.effect))


def is_kept(outcome: RuleOutcome) -> bool:
    """Whether there is nothing to tell of an outcome."""
    return outcome.effect in {Status.PASS, Status.SKIPPED}


def sliced_metrics(verdict: Verdict | None) -> list[tuple[str, str]]:
    """Returns metrics and sub-keys that rules ask of slices, the gravest first."""
    if verdict is None:
        return []
    outcomes = [
        each
        for candidate in verdict.candidates
        for each in worst_first(candidate)
        if each.slice != ALL_ROWS
    ]
    outcomes.sort(key=lambda each: -gravity(each.effect))
    return list(dict.fromkeys((each.metric, each.sub_key) for each in outcomes))


def allowed_change(
    candidate: CandidateVerdict | None, metric: str, sub_key: str
) -> tuple[float, float]:
    """Returns the changes that rules allow on slices, lower and upper; NaN without a limit."""
    limits = list(_limits(candidate.outcomes if candidate else (), metric, sub_key))
    lows = [low for low, _ in limits if math.isfinite(low)]
    highs = [high for _, high in limits if math.isfinite(high)]
    return max(lows, default=math.nan), min(highs, default=math.nan)


def _limits(
    outcomes: Sequence[RuleOutcome], metric: str, sub_key: str
) -> Iterator[tuple[float, float]]:
    for each in outcomes:
        if (each.metric, each.sub_key) != (metric, sub_key) or each.slice == ALL_ROWS:
            continue
        low = -math.inf if each.low is None else each.low
        high = math.inf if each.high is None else each.high
        if each.measure == "change":
            yield low, high
        elif each.measure == "improvement":
            is_lower = metric_facts(metric).direction is Direction.LOWER
            yield (-high, -low) if is_lower else (low, high)


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleLine:
    """What came out of a rule on a slice, as text; what does not apply is empty.

    Attributes:
        status: What came out.
        metric: The metric, with what else it depends on.
        slice_name: The slice.
        measured: The number that is judged, with its name where that is not the value.
        interval: Its interval.
        allowed: What it had to be.
        rows: Rows of the slice.
        reason: Why, in a sentence.
    """

    status: Status
    metric: str
    slice_name: str
    measured: str
    interval: str
    allowed: str
    rows: str
    reason: str


def rule_line(outcome: RuleOutcome) -> RuleLine:
    """Returns an outcome as text."""
    number, low, high = outcome.measured, outcome.low, outcome.high
    decimals = _decimals(outcome)
    show = format_number if outcome.measure in {None, "value"} else format_change
    interval = outcome.interval
    return RuleLine(
        status=outcome.effect,
        metric=f"{outcome.metric} ({outcome.sub_key})" if outcome.sub_key else outcome.metric,
        slice_name=printable(outcome.slice_name),
        measured="" if number is None else show(number, decimals),
        interval=""
        if interval is None
        else "[{}, {}]".format(*(show(each, decimals) for each in interval)),
        allowed=_allowed(outcome.measure, low, high),
        rows="" if outcome.num_rows is None else format_count(outcome.num_rows),
        reason=printable(outcome.reason, _REASON_LENGTH),
    )


def _decimals(outcome: RuleOutcome) -> int:
    numbers = (*(outcome.interval or ()), outcome.measured)
    finite = [abs(each) for each in numbers if each is not None and math.isfinite(each)]
    if outcome.interval and all(map(math.isfinite, outcome.interval)):
        finite = [abs(outcome.interval[1] - outcome.interval[0]) / 2, *finite]
    return digits_after_point(next((each for each in finite if each), 0.0))


def _allowed(measure: str | None, low: float | None, high: float | None) -> str:
    limits = [
        f"{sign} {limit:g}".replace("-", "\N{MINUS SIGN}")
        for sign, limit in (("≥", low), ("≤", high))
        if limit is not None and math.isfinite(limit)
    ]
    return f"{measure or 'value'} {' and '.join(limits)}" if limits else ""
