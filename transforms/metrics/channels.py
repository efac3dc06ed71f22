"""Families that hold the distributions of numbers, and what is said of these alone."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from transforms.metrics import drift, float_bins, ranking
from transforms.metrics.array_types import Booleans, Floats, Integers
from transforms.metrics.estimate import Estimate, Method
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.fixed_point import FRACTIONAL_BITS
from transforms.metrics.histogram import Distribution, Histogram
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.jackknife import jackknifed_values
from transforms.metrics.metric_family import MetricValue, States, of_pairs
from transforms.metrics.quantile import quantile
from transforms.metrics.ranking import Bounded
from transforms.metrics.reference_distributions import t_quantile, wilson_interval

# The least multiple of what weights are rounded to.
_LEAST_WEIGHT = 2.0**-FRACTIONAL_BITS
_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Channels:
    """A state of distributions, one for each version and name.

    Attributes:
        name: Of the state.
        sub_keys: Of the distributions of a version.
        numbers: Gives what is distributed, [versions, distributions, rows].
        labels: Gives 0 or 1 for each row, [distributions, rows].
        num_versions: Versions.
        options: Of the histogram; its channels are versions times distributions.
        is_paired: Whether the numbers compare a version with the baseline, which has none then.
    """

    name: str
    sub_keys: tuple[str, ...]
    numbers: Callable[[EvaluationBatch], Floats]
    labels: Callable[[EvaluationBatch], Integers]
    num_versions: int
    options: HistogramOptions
    is_paired: bool = False

    def empty(self) -> States:
        """Returns the distributions of no rows."""
        return {self.name: Histogram.empty(self.options)}

    def of_batch(self, batch: EvaluationBatch) -> States:
        """Returns the distributions of the rows of a batch."""
        counted = batch if batch.weights is None else batch.where(_has_weight(batch.weights))
        shape = (self.options.num_channels, counted.num_rows)
        numbers = float_bins.to_ordered_bits(self.numbers(counted)).reshape(shape)
        labels = np.tile(self.labels(counted), (self.num_versions, 1))
        found = Histogram.of_rows(
            self.options,
            counted.slices,
            channels=range(len(self.sub_keys) * self.is_paired, self.options.num_channels),
            numbers=numbers,
            labels=labels,
            blocks=counted.blocks,
            weights=counted.weights,
        )
        return {self.name: found}

    def of_versions(
        self, states: Mapping[str, Any], slice_id: int, distribution: int
    ) -> list[Distribution]:
        """Returns one distribution of each version."""
        return [
            self.of_version(states, slice_id, distribution, each)
            for each in range(self.num_versions)
        ]

    def of_version(
        self, states: Mapping[str, Any], slice_id: int, distribution: int, version: int
    ) -> Distribution:
        """Returns one distribution of one version."""
        histogram: Histogram = states[self.name]
        return histogram.distribution(slice_id, version * len(self.sub_keys) + distribution)

    def on_same_bins(
        self, states: Mapping[str, Any], slice_id: int, distribution: int, version: int
    ) -> tuple[Floats, Floats, bool]:
        """Returns the weights of the baseline's and a version's numbers, and if they are exact."""
        histogram: Histogram = states[self.name]
        channels = (distribution, version * len(self.sub_keys) + distribution)
        pair = [histogram.distribution(slice_id, each) for each in channels]
        if pair[0].is_exact != pair[1].is_exact:
            pair = [histogram.distribution(slice_id, each, as_bins=True) for each in channels]
        lower = np.union1d(pair[0].lower, pair[1].lower)
        weights = [np.zeros(lower.size), np.zeros(lower.size)]
        for each, one in zip(weights, pair, strict=True):
            each[np.searchsorted(lower, one.lower)] = one.total.sum(axis=0)
        return weights[0], weights[1], pair[0].is_exact


def _has_weight(weights: Floats) -> Booleans:
    """Returns which weights are not rounded to 0."""
    return weights >= _LEAST_WEIGHT


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

    def finalise(self, states: Mapping[str, Any], slice_id: int) -> Iterator[MetricValue]:
        """Yields the drift of each version."""
        for place, sub_key in enumerate(self.scores.sub_keys):
            for version in range(1, self.scores.num_versions):
                pair = self.scores.on_same_bins(states, slice_id, place, version)
                for name, estimate in _drift(*pair).items():
                    yield MetricValue(
                        metric=name,
                        slice_id=slice_id,
                        version=version,
                        sub_key=sub_key,
                        is_difference=True,
                        estimate=estimate,
                    )


def _drift(baseline: Floats, candidate: Floats, is_exact: bool) -> dict[str, Estimate]:
    index = drift.psi(baseline, candidate)
    distance = ranking.max_distance(baseline, candidate, is_exact=is_exact)
    return {
        "psi": Estimate(value=index.value),
        "psi_expected": Estimate(value=index.expected),
        "psi_noise": Estimate(value=index.noise),
        "js_distance": Estimate(value=drift.jensen_shannon_distance(baseline, candidate)),
        "ks_drift": Estimate(
            value=float(distance.value),
            lower_bound=float(distance.lower),
            upper_bound=float(distance.upper),
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

    def finalise(self, states: Mapping[str, Any], slice_id: int) -> Iterator[MetricValue]:
        """Yields the quantiles."""
        found = self._quantiles(states, slice_id)
        return of_pairs(found) if self.numbers.is_paired else found

    def _quantiles(self, states: Mapping[str, Any], slice_id: int) -> Iterator[MetricValue]:
        for place, metric in enumerate(self.metrics):
            versions = self.numbers.of_versions(states, slice_id, place)
            for share in self.shares:
                values = [quantile(each, each.total.sum(0), share) for each in versions]
                others = [quantile(each, each.leave_one_out().sum(1), share) for each in versions]
                found = jackknifed_values(
                    metric,
                    slice_id,
                    Bounded(*(np.array(each) for each in zip(*values, strict=True))),
                    np.stack([each.value for each in others], axis=1),
                    versions[-1].block_weights,
                    sub_key=f"quantile={share:g}",
                )
                if self.has_order:
                    found = (_by_order(each, versions[each.version], share) for each in found)
                yield from found


def _by_order(found: MetricValue, numbers: Distribution, share: float) -> MetricValue:
    """Returns a quantile with the error that the order of the rows gives (Woodruff, JASA 47, 1952).

    Its ends are the quantiles at the ends of Wilson's interval of the share; the farther one counts.
    Where all rows may well lie on one side of the true quantile they do not tell how far it is.
    """
    weights = numbers.total.sum(axis=0)
    rows = float(weights.sum())
    estimate = found.estimate
    if max(share, 1 - share) ** rows > (1 - _LEVEL) / 2:
        unknown = replace(estimate, standard_error=math.nan, method=Method.NONE)
        return replace(found, estimate=unknown)
    if found.is_difference:
        return found
    low, high = (
        float(quantile(numbers, weights, each).value)
        for each in wilson_interval(share, rows, _LEVEL)
    )
    reach = max(high - estimate.value, estimate.value - low)
    error = reach / t_quantile((1 + _LEVEL) / 2, math.inf)
    by_order = replace(
        estimate, standard_error=error, degrees_of_freedom=math.inf, method=Method.WOODRUFF
    )
    return replace(found, estimate=by_order)
