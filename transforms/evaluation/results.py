"""What was measured: metrics of versions, and of their differences to the baseline, on slices."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from transforms.metrics import Estimate

SliceKey = tuple[tuple[str, str], ...]
"""Pairs of column and value, as `(("country", "DE"), ("device", "phone"))`; empty for all rows."""

ALL_ROWS: SliceKey = ()


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


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricResult:
    """One metric of one version on one slice.

    Attributes:
        metric: Its name.
        sub_key: What else it depends on, as `threshold=0.5`; empty where nothing.
        version: The version.
        is_difference: Whether it compares the version with the baseline.
        slice: The slice.
        num_rows: Rows of the slice that were evaluated.
        estimate: The number and its uncertainty.
    """

    metric: str
    sub_key: str = ""
    version: int
    is_difference: bool = False
    slice: SliceKey = ALL_ROWS
    num_rows: int
    estimate: Estimate


_Key = tuple[str, str, int, bool, SliceKey]


@dataclass(frozen=True, kw_only=True)
class EvaluationResults:
    """All that was measured. Immutable.

    Attributes:
        model_name: The model.
        baseline: The version that the others are compared with.
        candidates: The others, in the order asked for.
        slices: All slices that have rows; all rows first.
        metrics: Of the slices that are scored.
    """

    model_name: str
    baseline: int
    candidates: tuple[int, ...]
    slices: tuple[SliceResult, ...]
    metrics: tuple[MetricResult, ...]
    _by_key: dict[_Key, MetricResult] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_key", {_key(each): each for each in self.metrics})

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
        return self._by_key.get((metric, sub_key, version, is_difference, slice))

    def names(self) -> Iterable[str]:
        """Returns the names of the metrics, in the order in which they were measured."""
        return dict.fromkeys(each.metric for each in self.metrics)

    def of_slice(self, key: SliceKey) -> Iterator[MetricResult]:
        """Yields the metrics of one slice."""
        return (each for each in self.metrics if each.slice == key)


def _key(result: MetricResult) -> _Key:
    return (result.metric, result.sub_key, result.version, result.is_difference, result.slice)
