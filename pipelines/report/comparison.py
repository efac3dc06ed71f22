"""A metric of a candidate beside the baseline's, and whether the change is for the better."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from pipelines.report.content import ReportContent
from transforms.evaluation.results import ALL_ROWS, MetricResult, SliceKey
from transforms.metrics import Estimate
from transforms.metrics.directions import Direction
from transforms.metrics.metric_catalogue import MetricFacts, metric_facts


class Effect(Enum):
    """What a change means; the interval tells whether there is one."""

    BETTER = "better"
    WORSE = "worse"
    CHANGED = "changed"
    UNCLEAR = "no clear change"
    NEITHER = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One metric of a candidate.

    Attributes:
        facts: What is known of the metric.
        sub_key: What else it depends on; empty where nothing.
        level: Of the intervals.
        baseline: Of the baseline; None for a metric that itself compares the two.
        candidate: Of the candidate; None as above.
        difference: Of the two; None where there is none.
    """

    facts: MetricFacts
    sub_key: str
    level: float
    baseline: Estimate | None
    candidate: Estimate | None
    difference: Estimate | None

    @property
    def metric(self) -> str:
        """The metric's name."""
        return self.facts.name

    @property
    def is_paired(self) -> bool:
        """Whether it says itself how the candidate differs from the baseline."""
        return self.candidate is None

    @property
    def name(self) -> str:
        """Metric and what else it depends on, as `recall at threshold=0.5`."""
        return f"{self.metric} ({self.sub_key})" if self.sub_key else self.metric

    @property
    def effect(self) -> Effect:
        """Whether the change is for the better, as far as the interval tells."""
        if self.is_paired or self.difference is None:
            return Effect.NEITHER
        low, high = self.difference.interval(self.level)
        if not (low > 0 or high < 0):
            return Effect.UNCLEAR if low <= high else Effect.NEITHER
        change = self.oriented_change()
        if change is None:
            return Effect.CHANGED
        return Effect.BETTER if change > 0 else Effect.WORSE

    def oriented_change(self) -> float | None:
        """Returns the difference, positive for the better; None where that has no meaning."""
        if self.is_paired or self.difference is None:
            return None
        if self.facts.direction is Direction.HIGHER:
            return self.difference.value
        return -self.difference.value if self.facts.direction is Direction.LOWER else None


def comparisons(
    content: ReportContent, candidate: int, key: SliceKey = ALL_ROWS
) -> Iterator[Comparison]:
    """Yields what was measured of a candidate on a slice, in the order of measuring."""
    mine = [each for each in content.results.of_slice(key) if each.version == candidate]
    for name, sub_key in dict.fromkeys((each.metric, each.sub_key) for each in mine):
        yield compared(content, candidate, name, sub_key, key)


def compared(
    content: ReportContent,
    candidate: int,
    metric: str,
    sub_key: str = "",
    key: SliceKey = ALL_ROWS,
) -> Comparison:
    """Returns one metric of a candidate on a slice; what was not measured is None."""
    results = content.results

    def find(version: int, *, is_difference: bool) -> Estimate | None:
        found: MetricResult | None = results.find(
            metric, version, slice=key, sub_key=sub_key, is_difference=is_difference
        )
        return None if found is None else found.estimate

    return Comparison(
        facts=metric_facts(metric, content.row_metrics),
        sub_key=sub_key,
        level=content.confidence_level,
        baseline=find(results.baseline, is_difference=False),
        candidate=find(candidate, is_difference=False),
        difference=find(candidate, is_difference=True),
    )
