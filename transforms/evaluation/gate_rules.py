"""The rules of a gate: what is asked of a metric, on which slices, and what it matters."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.results import ALL_ROWS, SliceKey
from transforms.evaluation.verdict import Severity
from transforms.metrics.directions import Direction

ALL_SUB_KEYS = "all"


class Mode(Enum):
    """What a rule judges: the confidence interval, or the number alone."""

    INTERVAL = "interval"
    POINT = "point"


class On(Enum):
    """What of the interval must keep a limit.

    The whole of it must for PASS, and none of it may for FAIL; what is between is INCONCLUSIVE.
    One end alone leaves nothing between.
    """

    INTERVAL = "interval"
    POINT = "point"
    CI_LOWER = "ci_lower"
    CI_UPPER = "ci_upper"


class ComparisonKind(Enum):
    """What is tested of the candidate's improvement over the baseline."""

    NON_INFERIOR = "non_inferior"
    SUPERIOR = "superior"
    EQUIVALENT = "equivalent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Amount:
    """How much of a change.

    Attributes:
        number: The amount; a share of the baseline's size where it is relative.
        is_relative: Whether it is.
    """

    number: float
    is_relative: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.number):
            raise InvalidArgumentError(f"an amount must be a finite number, got {self.number}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueLimits:
    """What the candidate's own value may be; None for no limit.

    Attributes:
        min: The least.
        max: The most.
    """

    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        _check_any("value", (self.min, self.max), "min and max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise InvalidArgumentError(
                f"value: min must not be above max, got {self.min} and {self.max}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeLimits:
    """How the candidate may differ from the baseline; None for no limit.

    Attributes:
        max_regression: It may be worse by so much.
        min_improvement: It must be better by so much.
        max_improvement: More is too good to be true, as when labels leak into the features.
        min: The least of candidate less baseline, whichever is better.
        max: The most.
    """

    max_regression: Amount | None = None
    min_improvement: Amount | None = None
    max_improvement: Amount | None = None
    min: Amount | None = None
    max: Amount | None = None

    def __post_init__(self) -> None:
        oriented = (self.max_regression, self.min_improvement, self.max_improvement)
        plain = (self.min, self.max)
        names = "max_regression, min_improvement, max_improvement, or of min and max"
        _check_any("change", (*oriented, *plain), names)
        if any(oriented) and any(plain):
            raise InvalidArgumentError(
                "change: min and max do not go with regression and improvement; make two rules of it"
            )
        for name in ("max_regression", "min_improvement", "max_improvement"):
            _check_not_negative(f"change: {name}", getattr(self, name))
        if self.max_regression is not None and self.min_improvement is not None:
            raise InvalidArgumentError(
                "change: max_regression says nothing beside min_improvement; leave it out"
            )

    @property
    def is_oriented(self) -> bool:
        """Whether it is about better and worse, not about more and less."""
        return self.min is None and self.max is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A test of the improvement.

    Attributes:
        kind: What it shows.
        margin: By how much it may be worse, must be better, or may be either.
    """

    kind: ComparisonKind
    margin: Amount | None = None

    def __post_init__(self) -> None:
        if self.margin is None and self.kind is not ComparisonKind.SUPERIOR:
            raise InvalidArgumentError(
                f"test: {self.kind.value} needs a margin, as margin: {{absolute: 0.01}}"
            )
        _check_not_negative("margin", self.margin)


Requirement: TypeAlias = ValueLimits | ChangeLimits | Comparison


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceSelector:
    """Slices of a rule: one, all those by some columns, or all there are.

    Attributes:
        key: This slice; the default is all rows together.
        columns: The slices by exactly these columns, instead.
        is_all: All slices, instead; all rows together too.
    """

    key: SliceKey = ALL_ROWS
    columns: tuple[str, ...] = ()
    is_all: bool = False

    def matches(self, key: SliceKey) -> bool:
        """Whether a slice is one of them."""
        if self.is_all:
            return True
        if self.columns:
            return sorted(column for column, _ in key) == sorted(self.columns)
        return dict(key) == dict(self.key)

    def __str__(self) -> str:
        if self.is_all:
            return "all slices"
        if self.columns:
            return f"slices by {', '.join(self.columns)}"
        return ", ".join(f"{column}={value}" for column, value in self.key) or "all rows"


OVERALL = SliceSelector()


@dataclass(frozen=True, kw_only=True, slots=True)
class GateRule:
    """One thing that is asked of a candidate.

    Attributes:
        rule_id: Its name; unique in a gate.
        metric: The metric.
        sub_key: What else the metric depends on, as `threshold=0.5`, where there are several;
            "all" for each of them.
        requirement: What is asked.
        slices: Where; the multiplicity of tests is that of all of them.
        severity: What it matters.
        on: What must keep the limits.
        direction: Which way the metric is better, where that is not known of it.
    """

    rule_id: str
    metric: str
    sub_key: str | None = None
    requirement: Requirement
    slices: tuple[SliceSelector, ...] = (OVERALL,)
    severity: Severity = Severity.BLOCK
    on: On = On.INTERVAL
    direction: Direction | None = None

    def __post_init__(self) -> None:
        if self.on in {On.CI_LOWER, On.CI_UPPER} and self._num_limits != 1:
            raise InvalidArgumentError(
                f"on: {self.on.value} goes with one limit, but there are {self._num_limits}; make two rules of it"
            )
        if self.direction is not None and not self.is_oriented:
            raise InvalidArgumentError(
                f"direction: {self.direction.value} says nothing here, as nothing is asked about better or worse; leave it out"
            )

    @property
    def is_oriented(self) -> bool:
        """Whether it is about better and worse."""
        match self.requirement:
            case ValueLimits():
                return False
            case ChangeLimits() as limits:
                return limits.is_oriented
            case Comparison():
                return True

    @property
    def _num_limits(self) -> int:
        if isinstance(self.requirement, Comparison):
            return 2 if self.requirement.kind is ComparisonKind.EQUIVALENT else 1
        limits = (getattr(self.requirement, name) for name in self.requirement.__slots__)
        return sum(limit is not None for limit in limits)

    @property
    def test_name(self) -> str:
        """What is asked, in a word."""
        match self.requirement:
            case ValueLimits():
                return "value"
            case ChangeLimits():
                return "change"
            case Comparison(kind=kind):
                return kind.value

    @property
    def needs_baseline(self) -> bool:
        """Whether it is about a change; metrics that compare by themselves need a baseline too."""
        return not isinstance(self.requirement, ValueLimits)


def _check_any(name: str, limits: Iterable[object], names: str) -> None:
    if all(limit is None for limit in limits):
        raise InvalidArgumentError(f"{name}: no limit is given; give one of {names}")


def _check_not_negative(name: str, amount: Amount | None) -> None:
    if amount is not None and amount.number < 0:
        raise InvalidArgumentError(f"{name} must be 0 or more, got {amount.number}")
