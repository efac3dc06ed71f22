"""Metrics that are weighted means of a value per row, and functions of such means."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from transforms.metrics import certain_values
from transforms.metrics.array_types import Booleans, Floats, Integers
from transforms.metrics.directions import Direction
from transforms.metrics.effective_clusters import clustered_shares, effective_clusters
from transforms.metrics.estimate import Method
from transforms.metrics.estimates import Estimates, method_places
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.fixed_point import Words, to_words, words_of
from transforms.metrics.fixed_sums import FixedSums
from transforms.metrics.jackknife import jackknifed_columns
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.metric_column import MetricColumn, in_chunks, of_pairs
from transforms.metrics.metric_family import States
from transforms.metrics.packed_counts import PackedCounts
from transforms.metrics.ratios import ratio
from transforms.metrics.slice_sums import Additions, sum_slices

# Sums of squares have a place for values up to here.
_MAX_VALUE = 2.0**52
# With fewer rows of equal weight a mean is not quite normal.
_MANY_ROWS = 30
# Slices whose sums are looked at together.
_MAX_SLICES = 256


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


@dataclass(frozen=True, slots=True)
class MeanFunction:
    """A metric made of means.

    Attributes:
        name: Of the metric.
        value: Takes the means by name, arrays of one shape, and gives such an array.
    """

    name: str
    value: Callable[[Mapping[str, Floats]], Floats]


class _Added(NamedTuple):
    """What rows add to some sums.

    Attributes:
        names: Of the sums.
        values: [names, rows]; of no rows if there is nothing to add.
        most: What the size of none exceeds, where that is known.
    """

    names: tuple[str, ...]
    values: Floats
    most: float | None = None


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
        same = self._same_sums()
        counts = PackedCounts(self._counted(), batch.num_rows)
        names = tuple(n for n in self._names if n not in same and n not in counts.names)
        added = (
            Additions(start, chunk.blocks, self._added(chunk, counts))
            for start, chunk in batch.chunks()
        )
        sums = sum_slices(self.layout, (*names, *counts.packed_names), batch.slices, added)
        columns = dict(zip(names, sums.columns[: len(names)], strict=True))
        columns |= counts.unpacked(sums.columns[len(names) :])
        all_columns = tuple(columns[same.get(name, name)] for name in self._names)
        return {self.name: replace(sums, names=self._names, columns=all_columns)}

    def _same_sums(self) -> Mapping[str, str]:
        """Returns which sums are those of other names, so that they are added up once."""
        same = {}
        for metric in self.metrics:
            for each in range(self.num_versions):
                if metric.is_of_row and each:
                    same[f"{metric.name}/wx/{each}"] = f"{metric.name}/wx/0"
                elif self._is_count(metric) and metric.is_reported:  # the squares of 0 and 1
                    same[f"{metric.name}/wwxx/{each}"] = f"{metric.name}/wx/{each}"
        return same

    def _counted(self) -> tuple[str, ...]:
        """Returns which sums are numbers of rows."""
        if self.is_weighted:
            return ()
        of_shares = (
            f"{metric.name}/{kind}"
            for metric in self.metrics
            if metric.is_share
            for kind in self._kinds(metric)
            if kind != "undefined"
        )
        same = self._same_sums()
        return ("w", *(name for name in of_shares if name not in same))

    def _is_count(self, metric: RowMetric) -> bool:
        """Returns whether the sums of a metric are numbers of rows."""
        return metric.is_share and not self.is_weighted

    def _added(self, batch: EvaluationBatch, counts: PackedCounts) -> Iterator[list[Words]]:
        """Yields what rows add to each sum, in the order of the names, and then to the counts."""
        flags: list[Floats] = []
        for names, values, most in self._values(batch):
            if names[0] in counts.names:
                flags.extend(values)
                continue
            words = to_words(values, most)
            for place in range(len(names)):
                yield words_of(words, place)
        yield from counts.words(flags)

    def _values(self, batch: EvaluationBatch) -> Iterator[_Added]:
        """Yields what rows add to all sums."""
        w = batch.row_weights()[None]
        yield _Added(("w",), w)
        if self.is_weighted:
            yield _Added(("ww",), w * w)
        for metric in self.metrics:
            x = np.asarray(metric.values(batch), dtype=np.float64)
            most = _largest(x)
            undefined = np.zeros((1, 0))  # rather than all 0: there is nothing to add
            if not most <= _MAX_VALUE:
                is_defined = _is_defined(x)
                undefined = (~is_defined).astype(np.float64)[None]
                x = np.where(is_defined, x, 0)
                most = _largest(x)
            if self.is_weighted:
                x = w * x
                most = _largest(x)
            for kinds, values, largest in self._terms(metric, x, most, w, undefined):
                yield _Added(tuple(f"{metric.name}/{kind}" for kind in kinds), values, largest)

    def _terms(
        self, metric: RowMetric, wx: Floats, most: float, w: Floats, undefined: Floats
    ) -> Iterator[_Added]:
        """Yields what rows add to a metric's sums, by their kinds.

        Args:
            metric: The metric.
            wx: Weighted values, 0 where they are not defined.
            most: The largest size of one.
            w: The weights.
            undefined: 1 for rows whose value is not defined; of no rows if there are none.
        """
        versions = range(self.num_versions)
        yield _Added(("undefined",), undefined)
        held = versions[:1] if metric.is_of_row else versions
        yield _Added(tuple(f"wx/{each}" for each in held), wx[: len(held)], most)
        if self.is_weighted:
            undefined = undefined * w[:, : undefined.size]
            yield _Added(("undefined_w",), undefined)
            yield _Added(("undefined_ww",), undefined * w[:, : undefined.size])
        if not metric.is_reported:
            return
        if self.is_weighted:
            yield _Added(tuple(f"wwx/{each}" for each in versions), w * wx)
        if not self._is_count(metric):
            yield _Added(tuple(f"wwxx/{each}" for each in versions), wx * wx, most * most)
        if len(versions) > 1:
            changes = wx[1:] - wx[0]
            changes *= changes
            yield _Added(tuple(f"wwdd/{each}" for each in versions[1:]), changes, 4 * most * most)

    def finalise_slices(
        self, states: Mapping[str, Any], slice_ids: Integers
    ) -> Iterator[MetricColumn]:
        """Yields means, differences of means, and what is made of them; see `ColumnarFamily`."""
        for some in in_chunks(slice_ids, _MAX_SLICES):
            yield from self._finalised(states[self.name].of_slices(some), some)

    def _finalised(self, blocks: Floats, slice_ids: Integers) -> Iterator[MetricColumn]:
        """Yields the metrics of sums, [slices, blocks, names]."""
        total = blocks.sum(axis=1)
        sums_of = [*map(partial(self._of_metric, total), self.metrics, self._firsts())]
        left = total[:, None] - blocks
        without = map(partial(self._of_metric, left), self.metrics, self._firsts())
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


def _largest(values: Floats) -> float:
    """Returns the largest size of a number."""
    return float(max(-values.min(initial=0), values.max(initial=0)))


def _is_defined(values: Floats) -> Booleans:
    """Returns for which rows all versions have a value."""
    is_defined: Booleans = np.logical_and.reduce(np.abs(values) <= _MAX_VALUE, axis=0)
    return is_defined
