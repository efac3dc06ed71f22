"""DeLong's standard error of an AUC, and of the difference of two, from counts per bin.

DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988). A positive's placement is the share of
negatives below it, a negative's the share of positives above it, ties counting half. They need
only the bin that a row is in, so counts per bin do what the rows did.
"""

import math
from typing import NamedTuple

import numpy as np

from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.ratios import ratio


class JointCounts(NamedTuple):
    """Rows by label and by the bins of two models' scores; only cells with rows.

    Attributes:
        labels: 0 or 1.
        baseline: Bins of the baseline's scores, ascending with them.
        candidate: Bins of the candidate's.
        counts: Rows.
    """

    labels: Integers
    baseline: Integers
    candidate: Integers
    counts: Integers


def auc_standard_error(positives: Floats, negatives: Floats) -> float:
    """Returns the standard error of an AUC; NaN with fewer than two rows of a class.

    Args:
        positives: Positive rows per bin, scores ascending.
        negatives: Negative rows per bin.
    """
    of_positives, of_negatives = _placements(positives, negatives)
    return math.sqrt(
        _variance_of_mean(of_positives, positives) + _variance_of_mean(of_negatives, negatives)
    )


def auc_difference_standard_error(joint: JointCounts) -> float:
    """Returns the standard error of the candidate's AUC less the baseline's, on the same rows."""
    differences = _cell_placements(joint, joint.candidate) - _cell_placements(joint, joint.baseline)
    counts = joint.counts.astype(np.float64)
    is_positive = joint.labels == 1
    return math.sqrt(
        _variance_of_mean(differences[is_positive], counts[is_positive])
        + _variance_of_mean(differences[~is_positive], counts[~is_positive])
    )


def auc_of_bins(joint: JointCounts, bins: Integers) -> float:
    """Returns the AUC of a model of which only the bins of the scores are known.

    Args:
        joint: The rows.
        bins: Its `baseline` or `candidate`.
    """
    positives = np.where(joint.labels == 1, joint.counts, 0)
    return float(ratio((_cell_placements(joint, bins) * positives).sum(), positives.sum()))


def _placements(positives: Floats, negatives: Floats) -> tuple[Floats, Floats]:
    below = np.cumsum(negatives) - negatives / 2
    above = positives.sum() - np.cumsum(positives) + positives / 2
    return ratio(below, negatives.sum()), ratio(above, positives.sum())


def _cell_placements(joint: JointCounts, bins: Integers) -> Floats:
    distinct, positions = np.unique(bins, return_inverse=True)
    counts = np.bincount(
        joint.labels * distinct.size + positions, joint.counts, minlength=2 * distinct.size
    ).reshape(2, -1)
    of_positives, of_negatives = _placements(counts[1], counts[0])
    return np.where(joint.labels == 1, of_positives[positions], of_negatives[positions])


def _variance_of_mean(values: Floats, counts: Floats) -> float:
    total = counts.sum()
    if total < 2:
        return math.nan
    mean = (values * counts).sum() / total
    return float((np.square(values - mean) * counts).sum() / (total - 1) / total)
