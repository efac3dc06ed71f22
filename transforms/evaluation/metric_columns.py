"""Metrics as columns of numbers: of ten thousand slices there are millions."""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, overload

import numpy as np

from transforms.evaluation.metric_result import MetricResult, SliceKey
from transforms.metrics import Estimate, Method
from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.estimates import METHODS, NUMBERS
from transforms.metrics.metric_column import MetricColumn
from transforms.metrics.reference_distributions import t_quantile, wilson_intervals


class Series(NamedTuple):
    """One number of each slice; see `MetricResult`."""

    metric: str
    sub_key: str
    version: int
    is_difference: bool


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MetricColumns(Sequence[MetricResult]):
    """Metrics of many slices; a `MetricResult` is made when it is asked for. Immutable.

    Attributes:
        series: What is measured of slices, in the order in which it was measured.
        keys: The slices.
        series_ids: For each metric, which of the series it belongs to.
        slice_ids: And which of the slices.
        num_rows: Rows of the slice.
        numbers: Those of its estimate, by name.
        methods: Its estimate's method, by number.
    """

    series: tuple[Series, ...]
    keys: tuple[SliceKey, ...]
    series_ids: Integers
    slice_ids: Integers
    num_rows: Integers
    numbers: dict[str, Floats]
    methods: Integers
    _order: Integers
    _codes: Integers
    _series_places: dict[Series, int]
    _slice_places: dict[SliceKey, int]

    @classmethod
    def of(cls, metrics: Iterable[MetricResult]) -> Self:
        """Returns the columns of metrics, of which an iterator is never held as a whole."""
        series: dict[Series, int] = {}
        keys: dict[SliceKey, int] = {}
        ids = [array("i"), array("i"), array("q"), array("b")]
        numbers = {name: array("d") for name in NUMBERS}
        for each in metrics:
            about = Series(each.metric, each.sub_key, each.version, each.is_difference)
            ids[0].append(series.setdefault(about, len(series)))
            ids[1].append(keys.setdefault(each.slice, len(keys)))
            ids[2].append(each.num_rows)
            ids[3].append(METHODS.index(each.estimate.method))
            for name, column in numbers.items():
                column.append(getattr(each.estimate, name))
        columns = [np.array(each) for each in ids]
        return cls.of_columns(
            tuple(series),
            tuple(keys),
            series_ids=columns[0],
            slice_ids=columns[1],
            num_rows=columns[2],
            methods=columns[3],
            numbers={name: np.array(each) for name, each in numbers.items()},
        )

    @classmethod
    def of_slices(
        cls,
        found: Iterable[MetricColumn],
        *,
        versions: Sequence[int],
        slice_ids: Integers,
        keys: tuple[SliceKey, ...],
        num_rows: Integers,
    ) -> Self:
        """Returns the metrics of slices, which come as columns of some of them each.

        Args:
            found: The metrics.
            versions: By their indices in these.
            slice_ids: The slices, ascending.
            keys: What each has in common.
            num_rows: Rows of each.
        """
        series: dict[Series, int] = {}
        ids: tuple[list[Integers], list[Integers]] = ([], [])
        estimates = []
        for each in found:
            about = Series(each.metric, each.sub_key, versions[each.version], each.is_difference)
            place = series.setdefault(about, len(series))
            ids[0].append(np.full(each.slice_ids.size, place, dtype=np.int32))
            ids[1].append(np.searchsorted(slice_ids, each.slice_ids).astype(np.int32))
            estimates.append(each.estimates)
        of_series, of_slices = (np.concatenate(each) for each in ids)
        order = np.lexsort((of_series, of_slices))
        return cls.of_columns(
            tuple(series),
            keys,
            series_ids=of_series[order],
            slice_ids=of_slices[order],
            num_rows=num_rows[of_slices[order]],
            methods=np.concatenate([each.methods for each in estimates])[order],
            numbers={
                name: np.concatenate([getattr(each, name) for each in estimates])[order]
                for name in NUMBERS
            },
        )

    @classmethod
    def of_columns(
        cls,
        series: tuple[Series, ...],
        keys: tuple[SliceKey, ...],
        *,
        series_ids: Integers,
        slice_ids: Integers,
        num_rows: Integers,
        methods: Integers,
        numbers: dict[str, Floats],
    ) -> Self:
        """Returns the metrics of these columns; see the attributes."""
        codes = slice_ids.astype(np.int64) * max(1, len(series)) + series_ids
        order = np.argsort(codes, kind="stable")
        return cls(
            series=series,
            keys=keys,
            series_ids=series_ids,
            slice_ids=slice_ids,
            num_rows=num_rows,
            methods=methods,
            numbers=numbers,
            _order=order,
            _codes=codes[order],
            _series_places={each: place for place, each in enumerate(series)},
            _slice_places={each: place for place, each in enumerate(keys)},
        )

    def __len__(self) -> int:
        """Returns how many metrics there are."""
        return int(self.series_ids.size)

    @overload
    def __getitem__(self, index: int) -> MetricResult: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[MetricResult, ...]: ...
    def __getitem__(self, index: int | slice) -> MetricResult | tuple[MetricResult, ...]:
        """Returns a metric, or some of them."""
        if isinstance(index, slice):
            return tuple(self._at(each) for each in range(*index.indices(len(self))))
        return self._at(range(len(self))[index])

    def __eq__(self, other: object) -> bool:
        """Whether `other` has the same metrics in the same order."""
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(self.series)

    def find(self, series: Series, key: SliceKey) -> MetricResult | None:
        """Returns the metric of a series on a slice, the last if there are several, or None."""
        place, of_slice = self._series_places.get(series), self._slice_places.get(key)
        if place is None or of_slice is None:
            return None
        code = of_slice * len(self.series) + place
        after = int(np.searchsorted(self._codes, code, side="right"))
        if not after or self._codes[after - 1] != code:
            return None
        return self._at(int(self._order[after - 1]))

    def of_slice(self, key: SliceKey) -> Iterator[MetricResult]:
        """Yields the metrics of one slice."""
        place = self._slice_places.get(key)
        if place is None:
            return
        edges = np.array([place, place + 1], dtype=np.int64) * len(self.series)
        first, last = np.searchsorted(self._codes, edges)
        for index in np.sort(self._order[first:last]).tolist():
            yield self._at(index)

    def intervals(self, level: float) -> tuple[Floats, Floats]:
        """Returns the lower and upper ends of all confidence intervals; see `Estimate.interval`."""
        numbers = self.numbers
        freedoms, places = np.unique(numbers["degrees_of_freedom"], return_inverse=True)
        reaches = np.array([t_quantile((1 + level) / 2, each) for each in freedoms.tolist()])
        half = reaches[places] * numbers["standard_error"] if places.size else np.zeros(0)
        lower, upper = numbers["lower_bound"] - half, numbers["upper_bound"] + half
        is_share = self.methods == METHODS.index(Method.WILSON)
        rows = numbers["effective_rows"][is_share]
        lower[is_share], _ = wilson_intervals(numbers["lower_bound"][is_share], rows, level)
        _, upper[is_share] = wilson_intervals(numbers["upper_bound"][is_share], rows, level)
        return lower, upper

    def certified_errors(self) -> Floats:
        """Returns how far each value may be from the metric of the very same rows."""
        value = self.numbers["value"]
        above, below = self.numbers["upper_bound"] - value, value - self.numbers["lower_bound"]
        return np.where(below > above, below, above)

    def _at(self, index: int) -> MetricResult:
        about = self.series[self.series_ids[index]]
        found = {name: float(self.numbers[name][index]) for name in NUMBERS}
        # The NaN, which is itself, so that equal metrics are equal.
        numbers: dict[str, Any] = {k: math.nan if math.isnan(v) else v for k, v in found.items()}
        return MetricResult(
            metric=about.metric,
            sub_key=about.sub_key,
            version=about.version,
            is_difference=about.is_difference,
            slice=self.keys[self.slice_ids[index]],
            num_rows=int(self.num_rows[index]),
            estimate=Estimate(method=METHODS[self.methods[index]], **numbers),
        )


def method_names() -> list[str]:
    """Returns the names of the methods by their numbers in `MetricColumns.methods`."""
    return [each.value for each in METHODS]
