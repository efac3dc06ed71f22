"""What a rule asks of numbers: an estimate, and the range in which it must lie."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from servable_core.errors import FailedPreconditionError
from transforms.evaluation.gate_rules import (
    Amount,
    ChangeLimits,
    Comparison,
    ComparisonKind,
    ValueLimits,
)
from transforms.evaluation.significance import p_above, p_below
from transforms.metrics import Estimate, Method
from transforms.metrics.directions import Direction
from transforms.metrics.reference_distributions import t_quantile

# A share of less than this is a share of nothing.
_NEAR_ZERO = 1e-9
_POWER = 0.8
# A standard error this many times smaller takes a million times the rows, which nobody has.
_MAX_TIMES = 1000.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Whether a number lies in a range.

    Attributes:
        measure: What the number is: the metric's "value", its "change" or its "improvement".
        estimate: The number.
        low: The least.
        high: The most.
        is_strict: Whether the least itself is not enough.
    """

    measure: str
    estimate: Estimate
    low: float = -math.inf
    high: float = math.inf
    is_strict: bool = False

    def holds(self) -> bool:
        """Whether the number alone lies in the range."""
        value = self.estimate.value
        is_enough = value > self.low if self.is_strict else value >= self.low
        return is_enough and value <= self.high

    def p_inside(self) -> float:
        """Returns the p-value of the claim that it lies in the range; NaN if that is not known.

        Both sides must be shown, each at its level, as in two one-sided tests (Schuirmann, 1987).
        """
        p_values = [0.0]
        if self.low > -math.inf:
            p_values.append(p_above(self.estimate, self.low, or_equal=not self.is_strict))
        if self.high < math.inf:
            p_values.append(p_below(self.estimate, self.high, or_equal=True))
        return math.nan if any(map(math.isnan, p_values)) else max(p_values)

    def p_outside(self) -> float:
        """Returns the p-value of the claim that it lies beyond one of the ends."""
        p_values = [1.0]
        if self.low > -math.inf:
            p_values.append(p_below(self.estimate, self.low, or_equal=self.is_strict))
        if self.high < math.inf:
            p_values.append(p_above(self.estimate, self.high, or_equal=False))
        return math.nan if any(map(math.isnan, p_values)) else min(p_values)

    def rows_needed(self, num_rows: int, level: float) -> int | None:
        """Returns about how many rows would show on which side it is; None if none would.

        n ((z_{1 - level} + z_{0.8}) SE / gap)^2: with so many rows four of five samples do, if
        the number is what it seems to be.

        Args:
            num_rows: Those there are.
            level: Of the test.
        """
        gap, error = self._gap(), self.estimate.standard_error
        if not gap > 0 or not error > 0:
            return None
        freedom = self.estimate.degrees_of_freedom
        reach = t_quantile(1 - level, freedom) + t_quantile(_POWER, freedom)
        times = reach * error / gap
        if times > _MAX_TIMES:
            return None
        return max(num_rows + 1, math.ceil(num_rows * times**2))

    def _gap(self) -> float:
        """Returns how far the number is from the nearest end that matters, less what bins hide."""
        value = self.estimate.value
        inside = min(value - self.low, self.high - value)
        gap = inside if inside >= 0 else max(self.low - value, value - self.high)
        return gap - self.estimate.certified_error


def value_question(limits: ValueLimits, estimate: Estimate) -> Question:
    """Returns what limits of a value ask."""
    return Question(
        measure="value",
        estimate=estimate,
        low=-math.inf if limits.min is None else limits.min,
        high=math.inf if limits.max is None else limits.max,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """How a metric differs between two versions.

    Attributes:
        baseline: The metric of the baseline.
        candidate: Of the candidate.
        difference: Candidate less baseline.
    """

    baseline: Estimate
    candidate: Estimate
    difference: Estimate


def change_question(
    requirement: ChangeLimits | Comparison, change: Change, direction: Callable[[], Direction]
) -> Question:
    """Returns what a rule asks of a change.

    Args:
        requirement: The rule's.
        change: What was measured.
        direction: Gives which way the metric is better, where that matters.

    Raises:
        InvalidArgumentError: That is not known.
        FailedPreconditionError: A limit is relative to a baseline near 0.
    """

    def size(amount: Amount | None, default: float) -> float:
        return default if amount is None else _size(amount, change.baseline.value)

    if isinstance(requirement, ChangeLimits) and not requirement.is_oriented:
        return Question(
            measure="change",
            estimate=change.difference,
            low=size(requirement.min, -math.inf),
            high=size(requirement.max, math.inf),
        )
    improved = improvement(change, direction())
    if isinstance(requirement, ChangeLimits):
        least = requirement.min_improvement
        low = size(least, 0.0) if least else 0.0 - size(requirement.max_regression, math.inf)
        high = size(requirement.max_improvement, math.inf)
        return Question(measure="improvement", estimate=improved, low=low, high=high)
    margin = size(requirement.margin, 0.0)
    match requirement.kind:
        case ComparisonKind.SUPERIOR:
            return Question(measure="improvement", estimate=improved, low=margin, is_strict=True)
        case ComparisonKind.NON_INFERIOR:
            return Question(measure="improvement", estimate=improved, low=0.0 - margin)
        case ComparisonKind.EQUIVALENT:
            return Question(measure="improvement", estimate=improved, low=0.0 - margin, high=margin)


def _size(amount: Amount, baseline: float) -> float:
    if not amount.is_relative:
        return amount.number
    if abs(baseline) < _NEAR_ZERO:
        raise FailedPreconditionError(
            f"a share of {amount.number:g} of the baseline's {baseline:g} is no limit, as that is near 0; give an absolute one"
        )
    return amount.number * abs(baseline)


def improvement(change: Change, direction: Direction) -> Estimate:
    """Returns the change so that more is better."""
    match direction:
        case Direction.HIGHER:
            return change.difference
        case Direction.LOWER:
            return _negative(change.difference)
        case Direction.TOWARDS_ZERO:
            return _approach(change, 0.0)
        case Direction.TOWARDS_ONE:
            return _approach(change, 1.0)


def _approach(change: Change, target: float) -> Estimate:
    """Returns how much nearer to the target the candidate is.

    Where it lies beyond, the standard error is that of the two together at worst: their sum.
    """
    before, after = change.baseline.value - target, change.candidate.value - target
    if before >= 0 and after >= 0:
        return _negative(change.difference)
    if before <= 0 and after <= 0:
        return change.difference
    both = (change.baseline, change.candidate)
    value = abs(before) - abs(after)
    hidden = sum(each.certified_error for each in both)
    return Estimate(
        value=value,
        standard_error=sum(each.standard_error for each in both),
        degrees_of_freedom=min(each.degrees_of_freedom for each in both),
        method=Method.DELTA,
        lower_bound=value - hidden,
        upper_bound=value + hidden,
    )


def _negative(estimate: Estimate) -> Estimate:
    return replace(
        estimate,
        value=-estimate.value,
        lower_bound=-estimate.upper_bound,
        upper_bound=-estimate.lower_bound,
    )
