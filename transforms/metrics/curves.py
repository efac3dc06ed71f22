"""Points for plots of one version on one slice, few enough to be drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.metrics.array_types import Floats
from transforms.metrics.equal_mass import equal_mass_groups
from transforms.metrics.evaluation_options import EvaluationOptions, Task
from transforms.metrics.histogram import Distribution
from transforms.metrics.ratios import ratio
from transforms.metrics.reference_distributions import wilson_interval
from transforms.metrics.task_channels import difference_channels, error_channels, score_channels
from transforms.metrics.task_families import row_means
from transforms.metrics.threshold_curve import ThresholdCurve, threshold_curve

MAX_POINTS = 200
_RELIABILITY_BINS = 15
_HISTOGRAM_BINS = 40
_LEVEL = 0.95
# What a histogram of any numbers shows at full width; the rest is in its outermost bins.
_SHOWN = (0.005, 0.995)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RocCurve:
    """The receiver operating characteristic, from (0, 0) to (1, 1).

    Attributes:
        false_positive_rate: Ascending.
        true_positive_rate: Ascending.
        thresholds: From which score on a decision is positive; the first is infinite.
    """

    false_positive_rate: Floats
    true_positive_rate: Floats
    thresholds: Floats


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PrecisionRecallCurve:
    """Precision by recall.

    Attributes:
        recall: Ascending.
        precision: 1 at the first point, which decides nothing positively.
        thresholds: From which score on a decision is positive; the first is infinite.
    """

    recall: Floats
    precision: Floats
    thresholds: Floats


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ReliabilityDiagram:
    """What happened where so much was predicted, in bins of about equal weight.

    Attributes:
        mean_prediction: Of each bin, ascending.
        observed_rate: Share of positives.
        weight: Of the bin's rows.
        low: Lower end of Wilson's 95 % interval of the observed rate.
        high: Its upper end.
    """

    mean_prediction: Floats
    observed_rate: Floats
    weight: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NumberHistogram:
    """Weights of numbers in bins of equal width.

    Attributes:
        edges: One more than bins. Of numbers that are no probabilities, the outermost bins also
            hold what lies beyond.
        counts: [labels, bins]: of label 0 and of label 1; one row of all rows if they have none.
    """

    edges: Floats
    counts: Floats


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DifferenceCurve:
    """How many rows differ from the baseline by how much: the complementary distribution.

    Attributes:
        difference: Absolute differences, ascending.
        share_at_least: Share of the rows that differ by at least as much.
    """

    difference: Floats
    share_at_least: Floats


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curves:
    """What can be drawn of a version on a slice; None is what its task or data has not.

    Attributes:
        roc: Of labelled binary tasks, where there are rows of both labels.
        precision_recall: Of labelled binary tasks, where there are positives.
        reliability: Of labelled binary tasks.
        scores: Of binary tasks by label, of regression all predictions.
        differences: Of all versions but the baseline.
        residuals: Predictions less labels, of labelled regression.
        confusion: Weights, [labels, decisions], of labelled multiclass tasks.
    """

    roc: RocCurve | None = None
    precision_recall: PrecisionRecallCurve | None = None
    reliability: ReliabilityDiagram | None = None
    scores: NumberHistogram | None = None
    differences: DifferenceCurve | None = None
    residuals: NumberHistogram | None = None
    confusion: Floats | None = None


def curves_of(
    options: EvaluationOptions, states: Mapping[str, Any], slice_id: int, version: int
) -> Curves:
    """Returns what can be drawn of a version on a slice, each curve with few points.

    Args:
        options: Of the evaluation whose states these are.
        states: Merged ones.
        slice_id: The slice; of one without rows the curves have no points.
        version: The version's index; 0 is the baseline.
    """
    found: dict[str, Any] = {}
    if version:
        differences = difference_channels(options).of_version(states, slice_id, 0, version)
        found["differences"] = _difference_curve(differences)
    if options.task is Task.MULTICLASS:
        if options.is_labelled:
            found["confusion"] = states["confusion"].dense(slice_id)[..., 0].sum(axis=0)[version]
        return Curves(**found)
    scores = score_channels(options).of_version(states, slice_id, 0, version)
    if options.task is Task.REGRESSION:
        found["scores"] = _number_histogram(scores)
        if options.is_labelled:
            errors = error_channels(options).of_version(states, slice_id, 0, version)
            found["residuals"] = _number_histogram(errors)
        return Curves(**found)
    found["scores"] = _score_histogram(scores, is_labelled=options.is_labelled)
    if options.is_labelled:
        curve = threshold_curve(scores)
        rows = row_means(options).rows_per_weight(states, slice_id)
        negatives, positives = scores.total.sum(axis=1)
        found["roc"] = _roc(curve) if negatives and positives else None
        found["precision_recall"] = _precision_recall(curve) if positives else None
        found["reliability"] = _reliability(scores, rows)
    return Curves(**found)


def _roc(curve: ThresholdCurve) -> RocCurve:
    fallout, recall, thresholds = _thinned(
        curve.false_positive_rate, curve.recall, others=(curve.thresholds,)
    )
    return RocCurve(false_positive_rate=fallout, true_positive_rate=recall, thresholds=thresholds)


def _precision_recall(curve: ThresholdCurve) -> PrecisionRecallCurve:
    recall, precision, thresholds = _thinned(
        curve.recall, curve.precision, others=(curve.thresholds,)
    )
    return PrecisionRecallCurve(recall=recall, precision=precision, thresholds=thresholds)


def _thinned(*columns: Floats, others: tuple[Floats, ...] = ()) -> list[Floats]:
    """Returns a curve's points at about equal steps along it, its ends among them.

    A step counts the change of each column by its share of all the column's changes, so neither
    a long flat stretch nor a steep start takes all points.
    """
    everything = [*columns, *others]
    points = columns[0].size
    if points <= MAX_POINTS:
        return everything
    walked = np.zeros(points - 1)
    for each in columns:
        changes = np.abs(np.diff(each))
        walked += ratio(changes, changes.sum(), default=0)
    travelled = np.r_[0.0, np.cumsum(walked)]
    chosen = np.searchsorted(travelled, np.linspace(0, travelled[-1], MAX_POINTS))
    chosen = np.unique(np.r_[0, np.minimum(chosen[1:-1], points - 1), points - 1])
    return [each[chosen] for each in everything]


def _reliability(scores: Distribution, rows_per_weight: float) -> ReliabilityDiagram:
    total = scores.total
    weights = total.sum(axis=0)
    groups = equal_mass_groups(weights, _RELIABILITY_BINS)
    mass, predicted, positive = (
        np.bincount(groups, each).astype(np.float64)
        for each in (weights, weights * scores.middle, total[1])
    )
    rates = ratio(positive, mass)
    intervals = [
        wilson_interval(rate, rows, _LEVEL)
        for rate, rows in zip(rates, mass * rows_per_weight, strict=True)
    ]
    low, high = np.array(intervals).reshape(-1, 2).T
    return ReliabilityDiagram(
        mean_prediction=ratio(predicted, mass), observed_rate=rates, weight=mass, low=low, high=high
    )


def _score_histogram(scores: Distribution, *, is_labelled: bool) -> NumberHistogram:
    edges = np.linspace(0, 1, _HISTOGRAM_BINS + 1)
    counts = _counts(scores, edges)
    return NumberHistogram(edges=edges, counts=counts if is_labelled else counts[:1])


def _number_histogram(numbers: Distribution) -> NumberHistogram:
    weights = numbers.total.sum(axis=0)
    if not weights.sum():
        return NumberHistogram(edges=np.zeros(1), counts=np.zeros((1, 0)))
    shares = np.cumsum(weights) / weights.sum()
    ends = numbers.middle[np.searchsorted(shares, _SHOWN)]
    low, high = ends if ends[0] < ends[1] else ends[0] + np.array([-0.5, 0.5])
    edges = np.linspace(low, high, _HISTOGRAM_BINS + 1)
    return NumberHistogram(edges=edges, counts=_counts(numbers, edges)[:1])


def _counts(numbers: Distribution, edges: Floats) -> Floats:
    """Returns the weights, [labels, bins]; a number on an edge is in the upper bin."""
    bins = np.searchsorted(edges[1:-1], numbers.middle, side="right")
    return np.stack([np.bincount(bins, each, edges.size - 1) for each in numbers.total])


def _difference_curve(differences: Distribution) -> DifferenceCurve:
    weights = differences.total.sum(axis=0)
    from_here_on = np.cumsum(weights[::-1])[::-1]
    shares = ratio(from_here_on, weights.sum())
    # Both its body and its tail are looked at, the latter on a logarithmic axis.
    thinned = _thinned(shares, np.log(shares), others=(differences.middle, shares))
    return DifferenceCurve(difference=thinned[2], share_at_least=thinned[3])
