"""Metrics that are weighted means of a value per row, and functions of such means."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from transforms.metrics import certain_values
from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.effective_clusters import clustered_shares, effective_clusters
from transforms.metrics.estimate import Method
from transforms.metrics.estimates import Estimates, method_places
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.jackknife import jackknifed_columns
from transforms.metrics.metric_column import MetricColumn, in_chunks, of_pairs
from transforms.metrics.metric_family import States
from transforms.metrics.ratios import ratio
from transforms.metrics.row_metric import RowMetric
from transforms.metrics.row_sums import RowSums

# With fewer rows of equal weight a mean is not quite normal.
_MANY_ROWS = 30
# Slices whose sums are looked at together.
_MAX_SLICES = 256


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
    def _sums(self) -> RowSums:
        return RowSums(
            metrics=self.metrics,
            num_versions=self.num_versions,
            num_blocks=self.num_blocks,
            is_weighted=self.is_weighted,
        )

    def create(self) -> States:
        """Returns the sums over no rows."""
        return {self.name: self._sums.empty()}

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the sums over the rows of a batch."""
        return {self.name: self._sums.of_batch(batch)}

    def finalise_slices(
        self, states: Mapping[str, Any], slice_ids: Integers
    ) -> Iterator[MetricColumn]:
        """Yields means, differences of means, and what is made of them; see `ColumnarFamily`."""
        for some in in_chunks(slice_ids, _MAX_SLICES):
            yield from self._finalised(states[self.name].of_slices(some), some)

    def _finalised(self, blocks: Floats, slice_ids: Integers) -> Iterator[MetricColumn]:
        """Yields the metrics of sums, [slices, blocks, names]."""
        total = blocks.sum(axis=1)
        sums_of = [*map(partial(self._of_metric, total), self.metrics, self._sums.firsts())]
        left = total[:, None] - blocks
        without = map(partial(self._of_metric, left), self.metrics, self._sums.firsts())
        means, others = [each.means for each in sums_of], [each.means for each in without]
        block_weights = blocks[..., 0]
        for i, metric in enumerate(self.metrics):
            if not metric.is_reported:
                continue
            sums = sums_of[i]
            if self.is_clustered:
                found = jackknifed_columns(
                    metric.name, slice_ids, means[i], others[i], block_weights
                )
                if metric.is_share:
                    found = map(partial(_of_clusters, block_weights, sums.effective_rows), found)
            else:
                found = self._linearised(metric, slice_ids, sums)
            yield from of_pairs(found) if metric.is_paired else found
            if sums.undefined.any():
                yield _undefined_rows(metric.name, slice_ids, sums.undefined)
        names = [metric.name for metric in self.metrics]
        by_name = dict(zip(names, means, strict=True))
        others_by_name = dict(zip(names, others, strict=True))
        for function in self.functions:
            yield from jackknifed_columns(
                function.name,
                slice_ids,
                function.value(by_name),
                function.value(others_by_name),
                block_weights,
            )

    def _of_metric(self, sums: Floats, metric: RowMetric, first: int) -> "_MetricSums":
        """Returns the sums of one metric, which begin at `first`, among all, [..., names]."""
        kinds = {kind: sums[..., first + i] for i, kind in enumerate(self._sums.kinds(metric))}

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
        return float(ratio(sums[0], sums[len(self._sums.weights) - 1]))

    def _linearised(
        self, metric: RowMetric, slice_ids: Integers, sums: "_MetricSums"
    ) -> Iterator[MetricColumn]:
        weight, squared, mean = sums.weight, sums.squared[:, None], sums.means
        change, change_wwx = mean - mean[:, :1], sums.wwx - sums.wwx[:, :1]
        own = sums.wwxx - 2 * mean * sums.wwx + mean**2 * squared
        of_change = sums.wwdd - 2 * change * change_wwx + change**2 * squared
        rows = sums.effective_rows
        for version in range(self.num_versions):
            estimates = _mean_estimates(mean[:, version], own[:, version], weight, rows)
            if metric.is_share:
                wilson = method_places(rows > 0, Method.WILSON)
                estimates = replace(estimates, methods=wilson)
            about: dict[str, Any] = {
                "metric": metric.name,
                "slice_ids": slice_ids,
                "version": version,
            }
            yield MetricColumn(**about, estimates=estimates)
            if version:
                estimates = _mean_estimates(change[:, version], of_change[:, version], weight, rows)
                if metric.is_share:
                    estimates = _doubted(estimates, rows)
                yield MetricColumn(**about, is_difference=True, estimates=estimates)


def _of_clusters(block_weights: Floats, rows: Floats, found: MetricColumn) -> MetricColumn:
    """Returns shares, or changes of shares, as sure as clusters are; they are never worth more rows."""
    if not found.is_difference:
        return replace(found, estimates=clustered_shares(found.estimates, block_weights, rows))
    clusters = np.minimum(effective_clusters(block_weights), rows)
    return replace(found, estimates=_doubted(found.estimates, clusters))


def _doubted(changes: Estimates, rows: Floats) -> Estimates:
    """Returns changes of shares; such as no row brings about are as sure as there are rows."""
    is_certain = certain_values.are_certain(changes)
    if not is_certain.any():
        return changes
    return certain_values.unchanged(changes, rows).where(is_certain, changes)


def _mean_estimates(value: Floats, squares: Floats, weight: Floats, rows: Floats) -> Estimates:
    is_known = rows > 1
    return Estimates.of(
        value,
        standard_error=np.where(is_known, ratio(np.sqrt(np.maximum(squares, 0)), weight), np.nan),
        degrees_of_freedom=np.where(rows < _MANY_ROWS, np.maximum(1, np.floor(rows - 1)), np.inf),
        methods=method_places(is_known, Method.MEAN),
        effective_rows=rows,
    )


def _undefined_rows(name: str, slice_ids: Integers, rows: Floats) -> MetricColumn:
    column = MetricColumn(
        metric="undefined_rows",
        sub_key=f"metric={name}",
        slice_ids=slice_ids,
        version=0,
        estimates=Estimates.of(rows),
    )
    return column.where(rows > 0)


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
    def effective_rows(self) -> Floats:
        """How many rows of equal weight they are worth."""
        return ratio(self.weight**2, self.squared)

    @property
    def means(self) -> Floats:
        """The means, [..., versions]."""
        return ratio(self.wx, self.weight[..., None])
