"""Slices by how clearly a candidate is worse on them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.report.comparison import Comparison, Effect, compared
from pipelines.report.content import ReportContent
from transforms.evaluation.results import ALL_ROWS, SliceResult

MAX_SLICES = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceComparison:
    """A metric of a candidate on a slice.

    Attributes:
        slice: The slice.
        comparison: The metric there.
    """

    slice: SliceResult
    comparison: Comparison

    @property
    def severity(self) -> float:
        """Standard errors by which the candidate is worse, or other where neither is better."""
        difference = self.comparison.difference
        if difference is None or math.isnan(difference.value):
            return -math.inf
        change = self.comparison.oriented_change()
        loss = abs(difference.value) if change is None else -change
        error = difference.standard_error
        if error == 0 and loss:  # as sure as can be
            return math.copysign(math.inf, loss)
        return loss / error if error > 0 else 0.0


def ranked_slices(
    content: ReportContent, candidate: int, metric: str, sub_key: str = ""
) -> list[SliceComparison]:
    """Returns the scored slices where a metric's change is known, the worst first.

    All rows are not among them.
    """
    found = [
        SliceComparison(
            slice=each, comparison=compared(content, candidate, metric, sub_key, each.key)
        )
        for each in content.results.slices
        if each.is_scored and each.key != ALL_ROWS
    ]
    known = [each for each in found if _is_known(each.comparison)]
    return sorted(known, key=lambda each: (-each.severity, each.slice.name))


def with_effect(ranked: Sequence[SliceComparison], effect: Effect) -> list[SliceComparison]:
    """Returns the slices that changed in one way, the clearest first."""
    found = [each for each in ranked if each.comparison.effect is effect]
    return found[::-1] if effect is Effect.BETTER else found


def _is_known(comparison: Comparison) -> bool:
    difference = comparison.difference
    return difference is not None and not math.isnan(difference.value)
