"""A metric that is the mean of a value per row."""

from collections.abc import Callable
from dataclasses import dataclass

from transforms.metrics.array_types import Floats
from transforms.metrics.directions import Direction
from transforms.metrics.evaluation_batch import EvaluationBatch


@dataclass(frozen=True, slots=True)
class RowMetric:
    """A value per row and version.

    Attributes:
        name: Of the metric, the weighted mean of the values.
        values: Gives [versions, rows] for a batch; NaN where it is not defined for a row, which
            then is left out for all versions.
        is_reported: False for means that only others are made of.
        is_paired: Whether the value itself compares a version with the baseline.
        direction: Which values are better; None if neither is.
        unit: Of the values, or where they lie.
        description: What the number says, in one line.
        is_share: Whether values are 0 and 1 alone: Wilson's interval is right even where no row, or
            each, has a 1.
        is_of_row: Whether values are the same for all versions; only if they are not reported.
    """

    name: str
    values: Callable[[EvaluationBatch], Floats]
    is_reported: bool = True
    is_paired: bool = False
    direction: Direction | None = None
    unit: str = ""
    description: str = ""
    is_share: bool = False
    is_of_row: bool = False
