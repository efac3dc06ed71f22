"""Families that hold the distributions of numbers, and what is said of these alone."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from transforms.metrics import drift, ranking
from transforms.metrics.array_types import Floats, Integers, Labels
from transforms.metrics.estimate import Method
from transforms.metrics.estimates import Estimates, method_places
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.float_bins import Bits
from transforms.metrics.histogram import Distribution, Histogram
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.jackknife import jackknifed_columns
from transforms.metrics.metric_column import MetricColumn, of_pairs
from transforms.metrics.metric_family import States
from transforms.metrics.quantile import Cumulative
from transforms.metrics.ranking import Bounded, Ranks
from transforms.metrics.reference_distributions import t_quantile, wilson_intervals
from transforms.metrics.slice_distributions import SliceDistributions, alike, on_same_bins

_LEVEL = 0.95
# What slices are looked at together does not depend on larger sizes of their distributions.
_MAX_BINS = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Channels:
    """A state of distributions, one for each version and name.

    Attributes:
        name: Of the state.
        sub_keys: Of the distributions of a version.
        ordered: Gives what is distributed, by the ordered bits of `float_bins`, [versions,
            distributions, rows]; without the baseline if it is paired.
        labels: Gives 0 or 1 for each row, [distributions, rows].
        num_versions: Versions.
        options: Of the histogram; its channels are versions times distributions.
        is_paired: Whether the numbers compare a version with the baseline, which has none then.
    """

    name: str
    sub_keys: tuple[str, ...]
    ordered: Callable[[EvaluationBatch], Bits]
    labels: Callable[[EvaluationBatch], Labels]
    num_versions: int
    options: HistogramOptions
    is_paired: bool = False

    def empty(self) -> States:
        """Returns the distributions of no rows."""
        return {self.name: Histogram.empty(self.options)}

    def of_batch(self, batch: EvaluationBatch) -> States:
        """Returns the distributions of the rows of a batch."""
        counted = batch.with_weight
        channels = range(len(self.sub_keys) * self.is_paired, self.options.num_channels)
        found = Histogram.of_rows(
            self.options,
            counted.slices,
            channels=channels,
            numbers=self.ordered(counted).reshape(len(channels), counted.num_rows),
            labels=self.labels(counted),
            blocks=counted.blocks,
            weights=counted.weights,
        )
        return {self.name: found}

    def of_versions(
        self, states: Mapping[str, Any], slice_ids: Integers, distribution: int
    ) -> list[SliceDistributions]:
        """Returns one distribution of each version, on slices that are `alike`."""
        histogram: Histogram = states[self.name]
        return [
            SliceDistributions.of(histogram, slice_ids, channel)
            for channel in self._channels(distribution)
        ]

    def alike(
        self, states: Mapping[str, Any], slice_ids: Integers, distribution: int, max_bins: int
    ) -> Iterator[Integers]:
        """Yields slices, together those whose versions have distributions of one kind and size.

        Args:
            states: Of the whole evaluation.
            slice_ids: The slices.
            distribution: Which distribution of a version.
            max_bins: Of the jackknife.
        """
        yield from alike(states[self.name], slice_ids, self._channels(distribution), max_bins)

    def _channels(self, distribution: int) -> Integers:
        """Returns where the histogram holds one distribution of each version."""
        return np.arange(self.num_versions) * len(self.sub_keys) + distribution

    def of_version(
        self, states: Mapping[str, Any], slice_id: int, distribution: int, version: int
    ) -> Distribution:
        """Returns one distribution of one version."""
        histogram: Histogram = states[self.name]
        return histogram.distribution(slice_id, version * len(self.sub_keys) + distribution)

    def on_same_bins(
        self, states: Mapping[str, Any], slice_ids: Integers, distribution: int, version: int
    ) -> tuple[Floats, Floats, bool]:
        """Returns the weights of the baseline's and a version's numbers, and if they are exact."""
        histogram: Histogram = states[self.name]
        channels = self._channels(distribution)[[0, version]].tolist()
        pair = [SliceDistributions.of(histogram, slice_ids, each) for each in channels]
        if pair[0].is_exact != pair[1].is_exact:
            pair = [
                SliceDistributions.of(histogram, slice_ids, each, as_bins=True) for each in channels
            ]
        return *on_same_bins(*pair), pair[0].is_exact


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreDrift:
    """A family that keeps distributions of scores and compares them with the baseline's."""

    scores: Channels

    def create(self) -> States:
        """Returns the distributions of no rows."""
        return self.scores.empty()

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the distributions of the rows of a batch."""
        return self.scores.of_batch(batch)

    def finalise_slices(
        self, states: Mapping[str, Any], slice_ids: Integers
    ) -> Iterator[MetricColumn]:
        """Yields the drift of each version; see `ColumnarFamily`."""
        for place, sub_key in enumerate(self.scores.sub_keys):
            for some in self.scores.alike(states, slice_ids, place, _MAX_BINS):
                for version in range(1, self.scores.num_versions):
                    pair = self.scores.on_same_bins(states, some, place, version)
                    for name, estimates in _drift(*pair).items():
                        yield MetricColumn(
                            metric=name,
                            slice_ids=some,
                            version=version,
                            sub_key=sub_key,
                            is_difference=True,
                            estimates=estimates,
                        )


def _drift(baseline: Floats, candidate: Floats, is_exact: bool) -> dict[str, Estimates]:
    deciles = drift.deciles_of(baseline, candidate)
    index = drift.psi(deciles)
    distance = ranking.ks_statistic(Ranks(baseline, candidate), is_exact=is_exact)
    return {
        "psi": Estimates.of(index.value),
        "psi_expected": Estimates.of(index.expected),
        "psi_noise": Estimates.of(index.noise),
        "js_distance": Estimates.of(drift.jensen_shannon_distance(deciles)),
        "ks_drift": Estimates.of(
            distance.value, lower_bound=distance.lower, upper_bound=distance.upper
        ),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantiles:
    """A family of the quantiles of distributions.

    Attributes:
        numbers: The distributions.
        metrics: What each is called.
        shares: Which quantiles, between 0 and 1.
        has_order: Whether rows are independent and of equal weight, so that their order tells how
            sure a quantile is; the jackknife serves if not, and differences anyway.
    """

    numbers: Channels
    metrics: tuple[str, ...]
    shares: tuple[float, ...]
    has_order: bool = True

    def create(self) -> States:
        """Returns the distributions of no rows."""
        return self.numbers.empty()

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the distributions of the rows of a batch."""
        return self.numbers.of_batch(batch)

    def finalise_slices(
        self, states: Mapping[str, Any], slice_ids: Integers
    ) -> Iterator[MetricColumn]:
        """Yields the quantiles; see `ColumnarFamily`."""
        for place, metric in enumerate(self.metrics):
            for some in self.numbers.alike(states, slice_ids, place, _MAX_BINS):
                versions = self.numbers.of_versions(states, some, place)
                found = self._quantiles(metric, some, versions)
                yield from of_pairs(found) if self.numbers.is_paired else found

    def _quantiles(
        self, metric: str, slice_ids: Integers, versions: Sequence[SliceDistributions]
    ) -> Iterator[MetricColumn]:
        cumulative = [*map(Cumulative, versions)]
        for share in self.shares:
            values = [each.quantiles(share) for each in cumulative]
            others = [each.without_blocks(share) for each in cumulative]
            found = jackknifed_columns(
                metric,
                slice_ids,
                Bounded(*(np.stack(each, axis=-1) for each in zip(*values, strict=True))),
                np.stack(others, axis=-1),
                versions[-1].block_weights,
                sub_key=f"quantile={share:g}",
            )
            if self.has_order:
                found = (_by_order(each, cumulative[each.version], share) for each in found)
            yield from found


def _by_order(found: MetricColumn, cumulative: Cumulative, share: float) -> MetricColumn:
    """Returns quantiles with the error that the order of the rows gives (Woodruff, JASA 47, 1952).

    Its ends are the quantiles at the ends of Wilson's interval of the share; the farther one counts.
    Where all rows may well lie on one side of the true quantile they do not tell how far it is.
    """
    num_slices, rows = found.slice_ids.size, cumulative.rows
    is_told = max(share, 1 - share) ** rows <= (1 - _LEVEL) / 2
    estimates = found.estimates
    if not found.is_difference:
        ends = wilson_intervals(np.full(num_slices, share), np.where(is_told, rows, 1), _LEVEL)
        low, high = (cumulative.quantiles(each).value for each in ends)
        reach = np.maximum(high - estimates.value, estimates.value - low)
        estimates = replace(
            estimates,
            standard_error=reach / t_quantile((1 + _LEVEL) / 2, math.inf),
            degrees_of_freedom=np.full(num_slices, np.inf),
            methods=method_places(np.ones(num_slices, dtype=bool), Method.WOODRUFF),
        )
    unknown = replace(
        found.estimates,
        standard_error=np.full(num_slices, np.nan),
        methods=method_places(np.zeros(num_slices, dtype=bool), Method.NONE),
    )
    return replace(found, estimates=estimates.where(is_told, unknown))
