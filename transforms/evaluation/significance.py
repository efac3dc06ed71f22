"""How sure an estimate is on one side of a limit, and what several such tests say together.

The p-value of a claim is the level below which the one-sided confidence bound reaches the limit, so
that tests and intervals never contradict each other:

    t = (estimate - limit) / SE, p = P(T > t)        T is Student's t, or normal
    z = (share - limit) / sqrt(limit (1 - limit) / n) for all with Wilson's interval, which is
                                                      this score test turned round (Wilson, 1927)

Bins are on the safe side: the estimate is taken at the bound that is certain.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import ndtr, stdtr

from transforms.evaluation.gate_config import Multiplicity
from transforms.metrics import Estimate, Method


def p_above(estimate: Estimate, limit: float, *, or_equal: bool) -> float:
    """Returns the p-value of the claim that the metric is above a limit; NaN if it is not known.

    Args:
        estimate: Of the metric.
        limit: The limit.
        or_equal: Whether an estimate without error at the limit bears the claim out.
    """
    if estimate.method is not Method.WILSON:
        return _tail(estimate.lower_bound - limit, estimate, or_equal=or_equal)
    if limit >= 1:
        return 1.0  # no number of rows shows that a share is not just below
    return _share_tail(estimate.lower_bound - limit, limit, estimate, or_equal=or_equal)


def p_below(estimate: Estimate, limit: float, *, or_equal: bool) -> float:
    """Returns the p-value of the claim that the metric is below a limit; see `p_above`."""
    if estimate.method is not Method.WILSON:
        return _tail(limit - estimate.upper_bound, estimate, or_equal=or_equal)
    if limit <= 0:
        return 1.0
    return _share_tail(limit - estimate.upper_bound, limit, estimate, or_equal=or_equal)


def _tail(distance: float, estimate: Estimate, *, or_equal: bool) -> float:
    error, freedom = estimate.standard_error, estimate.degrees_of_freedom
    if math.isnan(distance) or math.isnan(error):
        return math.nan
    if error == 0:
        return _certain(distance, or_equal=or_equal)
    return float(
        ndtr(-distance / error) if math.isinf(freedom) else stdtr(freedom, -distance / error)
    )


def _share_tail(distance: float, limit: float, estimate: Estimate, *, or_equal: bool) -> float:
    if not 0 < limit < 1:
        return _certain(distance, or_equal=or_equal)
    return float(ndtr(-distance / math.sqrt(limit * (1 - limit) / estimate.effective_rows)))


def _certain(distance: float, *, or_equal: bool) -> float:
    return 0.0 if distance > 0 or (or_equal and distance == 0) else 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AdjustedTest:
    """One of several tests.

    Attributes:
        p_value: Adjusted; at most `alpha` where the claim is shown.
        is_shown: Whether it is.
        level: What the single p-value was compared with, so that intervals can show the same.
    """

    p_value: float
    is_shown: bool
    level: float


def adjust(
    p_values: Sequence[float], alpha: float, multiplicity: Multiplicity
) -> list[AdjustedTest]:
    """Returns what tests say when all of them are looked at, in their order.

    Holm (1979) keeps the probability of any wrong claim below `alpha`, Benjamini and Hochberg
    (1995) the expected share of wrong claims.
    """
    if multiplicity is Multiplicity.NONE:
        return [AdjustedTest(p_value=p, is_shown=p <= alpha, level=alpha) for p in p_values]
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    ascending = [p_values[index] for index in order]
    step = _holm if multiplicity is Multiplicity.HOLM else _benjamini_hochberg
    found = dict(zip(order, step(ascending, alpha), strict=True))
    return [found[index] for index in range(len(p_values))]


def _holm(ascending: Sequence[float], alpha: float) -> list[AdjustedTest]:
    adjusted, tests, is_shown = 0.0, [], True
    level = alpha
    for place, p_value in enumerate(ascending):
        left = len(ascending) - place
        adjusted = max(adjusted, min(1.0, left * p_value))
        if is_shown:  # all that follow the first that is not shown were compared with its level
            level = alpha / left
        is_shown = is_shown and p_value <= level
        tests.append(AdjustedTest(p_value=adjusted, is_shown=is_shown, level=level))
    return tests


def _benjamini_hochberg(ascending: Sequence[float], alpha: float) -> list[AdjustedTest]:
    many = len(ascending)
    shown = max((k for k, p in enumerate(ascending, 1) if p <= alpha * k / many), default=0)
    adjusted, tests = 1.0, []
    for place in range(many, 0, -1):
        adjusted = min(adjusted, ascending[place - 1] * many / place)
        is_shown = place <= shown
        # The level of selected intervals (Benjamini and Yekutieli, 2005); of others, the next.
        level = alpha * (shown if is_shown else shown + 1) / many
        tests.append(AdjustedTest(p_value=adjusted, is_shown=is_shown, level=level))
    return tests[::-1]
