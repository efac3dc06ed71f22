"""Metrics that are weighted means of a value per row, and functions of such means."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.metrics.array_types import Floats
from transforms.metrics.estimate import Estimate, Method
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.fixed_sums import FixedSums
from transforms.metrics.jackknife import jackknifed_values
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.metric_family import MetricValue, States, of_pairs
from transforms.metrics.ratios import ratio

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
    """

    name: str
    values: Callable[[EvaluationBatch], Floats]
    is_reported: bool = True
    is_paired: bool = False


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
        is_clustered: Whether rows are dependent, so that only the jackknife is right.
    """

    name: str
    metrics: tuple[RowMetric, ...]
    functions: tuple[MeanFunction, ...] = ()
    num_versions: int
    num_blocks: int
    is_clustered: bool = False

    @property
    def layout(self) -> KeyLayout:
        """The cells of the sums."""
        return KeyLayout(names=("slice", "block"), sizes=(self.num_blocks,))

    @property
    def _sums(self) -> tuple[str, ...]:
        versions = range(self.num_versions)
        per_version = [
            f"{kind}/{each}" for kind in ("wx", "wwx", "wwxx", "wwdd") for each in versions
        ]
        return tuple(
            f"{metric.name}/{each}"
            for metric in self.metrics
            for each in ("undefined", "w", "ww", *per_version)
        )

    def create(self) -> States:
        """Returns the sums over no rows."""
        return {self.name: FixedSums.empty(self.layout, self._sums)}

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the sums over the rows of a batch."""
        weights = batch.row_weights()
        values = np.concatenate([_terms(each.values(batch), weights) for each in self.metrics])
        rows, slices = batch.memberships()
        keys = self.layout.pack(slices, batch.blocks[rows])
        return {self.name: FixedSums.of_rows(self.layout, self._sums, keys, values, rows)}

    def finalise(self, states: Mapping[str, Any], slice_id: int) -> Iterator[MetricValue]:
        """Yields means, differences of means, and what is made of them."""
        shape = (self.num_blocks, len(self.metrics), -1)
        blocks = states[self.name].dense(slice_id).reshape(shape)
        total = blocks.sum(axis=0)
        means = _means(total, self.num_versions)
        others = _means(total - blocks, self.num_versions)
        block_weights = blocks[:, :, 1].sum(axis=1)
        for i, metric in enumerate(self.metrics):
            if not metric.is_reported:
                continue
            if self.is_clustered:
                found = jackknifed_values(
                    metric.name, slice_id, means[i], others[:, i], block_weights
                )
            else:
                found = self._linearised(metric.name, slice_id, total[i])
            yield from of_pairs(found) if metric.is_paired else found
            if total[i, 0]:
                yield _undefined_rows(metric.name, slice_id, total[i, 0])
        names = [metric.name for metric in self.metrics]
        by_name = dict(zip(names, means, strict=True))
        others_by_name = dict(zip(names, others.transpose(1, 0, 2), strict=True))
        for function in self.functions:
            yield from jackknifed_values(
                function.name,
                slice_id,
                function.value(by_name),
                function.value(others_by_name),
                block_weights,
            )

    def _linearised(self, name: str, slice_id: int, sums: Floats) -> Iterator[MetricValue]:
        weight, squared = sums[1], sums[2]
        wx, wwx, wwxx, wwdd = sums[3:].reshape(4, self.num_versions)
        mean = ratio(wx, weight)
        change, change_wwx = mean - mean[0], wwx - wwx[0]
        own = wwxx - 2 * mean * wwx + mean**2 * squared
        of_change = wwdd - 2 * change * change_wwx + change**2 * squared
        rows = float(ratio(weight**2, squared))
        for version in range(self.num_versions):
            yield MetricValue(
                metric=name,
                slice_id=slice_id,
                version=version,
                estimate=_mean_estimate(mean[version], own[version], weight, rows),
            )
            if version:
                yield MetricValue(
                    metric=name,
                    slice_id=slice_id,
                    version=version,
                    is_difference=True,
                    estimate=_mean_estimate(change[version], of_change[version], weight, rows),
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


def _means(sums: Floats, num_versions: int) -> Floats:
    """Returns the means, [..., metrics, versions], of sums, [..., metrics, sums]."""
    return ratio(sums[..., 3 : 3 + num_versions], sums[..., 1:2])


def _terms(values: Floats, weights: Floats) -> Floats:
    """Returns what a metric adds to its sums, [sums, rows]."""
    is_defined = (np.abs(values) <= _MAX_VALUE).all(axis=0)
    x = np.where(is_defined, values, 0)
    w = np.where(is_defined, weights, 0)
    ww = w * w
    changes = x - x[0]
    return np.concatenate([[~is_defined, w, ww], w * x, ww * x, ww * x * x, ww * changes * changes])
