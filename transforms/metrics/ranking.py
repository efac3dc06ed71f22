"""Metrics of the order of scores, from the weights of positives and negatives per bin.

Rows of one bin have unknown order unless `is_exact`, when they are ties. Each result comes with
what it can be at least and at most over all such orders.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.metrics.array_types import Floats
from transforms.metrics.ratios import ratio

# Less than any weight: these are multiples of 2^-44.
_LEAST = 2.0**-60


class Bounded(NamedTuple):
    """A value, and what certainly holds it."""

    value: Floats
    lower: Floats
    upper: Floats


class Ranks:
    """Weights per bin, and of all bins from each upwards, found once for all metrics.

    Attributes:
        positives: [..., bins], the scores ascending.
        negatives: The same of negatives.
        found: Positives of a bin and of all above it.
        wrong: Negatives of a bin and of all above it.
        above: Positives of all bins above it.
        wrong_above: Negatives of all bins above it.
        num_positives: All of them, [...].
        num_negatives: The same of negatives.
    """

    def __init__(self, positives: NDArray[Any], negatives: NDArray[Any]) -> None:
        """Adds up weights; whole numbers are added up quicker if they are integers."""
        self.found, self.wrong = _from_above(positives), _from_above(negatives)
        self.positives = positives.astype(np.float64, copy=False)
        self.negatives = negatives.astype(np.float64, copy=False)
        self.num_positives = self.positives.sum(axis=-1)
        self.num_negatives = self.negatives.sum(axis=-1)
        self.above = self.found - self.positives
        self.wrong_above = self.wrong - self.negatives

    def placements(self) -> tuple[Floats, Floats]:
        """Returns the share of negatives below a bin, and of positives above it; ties count half."""
        below = self.num_negatives[..., None] - self.wrong + self.negatives / 2
        above = self.found - self.positives / 2
        return (
            ratio(below, self.num_negatives[..., None]),
            ratio(above, self.num_positives[..., None]),
        )


def auc(ranks: Ranks, *, is_exact: bool) -> Bounded:
    """Returns the area under the ROC curve: P(positive above negative) + P(tie) / 2.

    A bin's rows contribute between none and all of their pairs (Hanley and McNeil, 1982).
    """
    ties = ranks.negatives / 2
    below = ranks.num_negatives[..., None] - ranks.wrong
    below += ties
    pairs = ranks.num_positives * ranks.num_negatives
    value = ratio(_dot(ranks.positives, below), pairs)
    slack = 0 if is_exact else ratio(_dot(ranks.positives, ties), pairs)
    return Bounded(value, value - slack, value + slack)


def average_precision(ranks: Ranks, *, is_exact: bool) -> Bounded:
    """Returns the mean over positives of the precision at their score.

    In a bin with unknown order, positives meet between none and all of its negatives before them.
    The precision of the k-th is summed as an integral: the value takes the middle of the two
    extremes for rows of weight about 1 without ties; the bounds hold for any weights and ties.
    """
    positives, total = ranks.positives, ranks.num_positives
    if is_exact:
        value = ratio(_dot(positives, _share(ranks.found, ranks.wrong)), total)
        return Bounded(value, value, value)
    best = _total_precision(ranks, ranks.wrong_above, 0.5)
    worst = _total_precision(ranks, ranks.wrong, 0.5)
    lowest = ratio(_total_precision(ranks, ranks.wrong, 0.0), total)
    highest = ratio(_dot(positives, _share(ranks.found, ranks.wrong_above)), total)
    value = ratio((best + worst) / 2, total)
    return Bounded(np.clip(value, lowest, highest), lowest, highest)


def _total_precision(ranks: Ranks, wrong: Floats, shift: float) -> Floats:
    """Returns the sum of integrals of t / (t + wrong) from above a bin over it, shifted."""
    growth = ranks.above + wrong
    growth += shift
    np.divide(ranks.positives, _not_zero(growth), out=growth)
    np.log1p(growth, out=growth)
    growth *= wrong
    total: Floats = np.subtract(ranks.positives, growth, out=growth).sum(axis=-1)
    return total


def ks_statistic(ranks: Ranks, *, is_exact: bool) -> Bounded:
    """Returns the largest distance of the two classes' cumulative distributions.

    Of any two distributions on the same bins it is the two-sample Kolmogorov-Smirnov distance.
    """
    totals = [each[..., None].copy() for each in (ranks.num_positives, ranks.num_negatives)]
    has_both = (ranks.num_positives > 0) & (ranks.num_negatives > 0)
    above, wrong_above = (
        ranks.above / _not_zero(totals[0]),
        ranks.wrong_above / _not_zero(totals[1]),
    )
    distance = above - wrong_above
    value = np.abs(distance, out=distance).max(axis=-1, initial=0)
    value = np.where(has_both, value, np.nan)
    if is_exact:
        return Bounded(value, value, value)
    found, wrong = ranks.found / _not_zero(totals[0]), ranks.wrong / _not_zero(totals[1])
    within = np.maximum(found - wrong_above, wrong - above).max(axis=-1, initial=0)
    return Bounded(value, value, np.maximum(value, within))


def partial_auc(ranks: Ranks, max_false_positive_rate: float, *, is_exact: bool) -> Bounded:
    """Returns the area under the ROC curve up to a false positive rate, between 0.5 and 1.

    It is scaled so that 0.5 is chance and 1 is perfect (McClish, 1989).
    """
    most_wrong = (ranks.num_negatives * max_false_positive_rate)[..., None]
    width = np.minimum(ranks.wrong, most_wrong)
    width -= ranks.wrong_above
    np.maximum(width, 0, out=width)
    middle = width / np.maximum(ranks.negatives, _LEAST)
    middle *= ranks.positives
    middle /= 2
    middle += ranks.above
    areas = [_dot(width, middle)]
    areas += areas * 2 if is_exact else [_dot(width, ranks.above), _dot(width, ranks.found)]
    pairs = ranks.num_positives * ranks.num_negatives
    return Bounded(*(_mcclish(ratio(each, pairs), max_false_positive_rate) for each in areas))


def _mcclish(area: Floats, most: float) -> Floats:
    chance = most**2 / 2
    return 0.5 * (1 + (area - chance) / (most - chance))


def recall_at_precision(ranks: Ranks, min_precision: float, *, is_exact: bool) -> Bounded:
    """Returns the largest recall of a threshold whose precision is at least `min_precision`.

    In a bin with unknown order, all its positives may come before its negatives, or after.
    """
    value = _recall(ranks, ranks.wrong, min_precision)
    if is_exact:
        return Bounded(value, value, value)
    best = _recall(ranks, ranks.wrong_above, min_precision)
    return Bounded(value, value, np.maximum(value, best))


def _recall(ranks: Ranks, wrong: Floats, min_precision: float) -> Floats:
    is_allowed = _share(ranks.found, wrong) >= min_precision
    return ratio((ranks.found * is_allowed).max(axis=-1, initial=0), ranks.num_positives)


def _from_above(weights: NDArray[Any]) -> Floats:
    found: Floats = np.cumsum(weights[..., ::-1], axis=-1)[..., ::-1].astype(np.float64)
    return found


def _share(part: Floats, others: Floats) -> Floats:
    """Returns the share that a part has of itself and others; 0 where there is nothing."""
    total = part + others
    return np.divide(part, _not_zero(total), out=total)


def _not_zero(weights: Floats) -> Floats:
    """Replaces weights of 0, in place, by less than any other; quicker than choosing what to divide."""
    return np.maximum(weights, _LEAST, out=weights)


def _dot(one: Floats, other: Floats) -> Floats:
    found: Floats = np.einsum("...b,...b->...", one, other)
    return found
