"""A number with how sure it is: of the rows drawn, and of the bins it was computed from."""

import math
from dataclasses import dataclass
from enum import Enum

from transforms.metrics.reference_distributions import t_quantile, wilson_interval


class Method(Enum):
    """How a standard error was found."""

    NONE = "none"
    MEAN = "linearised_mean"
    WILSON = "wilson"
    DELTA = "delta"
    DELONG = "delong"
    WOODRUFF = "woodruff"
    BOUND = "variance_bound"
    JACKKNIFE = "block_jackknife"


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A metric's value and its uncertainty.

    Attributes:
        value: NaN where the metric is not defined for the rows.
        standard_error: Of the sampling of rows; NaN where it is unknown.
        degrees_of_freedom: Of the t distribution of the error; infinite for a normal one.
        method: How the interval is found.
        effective_rows: Of equal weight that tell as much; for Wilson's interval.
        lower_bound: The metric of the rows is certainly not below; `value` where it is exact.
        upper_bound: Nor above.
    """

    value: float
    standard_error: float = math.nan
    degrees_of_freedom: float = math.inf
    method: Method = Method.NONE
    effective_rows: float = math.nan
    lower_bound: float = math.nan
    upper_bound: float = math.nan

    def __post_init__(self) -> None:
        for name in ("lower_bound", "upper_bound"):
            if math.isnan(getattr(self, name)):
                object.__setattr__(self, name, self.value)

    @property
    def certified_error(self) -> float:
        """How far the value may be from the metric of the very same rows."""
        return max(self.upper_bound - self.value, self.value - self.lower_bound)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Returns a confidence interval, widened by what the bins hide; NaN where unknown."""
        if self.method is Method.WILSON:
            ends = (self.lower_bound, self.upper_bound)
            low, high = (wilson_interval(each, self.effective_rows, level) for each in ends)
            return low[0], high[1]
        reach = t_quantile((1 + level) / 2, self.degrees_of_freedom)
        half = reach * self.standard_error
        return self.lower_bound - half, self.upper_bound + half
