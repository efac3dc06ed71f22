"""The family of metrics of the order of scores, and of the calibration line."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np

from transforms.metrics import delong, float_bins, ranking
from transforms.metrics.array_types import Floats
from transforms.metrics.calibration import calibration_line
from transforms.metrics.channels import Channels
from transforms.metrics.estimate import Method
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.float_bins import Scale
from transforms.metrics.histogram import Distribution, Histogram
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.jackknife import jackknifed_values
from transforms.metrics.metric_family import MetricValue, States
from transforms.metrics.ranking import Bounded

# Bins per octave of the joint distribution: DeLong's error mostly needs no more.
_JOINT_MANTISSA_BITS = 3
# How much of an AUC's distance to 0 or 1 these bins may blur; scores in a narrow band share them.
_MAX_BLUR = 0.01
# Bins of the distributions that the jackknife leaves blocks out of.
_JACKKNIFE_BINS = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRanking:
    """A family of metrics of scores that another family keeps.

    Attributes:
        scores: The distributions of scores; see `Channels`.
        max_false_positive_rate: Of the partial AUC.
        min_precision: Of the recall at a precision.
        uses_delong: Whether rows are independent and of equal weight, as DeLong's error needs;
            the jackknife serves the AUC if not, and all else anyway.
        has_joint: Whether to keep the joint distribution that DeLong's error of a difference
            needs; only for one distribution per version.
    """

    scores: Channels
    max_false_positive_rate: float = 0.1
    min_precision: float = 0.9
    uses_delong: bool = True
    has_joint: bool = True

    @property
    def _num_bins(self) -> int:
        return float_bins.num_bins(self.scores.options.scale, _JOINT_MANTISSA_BITS)

    @property
    def _joint_options(self) -> HistogramOptions:
        """How pairs of bins are held: as numbers that are never put into bins themselves."""
        return HistogramOptions(
            scale=Scale.REAL,
            num_channels=self.scores.num_versions,
            num_blocks=1,
            max_distinct=1 << 32,
        )

    def create(self) -> States:
        """Returns the joint distributions of no rows."""
        return {self._joint: Histogram.empty(self._joint_options)} if self.has_joint else {}

    @property
    def _joint(self) -> str:
        return f"{self.scores.name}_joint"

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the joint distributions of the rows of a batch."""
        if not self.has_joint:
            return {}
        ordered = float_bins.to_ordered_bits(self.scores.numbers(batch)[:, 0])
        bins = float_bins.to_bins(ordered, self.scores.options.scale, _JOINT_MANTISSA_BITS)
        pairs = bins[0] * np.uint32(self._num_bins) + bins
        labels = np.broadcast_to(self.scores.labels(batch)[0], pairs.shape)
        found = Histogram.of_rows(
            self._joint_options,
            batch.slices,
            channels=range(1, self.scores.num_versions),
            numbers=pairs,
            labels=labels,
            blocks=np.zeros(batch.num_rows, dtype=np.int64),
        )
        return {self._joint: found}

    def finalise(self, states: Mapping[str, Any], slice_id: int) -> Iterator[MetricValue]:
        """Yields the metrics of each distribution, and the mean AUC of several."""
        aucs = []
        for place, sub_key in enumerate(self.scores.sub_keys):
            versions = self.scores.of_versions(states, slice_id, place)
            jackknives = [_Jackknife.of(each) for each in versions]
            block_weights = versions[0].block_weights
            for name, metric in self._metrics().items():
                value, others = _evaluate(metric, versions, jackknives)
                found = jackknifed_values(
                    name, slice_id, value, others, block_weights, sub_key=sub_key
                )
                if name == "auc":
                    aucs.append((value, others, block_weights))
                    found = (self._with_delong(states, each, versions) for each in found)
                yield from map(_without_certainty, found)
            if self.scores.options.scale is Scale.PROBABILITY:
                yield from _lines(slice_id, sub_key, versions, jackknives)
        if len(aucs) > 1:
            values, leave_one_out, weights = zip(*aucs, strict=True)
            mean = Bounded(*np.mean(values, axis=0))
            others = np.mean(leave_one_out, axis=0)
            yield from jackknifed_values("macro_auc", slice_id, mean, others, weights[0])

    def _metrics(self) -> dict[str, Callable[..., Bounded]]:
        def partial_auc(positives: Floats, negatives: Floats, *, is_exact: bool) -> Bounded:
            most = self.max_false_positive_rate
            return ranking.partial_auc(positives, negatives, most, is_exact=is_exact)

        def recall(positives: Floats, negatives: Floats, *, is_exact: bool) -> Bounded:
            return ranking.recall_at_precision(
                positives, negatives, self.min_precision, is_exact=is_exact
            )

        return {
            "auc": ranking.auc,
            "average_precision": ranking.average_precision,
            "ks": ranking.ks_statistic,
            f"partial_auc_{self.max_false_positive_rate:g}": partial_auc,
            f"recall_at_precision_{self.min_precision:g}": recall,
        }

    def _with_delong(
        self, states: Mapping[str, Any], value: MetricValue, versions: list[Distribution]
    ) -> MetricValue:
        """Returns an AUC, or a difference of two, with DeLong's error where that is right."""
        if not self.uses_delong or (value.is_difference and not self.has_joint):
            return value
        if value.is_difference:
            joint = self._joint_counts(states, value.slice_id, value.version)
            if _is_blurred(joint, (versions[0], versions[value.version])):
                return value
            error = delong.auc_difference_standard_error(joint)
            if error == 0 and value.estimate.value != 0:
                return value  # scores moved within the bins alone, which do not tell how far
        else:
            negatives, positives = versions[value.version].total
            error = delong.auc_standard_error(positives, negatives)
        estimate = replace(
            value.estimate,
            standard_error=error,
            degrees_of_freedom=math.inf,
            method=Method.NONE if math.isnan(error) else Method.DELONG,
        )
        return replace(value, estimate=estimate)

    def _joint_counts(
        self, states: Mapping[str, Any], slice_id: int, version: int
    ) -> delong.JointCounts:
        joint: Histogram = states[self._joint]
        pairs, labels, counts = joint.counts(slice_id, version)
        baseline, candidate = np.divmod(pairs, self._num_bins)
        return delong.JointCounts(labels, baseline, candidate, counts)


def _without_certainty(found: MetricValue) -> MetricValue:
    """Returns a metric of a version, without an error if that is none.

    A score that separates these rows' classes does not tell how sure that is of others.
    """
    if found.is_difference or found.estimate.standard_error:
        return found
    unknown = replace(found.estimate, standard_error=math.nan, method=Method.NONE)
    return replace(found, estimate=unknown)


def _is_blurred(joint: delong.JointCounts, versions: Sequence[Distribution]) -> bool:
    """Whether the bins of the joint distribution are too wide for DeLong's error.

    They tie scores that differ, which makes it several times too large.
    """
    for bins, each in zip((joint.baseline, joint.candidate), versions, strict=True):
        negatives, positives = each.total
        auc = float(ranking.auc(positives, negatives, is_exact=each.is_exact).value)
        if abs(delong.auc_of_bins(joint, bins) - auc) > _MAX_BLUR * min(auc, 1 - auc):
            return True
    return False


class _Jackknife(NamedTuple):
    """A distribution in few enough bins to leave blocks out of.

    Attributes:
        middle: The middle of each bin.
        without: The weights without each block in turn, [blocks, 2 labels, bins].
        is_exact: Whether each bin is one number.
    """

    middle: Floats
    without: Floats
    is_exact: bool

    @classmethod
    def of(cls, distribution: Distribution) -> Self:
        """Returns what blocks are left out of."""
        coarse = distribution.coarsened(_JACKKNIFE_BINS)
        return cls(coarse.middle, coarse.leave_one_out(), coarse.is_exact)


def _evaluate(
    metric: Callable[..., Bounded],
    versions: Sequence[Distribution],
    jackknives: Sequence[_Jackknife],
) -> tuple[Bounded, Floats]:
    """Returns a metric of versions, and without each block in turn, [blocks, versions]."""
    found, others = [], []
    for each, jackknife in zip(versions, jackknives, strict=True):
        negatives, positives = each.total
        found.append(metric(positives, negatives, is_exact=each.is_exact))
        negatives, positives = np.moveaxis(jackknife.without, 1, 0)
        others.append(metric(positives, negatives, is_exact=jackknife.is_exact).value)
    value = Bounded(*(np.array(each) for each in zip(*found, strict=True)))
    return value, np.stack(others, axis=1)


def _lines(
    slice_id: int,
    sub_key: str,
    versions: Sequence[Distribution],
    jackknives: Sequence[_Jackknife],
) -> Iterator[MetricValue]:
    totals, others = [], []
    for each, jackknife in zip(versions, jackknives, strict=True):
        line = calibration_line(each.middle, each.total)
        near = (float(line[0]), float(line[1]))
        totals.append(line)
        others.append(calibration_line(jackknife.middle, jackknife.without, near))
    for i, name in enumerate(("calibration_intercept", "calibration_slope")):
        yield from jackknifed_values(
            name,
            slice_id,
            np.array([each[i] for each in totals]),
            np.array([each[i] for each in others]).T,
            versions[0].block_weights,
            sub_key=sub_key,
        )
