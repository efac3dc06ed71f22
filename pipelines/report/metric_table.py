"""The table of all versions and metrics, as text in cells."""

from dataclasses import dataclass

from pipelines.report.comparison import Comparison, Effect, compared, comparisons
from pipelines.report.content import ReportContent
from pipelines.report.metric_groups import grouped, per_class
from pipelines.report.number_format import (
    decimals_of,
    format_bound,
    format_change,
    format_interval,
    format_number,
)
from transforms.evaluation.results import ALL_ROWS, SliceKey
from transforms.metrics import Estimate
from transforms.metrics.metric_catalogue import MetricFacts


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A number as it is shown.

    Attributes:
        value: The number.
        interval: Its confidence interval; empty where unknown.
        bound: How far binning may have moved it; empty where it is exact.
        effect: Of a change, whether it is for the better.
    """

    value: str
    interval: str
    bound: str
    effect: Effect = Effect.NEITHER


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricRow:
    """A metric of all versions.

    Attributes:
        facts: What is known of it.
        sub_key: What else it depends on.
        values: Of each version; None where it has none, as a metric of changes.
        changes: Of each candidate.
    """

    facts: MetricFacts
    sub_key: str
    values: tuple[Cell | None, ...]
    changes: tuple[Cell | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSection:
    """Rows under one heading.

    Attributes:
        title: The heading.
        rows: The metrics.
        is_paired: Whether they are of changes alone, so that versions have no values of their own.
    """

    title: str
    rows: tuple[MetricRow, ...]
    is_paired: bool


def metric_sections(content: ReportContent, key: SliceKey = ALL_ROWS) -> tuple[MetricSection, ...]:
    """Returns the main table of a slice."""
    return tuple(
        MetricSection(
            title=group.title,
            rows=tuple(_row(content, each, key) for each in members),
            is_paired=all(each.is_paired for each in members),
        )
        for group, members in grouped(_first(content, key))
    )


def class_rows(content: ReportContent) -> tuple[MetricRow, ...]:
    """Returns the metrics of each class apart."""
    return tuple(_row(content, each, ALL_ROWS) for each in per_class(_first(content, ALL_ROWS)))


def _first(content: ReportContent, key: SliceKey) -> list[Comparison]:
    """Returns what is known of the first candidate; of the others the same is."""
    results = content.results
    return list(comparisons(content, (*results.candidates, results.baseline)[0], key))


def _row(content: ReportContent, first: Comparison, key: SliceKey) -> MetricRow:
    candidates = content.results.candidates
    mine = [
        compared(content, version, first.metric, first.sub_key, key)
        for version in candidates or (content.results.baseline,)
    ]
    decimals = max(_decimals(each) for each in mine)
    cells = [comparison_cells(each, decimals) for each in mine]
    return MetricRow(
        facts=first.facts,
        sub_key=first.sub_key,
        values=(cells[0].baseline, *(each.candidate for each in cells if candidates)),
        changes=tuple(each.change for each in cells if candidates),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonCells:
    """A comparison as it is shown, all its numbers to the same digit.

    Attributes:
        baseline: None for a metric that itself compares the two.
        candidate: None as above.
        change: What the candidate changes; None where there is none.
    """

    baseline: Cell | None
    candidate: Cell | None
    change: Cell | None


def comparison_cells(comparison: Comparison, decimals: int | None = None) -> ComparisonCells:
    """Returns a comparison as text.

    Args:
        comparison: The comparison.
        decimals: Digits after the point; None for as many as its uncertainty lets mean something.
    """
    digits = _decimals(comparison) if decimals is None else decimals
    level = comparison.level
    signed = not comparison.is_paired
    return ComparisonCells(
        baseline=_cell(comparison.baseline, digits, level),
        candidate=_cell(comparison.candidate, digits, level),
        change=_cell(comparison.difference, digits, level, comparison.effect, signed=signed),
    )


def _decimals(comparison: Comparison) -> int:
    """Returns the digits of all its numbers, so that the difference can be checked by eye."""
    estimate = comparison.difference or comparison.candidate
    if estimate is None:
        return 0
    low, high = estimate.interval(comparison.level)
    if low < high:
        return decimals_of(estimate, comparison.level)
    # A difference of nothing, for sure, does not tell the digits of the two.
    known = (comparison.difference, comparison.candidate, comparison.baseline)
    return max(decimals_of(each, comparison.level) for each in known if each is not None)


def _cell(
    estimate: Estimate | None,
    decimals: int,
    level: float,
    effect: Effect = Effect.NEITHER,
    *,
    signed: bool = False,
) -> Cell | None:
    if estimate is None:
        return None
    show = format_change if signed else format_number
    return Cell(
        value=show(estimate.value, decimals),
        interval=format_interval(estimate, level, decimals, signed=signed),
        bound=format_bound(estimate),
        effect=effect,
    )
