"""The protocol of metrics that finalise all slices at once, as ours do: thousands take seconds."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from transforms.metrics.array_types import Integers
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.metric_column import MetricColumn
from transforms.metrics.metric_family import States


@runtime_checkable
class ColumnarFamily(Protocol):
    """Metrics that share states; as `MetricFamily`, but for the end."""

    def create(self) -> States:
        """Returns the states of no rows; their names are unique in an evaluation."""

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the states of the rows of a batch alone; all of them are valid."""

    def finalise_slices(
        self, states: Mapping[str, Any], slice_ids: Integers
    ) -> Iterator[MetricColumn]:
        """Yields the metrics of slices, in columns that each are of a part of them.

        Args:
            states: Of the whole evaluation, so a family can use those of another.
            slice_ids: The slices, ascending.
        """
