"""Metrics that are weighted means of a value per row, and functions of such means."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from transforms.metrics.array_types import Booleans, Floats
from transforms.metrics.directions import Direction
from transforms.metrics.estimate import Estimate, Method
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.fixed_point import Words, to_words
from transforms.metrics.fixed_sums import FixedSums
from transforms.metrics.jackknife import jackknifed_values
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.metric_family import MetricValue, States, of_pairs
from transforms.metrics.ratios import ratio
from transforms.metrics.slice_sums import Additions, sum_slices

# Sums of squares have a place for values up to here.
_MAX_VALUE = 2.0**52
# With fewer rows of equal weight a mean is not quite normal.
_MANY_ROWS = 30


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
    """

    name: str
    values: Callable[[EvaluationBatch], Floats]
    is_reported: bool = True
    is_paired: bool = False
    direction: Direction | None = None
    unit: str = ""
    description: str = ""
    is_share: bool = False


@dataclass(frozen=True, slots=True)
class MeanFunction:
    """A metric made of means.

    Attributes:
        name: Of the metric.
        value: Takes the means by name, arrays of one shape, and gives such an array.
    """

    name: str
    value: Callable[[Mapping[str, Floats]], Floats]


@dataclass(frozen=True, kw_only=True, slots=True)
class RowMeans:
    """A family of means with linearised standard errors, on differences too.

    SE^2 = sum w^2 (x - mean)^2 / (sum w)^2, the linearised variance of a ratio (Cochran, Sampling
    Techniques, 1977); for a difference x is the difference within the row.

    Attributes:
        name: Of the state.
        metrics: The means.
        functions: What is made of them; their intervals come from the jackknife.
        num_versions: Versions.
        num_blocks: Blocks of the jackknife.
        is_weighted: Whether rows have weights.
        is_clustered: Whether rows are dependent, so that only the jackknife is right.
    """

    name: str
    metrics: tuple[RowMetric, ...]
    functions: tuple[MeanFunction, ...] = ()
    num_versions: int
    num_blocks: int
    is_weighted: bool = False
    is_clustered: bool = False

    @property
    def layout(self) -> KeyLayout:
        """The cells of the sums."""
        return KeyLayout(names=("slice", "block"), sizes=(self.num_blocks,))

    @property
    def _names(self) -> tuple[str, ...]:
        """Names of the sums: of the weights, and for each metric."""
        of_metrics = (f"{each.name}/{name}" for each in self.metrics for name in self._kinds(each))
        return (*self._weights, *of_metrics)

    @property
    def _weights(self) -> tuple[str, ...]:
        return ("w", "ww") if self.is_weighted else ("w",)  # 1 is its own square

    def _kinds(self, metric: RowMetric) -> tuple[str, ...]:
        """Names of the sums of a metric; what only an error needs is kept only if it has one."""
        kinds = ["undefined", *(f"wx/{each}" for each in range(self.num_versions))]
        if self.is_weighted:
            kinds += ["undefined_w", "undefined_ww"]
        if metric.is_reported:
            ofs = ("wwx", "wwxx") if self.is_weighted else ("wwxx",)
            kinds += [f"{of}/{each}" for of in ofs for each in range(self.num_versions)]
            kinds += [f"wwdd/{each}" for each in range(1, self.num_versions)]
        return tuple(kinds)

    def create(self) -> States:
        """Returns the sums over no rows."""
        return {self.name: FixedSums.empty(self.layout, self._names)}

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the sums over the rows of a batch."""
        added = (
            Additions(start, chunk.blocks, list(self._added(chunk)))
            for start, chunk in batch.chunks()
        )
        return {self.name: sum_slices(self.layout, self._names, batch.slices, added)}

    def _added(self, batch: EvaluationBatch) -> Iterator[list[Words]]:
        """Yields what rows add to each sum, in the order of their names."""
        w = batch.row_weights()
        yield to_words(w)
        if self.is_weighted:
            yield to_words(w * w)
        for metric in self.metrics:
            x = np.asarray(metric.values(batch), dtype=np.float64)
            is_defined = _is_defined(x)
            if is_defined is not None:
                x = np.where(is_defined, x, 0)
            for each in self._terms(metric, x, w, is_defined):
                yield to_words(each)

    def _terms(
        self, metric: RowMetric, x: Floats, w: Floats, is_defined: Booleans | None
    ) -> Iterator[Floats]:
        """Yields what rows add to the sums of a metric; where that is not defined, x is 0."""
        undefined = np.zeros(w.size)
        if is_defined is not None:
            undefined[~is_defined] = 1
        yield undefined
        wx = w * x if self.is_weighted else x
        yield from wx
        if self.is_weighted:
            yield undefined * w
            yield undefined * w * w
        if not metric.is_reported:
            return
        if self.is_weighted:
            yield from w * wx
        for each in wx:
            yield each * each
        for each in wx[1:]:
            change = each - wx[0]
            yield change * change

    def finalise(self, states: Mapping[str, Any], slice_id: int) -> Iterator[MetricValue]:
        """Yields means, differences of means, and what is made of them."""
        blocks = states[self.name].dense(slice_id)
        total = blocks.sum(axis=0)
        sums_of = [*map(partial(self._of_metric, total), self.metrics, self._firsts())]
        without = map(partial(self._of_metric, total - blocks), self.metrics, self._firsts())
        means, others = [each.means for each in sums_of], [each.means for each in without]
        block_weights = blocks[:, 0]
        for i, metric in enumerate(self.metrics):
            if not metric.is_reported:
                continue
            sums = sums_of[i]
            if self.is_clustered:
                found = jackknifed_values(metric.name, slice_id, means[i], others[i], block_weights)
            else:
                found = self._linearised(metric, slice_id, sums)
            yield from of_pairs(found) if metric.is_paired else found
            if sums.undefined:
                yield _undefined_rows(metric.name, slice_id, float(sums.undefined))
        names = [metric.name for metric in self.metrics]
        by_name = dict(zip(names, means, strict=True))
        others_by_name = dict(zip(names, others, strict=True))
        for function in self.functions:
            yield from jackknifed_values(
                function.name,
                slice_id,
                function.value(by_name),
                function.value(others_by_name),
                block_weights,
            )

    def _firsts(self) -> list[int]:
        """Returns where the sums of each metric begin."""
        sizes = [len(self._kinds(each)) for each in self.metrics]
        return [*itertools.accumulate(sizes[:-1], initial=len(self._weights))]

    def _of_metric(self, sums: Floats, metric: RowMetric, first: int) -> "_MetricSums":
        """Returns the sums of one metric, which begin at `first`, among all, [..., names]."""
        kinds = {kind: sums[..., first + i] for i, kind in enumerate(self._kinds(metric))}

        def of_versions(kind: str) -> Floats:
            missing = np.full(sums.shape[:-1], 0.0)
            return np.stack(
                [kinds.get(f"{kind}/{each}", missing) for each in range(self.num_versions)], -1
            )

        undefined = kinds["undefined"]
        weight = sums[..., 0] - kinds.get("undefined_w", undefined)
        squared = sums[..., 1] - kinds["undefined_ww"] if self.is_weighted else weight
        return _MetricSums(
            undefined=undefined,
            weight=weight,
            squared=squared,
            wx=of_versions("wx"),
            wwx=of_versions("wwx" if self.is_weighted else "wx"),
            wwxx=of_versions("wwxx"),
            wwdd=of_versions("wwdd"),
        )

    def rows_per_weight(self, states: Mapping[str, Any], slice_id: int) -> float:
        """Returns how many rows of equal weight a weight of 1 is worth in a slice; NaN in none."""
        sums = states[self.name].dense(slice_id).sum(axis=0)
        return float(ratio(sums[0], sums[len(self._weights) - 1]))

    def _linearised(
        self, metric: RowMetric, slice_id: int, sums: "_MetricSums"
    ) -> Iterator[MetricValue]:
        weight, squared, mean = sums.weight, sums.squared, sums.means
        change, change_wwx = mean - mean[0], sums.wwx - sums.wwx[0]
        own = sums.wwxx - 2 * mean * sums.wwx + mean**2 * squared
        of_change = sums.wwdd - 2 * change * change_wwx + change**2 * squared
        rows = float(ratio(weight**2, squared))
        for version in range(self.num_versions):
            estimate = _mean_estimate(mean[version], own[version], float(weight), rows)
            if metric.is_share and rows > 0:
                estimate = replace(estimate, method=Method.WILSON)
            yield MetricValue(
                metric=metric.name,
                slice_id=slice_id,
                version=version,
                estimate=estimate,
            )
            if version:
                yield MetricValue(
                    metric=metric.name,
                    slice_id=slice_id,
                    version=version,
                    is_difference=True,
                    estimate=_mean_estimate(
                        change[version], of_change[version], float(weight), rows
                    ),
                )


def _mean_estimate(value: float, squares: float, weight: float, rows: float) -> Estimate:
    error = math.sqrt(max(squares, 0.0)) / float(weight) if rows > 1 else math.nan
    return Estimate(
        value=float(value),
        standard_error=error,
        degrees_of_freedom=max(1, int(rows - 1)) if rows < _MANY_ROWS else math.inf,
        method=Method.MEAN if rows > 1 else Method.NONE,
        effective_rows=rows,
    )


def _undefined_rows(name: str, slice_id: int, rows: float) -> MetricValue:
    return MetricValue(
        metric="undefined_rows",
        sub_key=f"metric={name}",
        slice_id=slice_id,
        version=0,
        estimate=Estimate(value=float(rows)),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _MetricSums:
    """Sums of one metric over rows where it is defined; [...], or [..., versions] where of x."""

    undefined: Floats
    weight: Floats
    squared: Floats
    wx: Floats
    wwx: Floats
    wwxx: Floats
    wwdd: Floats

    @property
    def means(self) -> Floats:
        """The means, [..., versions]."""
        return ratio(self.wx, self.weight[..., None])


def _is_defined(values: Floats) -> Booleans | None:
    """Returns for which rows all versions have a value; None for all, which is quickly found."""
    if not values.size or -_MAX_VALUE <= values.min() <= values.max() <= _MAX_VALUE:
        return None
    is_defined: Booleans = np.logical_and.reduce(np.abs(values) <= _MAX_VALUE, axis=0)
    return is_defined
