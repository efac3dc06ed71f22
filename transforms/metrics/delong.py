"""DeLong's standard error of an AUC, and of the difference of two, from counts per bin.

DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988). A positive's placement is the share of
negatives below it, a negative's the share of positives above it, ties counting half. They need
only the bin that a row is in, so counts per bin do what the rows did.
"""

from dataclasses import dataclass

import numpy as np

from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.ranking import Ranks
from transforms.metrics.ratios import ratio


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JointCounts:
    """Rows by slice, by label, and by the bins of two models' scores; only cells with rows.

    Attributes:
        num_slices: Slices.
        slices: Of each cell, its slice's place.
        labels: 0 or 1.
        baseline: Bins of the baseline's scores, ascending with them.
        candidate: Bins of the candidate's.
        counts: Rows.
    """

    num_slices: int
    slices: Integers
    labels: Integers
    baseline: Integers
    candidate: Integers
    counts: Integers

    def summed(self, values: Floats, label: int) -> Floats:
        """Returns for each slice the sum of the values of the rows with a label."""
        weights = np.where(self.labels == label, self.counts * values, 0)
        return np.bincount(self.slices, weights, self.num_slices).astype(np.float64)


def auc_standard_errors(ranks: Ranks) -> Floats:
    """Returns standard errors of AUCs, [...]; NaN with fewer than two rows of a class."""
    of_positives, of_negatives = ranks.placements()
    errors: Floats = np.sqrt(
        _variance_of_mean(of_positives, ranks.positives)
        + _variance_of_mean(of_negatives, ranks.negatives)
    )
    return errors


def auc_difference_standard_errors(joint: JointCounts) -> Floats:
    """Returns for each slice that of the candidate's AUC less the baseline's, on the same rows."""
    differences = _cell_placements(joint, joint.candidate) - _cell_placements(joint, joint.baseline)
    variance = np.zeros(joint.num_slices)
    for label in (0, 1):
        total = joint.summed(np.ones(differences.size), label)
        mean = ratio(joint.summed(differences, label), total)
        squares = joint.summed(np.square(differences - mean[joint.slices]), label)
        variance += np.where(total >= 2, ratio(squares, (total - 1) * total), np.nan)
    errors: Floats = np.sqrt(variance)
    return errors


def aucs_of_bins(joint: JointCounts, bins: Integers) -> Floats:
    """Returns for each slice the AUC of a model of which only the bins of the scores are known.

    Args:
        joint: The rows.
        bins: Its `baseline` or `candidate`.
    """
    total = joint.summed(np.ones(bins.size), 1)
    return ratio(joint.summed(_cell_placements(joint, bins), 1), total)


def _cell_placements(joint: JointCounts, bins: Integers) -> Floats:
    num_bins = int(bins.max(initial=-1)) + 1
    shape = (2, joint.num_slices, num_bins)
    cells = (joint.labels * joint.num_slices + joint.slices) * num_bins + bins
    counts = np.bincount(cells, joint.counts, int(np.prod(shape))).reshape(shape)
    negatives, positives = counts.astype(np.int64)
    of_positives, of_negatives = Ranks(positives, negatives).placements()
    of_labels = np.stack([of_negatives, of_positives])
    placements: Floats = of_labels[joint.labels, joint.slices, bins]
    return placements


def _variance_of_mean(values: Floats, counts: Floats) -> Floats:
    total = counts.sum(axis=-1)
    mean = ratio((values * counts).sum(axis=-1), total)
    squares = (np.square(values - mean[..., None]) * counts).sum(axis=-1)
    return np.where(total >= 2, ratio(squares, (total - 1) * total), np.nan)
