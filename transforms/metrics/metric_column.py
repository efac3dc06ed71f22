"""One metric on many slices, as families that finalise all slices at once give it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from transforms.metrics.array_types import Booleans, Integers
from transforms.metrics.estimates import METHODS, Estimates
from transforms.metrics.metric_family import MetricValue


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MetricColumn:
    """One metric of one version on some slices.

    Attributes:
        metric: Its name.
        version: The version's index.
        sub_key: What else it depends on, as `threshold=0.5`; empty where nothing.
        is_difference: Whether it compares the version with the baseline, version 0.
        slice_ids: The slices, each once.
        estimates: For each of them.
    """

    metric: str
    version: int
    sub_key: str = ""
    is_difference: bool = False
    slice_ids: Integers
    estimates: Estimates

    def where(self, is_kept: Booleans) -> Self:
        """Returns the column of some of the slices."""
        if is_kept.all():
            return self
        return replace(
            self, slice_ids=self.slice_ids[is_kept], estimates=self.estimates.take(is_kept)
        )

    def values(self) -> Iterator[MetricValue]:
        """Yields the metric of each slice."""
        for place, slice_id in enumerate(self.slice_ids.tolist()):
            yield MetricValue(
                metric=self.metric,
                slice_id=slice_id,
                version=self.version,
                sub_key=self.sub_key,
                is_difference=self.is_difference,
                estimate=self.estimates.at(place),
            )


def column_of(value: MetricValue) -> MetricColumn:
    """Returns the column of a metric on a single slice."""
    found = value.estimate
    return MetricColumn(
        metric=value.metric,
        version=value.version,
        sub_key=value.sub_key,
        is_difference=value.is_difference,
        slice_ids=np.array([value.slice_id]),
        estimates=Estimates.of(
            [found.value],
            standard_error=found.standard_error,
            degrees_of_freedom=found.degrees_of_freedom,
            methods=[METHODS.index(found.method)],
            effective_rows=found.effective_rows,
            lower_bound=found.lower_bound,
            upper_bound=found.upper_bound,
        ),
    )


def of_pairs(columns: Iterable[MetricColumn]) -> Iterator[MetricColumn]:
    """Yields columns that compare versions with the baseline by themselves, as differences."""
    for each in columns:
        if each.version and not each.is_difference:
            yield replace(each, is_difference=True)


def in_chunks(slice_ids: Integers, size: int) -> Iterator[Integers]:
    """Yields the slices a few at a time: what is made of each of them takes memory."""
    for start in range(0, slice_ids.size, size):
        yield slice_ids[start : start + size]
