"""What was measured: metrics of versions, and of their differences to the baseline, on slices."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from transforms.evaluation.metric_columns import MetricColumns, Series
from transforms.evaluation.metric_result import ALL_ROWS, MetricResult, SliceKey

__all__ = [
    "ALL_ROWS",
    "EvaluationResults",
    "MetricResult",
    "SliceKey",
    "SliceResult",
    "slice_name",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceResult:
    """A slice of the rows.

    Attributes:
        slice_id: Its number in the states; 0 is all rows.
        key: What its rows have in common.
        num_rows: Rows that were evaluated.
        is_scored: Whether it has enough rows for its metrics to be told.
    """

    slice_id: int
    key: SliceKey
    num_rows: int
    is_scored: bool

    @property
    def name(self) -> str:
        """Its name for people, as `country=DE, device=phone`."""
        return slice_name(self.key)


def slice_name(key: SliceKey) -> str:
    """Returns the name of a slice for people."""
    return ", ".join(f"{column}={value}" for column, value in key) or "all rows"


@dataclass(frozen=True, kw_only=True)
class EvaluationResults:
    """All that was measured. Immutable.

    Attributes:
        model_name: The model.
        baseline: The version that the others are compared with.
        candidates: The others, in the order asked for.
        slices: All slices that have rows; all rows first.
        metrics: Of the slices that are scored; held as columns.
    """

    model_name: str
    baseline: int
    candidates: tuple[int, ...]
    slices: tuple[SliceResult, ...]
    metrics: Sequence[MetricResult]

    def __post_init__(self) -> None:
        if not isinstance(self.metrics, MetricColumns):
            object.__setattr__(self, "metrics", MetricColumns.of(self.metrics))

    @property
    def columns(self) -> MetricColumns:
        """The metrics, as columns."""
        assert isinstance(self.metrics, MetricColumns)  # noqa: S101 - since it was made
        return self.metrics

    @property
    def versions(self) -> tuple[int, ...]:
        """All versions, the baseline first."""
        return (self.baseline, *self.candidates)

    def find(
        self,
        metric: str,
        version: int,
        *,
        slice: SliceKey = ALL_ROWS,  # noqa: A002 - the field's own word
        sub_key: str = "",
        is_difference: bool = False,
    ) -> MetricResult | None:
        """Returns a metric, or None if it was not measured there."""
        return self.columns.find(Series(metric, sub_key, version, is_difference), slice)

    def names(self) -> Iterable[str]:
        """Returns the names of the metrics, in the order in which they were measured."""
        return dict.fromkeys(each.metric for each in self.columns.series)

    def of_slice(self, key: SliceKey) -> Iterator[MetricResult]:
        """Yields the metrics of one slice."""
        return self.columns.of_slice(key)
