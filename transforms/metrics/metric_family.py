"""The protocol of metrics: which states they keep, and what they say of them at the end.

To add metrics of your own, write a class with these methods out of any of the states
(`Counters`, `FixedSums`, `Histogram`, or another that keeps the promises of `State`), and pass it
to `Evaluation`. Metrics that are means of a value per row need less: a `RowMetric`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from transforms.metrics.estimate import Estimate
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.state import State

States = Mapping[str, State]


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricValue:
    """One metric of one version on one slice.

    Attributes:
        metric: Its name.
        slice_id: The slice.
        version: The version's index.
        sub_key: What else it depends on, as `threshold=0.5`; empty where nothing.
        is_difference: Whether it compares the version with the baseline, version 0.
        estimate: The number and its uncertainty.
    """

    metric: str
    slice_id: int
    version: int
    sub_key: str = ""
    is_difference: bool = False
    estimate: Estimate


class MetricFamily(Protocol):
    """Metrics that share states."""

    def create(self) -> States:
        """Returns the states of no rows; their names are unique in an evaluation."""

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the states of the rows of a batch alone; all of them are valid."""

    def finalise(self, states: Mapping[str, Any], slice_id: int) -> Iterator[MetricValue]:
        """Yields the metrics of a slice.

        Args:
            states: Of the whole evaluation, so a family can use those of another.
            slice_id: The slice.
        """
