"""Metrics of the order of scores, from the weights of positives and negatives per bin.

Every function takes `positives` and `negatives`, [..., bins] with the scores ascending, and gives
arrays without the last axis. Rows of one bin have unknown order unless `is_exact`, when they are
ties. Each result comes with what it can be at least and at most over all such orders.
"""

from typing import NamedTuple

import numpy as np

from transforms.metrics.array_types import Booleans, Floats
from transforms.metrics.ratios import ratio


class Bounded(NamedTuple):
    """A value, and what certainly holds it."""

    value: Floats
    lower: Floats
    upper: Floats


def auc(positives: Floats, negatives: Floats, *, is_exact: bool) -> Bounded:
    """Returns the area under the ROC curve: P(positive above negative) + P(tie) / 2.

    A bin's rows contribute between none and all of their pairs (Hanley and McNeil, 1982).
    """
    below = np.cumsum(negatives, axis=-1) - negatives
    pairs = positives.sum(axis=-1) * negatives.sum(axis=-1)
    value = ratio((positives * (below + negatives / 2)).sum(axis=-1), pairs)
    slack = 0 if is_exact else ratio((positives * negatives / 2).sum(axis=-1), pairs)
    return Bounded(value, value - slack, value + slack)


def average_precision(positives: Floats, negatives: Floats, *, is_exact: bool) -> Bounded:
    """Returns the mean over positives of the precision at their score.

    In a bin with unknown order, positives meet between none and all of its negatives before them.
    The precision of the k-th is summed as an integral: the value takes the middle of the two
    extremes for rows of weight about 1 without ties; the bounds hold for any weights and ties.
    """
    total = positives.sum(axis=-1)
    with_bin, wrong_with_bin = _from_above(positives), _from_above(negatives)
    above, wrong_above = with_bin - positives, wrong_with_bin - negatives
    if is_exact:
        gained = positives * ratio(with_bin, with_bin + wrong_with_bin, default=0)
        value = ratio(gained.sum(axis=-1), total)
        return Bounded(value, value, value)
    best = _mean_precision(above, positives, wrong_above, 0.5)
    worst = _mean_precision(above, positives, wrong_with_bin, 0.5)
    lower = _mean_precision(above, positives, wrong_with_bin, 0.0)
    upper = positives * ratio(with_bin, with_bin + wrong_above, default=0)
    value = ratio(((best + worst) / 2).sum(axis=-1), total)
    lowest, highest = ratio(lower.sum(axis=-1), total), ratio(upper.sum(axis=-1), total)
    return Bounded(np.clip(value, lowest, highest), lowest, highest)


def _mean_precision(above: Floats, positives: Floats, wrong: Floats, shift: float) -> Floats:
    """Returns the integral of t / (t + wrong) from `above` over `positives`, shifted."""
    is_wrong = wrong > 0
    growth = np.log1p(positives / np.where(is_wrong, above + shift + wrong, 1))
    return np.where(is_wrong, positives - wrong * growth, positives)


def ks_statistic(positives: Floats, negatives: Floats, *, is_exact: bool) -> Bounded:
    """Returns the largest distance of the two classes' cumulative distributions."""
    return max_distance(positives, negatives, is_exact=is_exact)


def max_distance(first: Floats, second: Floats, *, is_exact: bool) -> Bounded:
    """Returns the two-sample Kolmogorov-Smirnov distance of two distributions on the same bins."""
    one, other = _cumulative(first), _cumulative(second)
    value = np.abs(one - other).max(axis=-1, initial=0)
    value = np.where(_has_both(first, second), value, np.nan)
    if is_exact:
        return Bounded(value, value, value)
    before, other_before = _shifted(one), _shifted(other)
    within = np.maximum(one - other_before, other - before).max(axis=-1, initial=0)
    return Bounded(value, value, np.maximum(value, within))


def partial_auc(
    positives: Floats, negatives: Floats, max_false_positive_rate: float, *, is_exact: bool
) -> Bounded:
    """Returns the area under the ROC curve up to a false positive rate, between 0.5 and 1.

    It is scaled so that 0.5 is chance and 1 is perfect (McClish, 1989).
    """
    recall, fallout = _rates_from_above(positives), _rates_from_above(negatives)
    recall_before = np.concatenate([recall[..., 1:], np.zeros_like(recall[..., :1])], axis=-1)
    fallout_before = np.concatenate([fallout[..., 1:], np.zeros_like(recall[..., :1])], axis=-1)
    width = np.clip(np.minimum(fallout, max_false_positive_rate) - fallout_before, 0, None)
    rise = recall - recall_before
    cut = ratio(width, fallout - fallout_before, default=0)
    areas = width * (recall_before + rise * cut / 2)
    least = (width * recall_before).sum(axis=-1)
    most = (width * recall).sum(axis=-1)
    area = areas.sum(axis=-1)
    if is_exact:
        least, most = area, area
    return Bounded(*(_mcclish(each, max_false_positive_rate) for each in (area, least, most)))


def _mcclish(area: Floats, most: float) -> Floats:
    chance = most**2 / 2
    return 0.5 * (1 + (area - chance) / (most - chance))


def recall_at_precision(
    positives: Floats, negatives: Floats, min_precision: float, *, is_exact: bool
) -> Bounded:
    """Returns the largest recall of a threshold whose precision is at least `min_precision`.

    In a bin with unknown order, all its positives may come before its negatives, or after.
    """
    recall = _rates_from_above(positives)
    found, wrong = _from_above(positives), _from_above(negatives)
    value = _largest(recall, _reaches(found, wrong, min_precision))
    value = np.where(positives.sum(axis=-1) > 0, value, np.nan)
    if is_exact:
        return Bounded(value, value, value)
    best = _largest(recall, _reaches(found, wrong - negatives, min_precision))
    return Bounded(value, value, np.maximum(value, best))


def _reaches(found: Floats, wrong: Floats, min_precision: float) -> Booleans:
    return ratio(found, found + wrong, default=0) >= min_precision


def _largest(values: Floats, is_allowed: Booleans) -> Floats:
    return np.where(is_allowed, values, 0).max(axis=-1, initial=0)


def _has_both(first: Floats, second: Floats) -> Booleans:
    return (first.sum(axis=-1) > 0) & (second.sum(axis=-1) > 0)


def _from_above(weights: Floats) -> Floats:
    return np.cumsum(weights[..., ::-1], axis=-1)[..., ::-1]


def _rates_from_above(weights: Floats) -> Floats:
    return ratio(_from_above(weights), weights.sum(axis=-1, keepdims=True))


def _cumulative(weights: Floats) -> Floats:
    return ratio(np.cumsum(weights, axis=-1), weights.sum(axis=-1, keepdims=True))


def _shifted(cumulative: Floats) -> Floats:
    return np.concatenate([np.zeros_like(cumulative[..., :1]), cumulative[..., :-1]], axis=-1)
