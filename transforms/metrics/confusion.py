"""Metrics of yes-or-no decisions, from weights of the cells of a table.

A paired table has eight cells: index 4 y + 2 a + b, with the label y, the baseline's decision a
and the candidate's b. Everything that two confusion matrices say, and how the decisions differ,
follows from them. Arrays are [..., cells] and may be complex, for derivatives.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms.metrics.delta_method import CellMetric
from transforms.metrics.ratios import ratio

Cells = NDArray[np.inexact]


class Confusion(NamedTuple):
    """Weights of the four outcomes."""

    true_positives: Cells
    false_positives: Cells
    false_negatives: Cells
    true_negatives: Cells


def confusion_of_baseline(cells: Cells) -> Confusion:
    """Returns the outcomes of the baseline of a paired table."""
    table = cells.reshape(*cells.shape[:-1], 2, 2, 2).sum(axis=-1)
    return _confusion(table)


def confusion_of_candidate(cells: Cells) -> Confusion:
    """Returns the outcomes of the candidate of a paired table."""
    table = cells.reshape(*cells.shape[:-1], 2, 2, 2).sum(axis=-2)
    return _confusion(table)


def _confusion(table: Cells) -> Confusion:
    return Confusion(table[..., 1, 1], table[..., 0, 1], table[..., 1, 0], table[..., 0, 0])


def accuracy(outcomes: Confusion) -> Cells:
    """Returns the share of decisions that are right."""
    tp, fp, fn, tn = outcomes
    return ratio(tp + tn, tp + fp + fn + tn)


def precision(outcomes: Confusion) -> Cells:
    """Returns the share of positive decisions that are right."""
    return ratio(outcomes.true_positives, outcomes.true_positives + outcomes.false_positives)


def recall(outcomes: Confusion) -> Cells:
    """Returns the share of positives that are found."""
    return ratio(outcomes.true_positives, outcomes.true_positives + outcomes.false_negatives)


def specificity(outcomes: Confusion) -> Cells:
    """Returns the share of negatives that are left alone."""
    return ratio(outcomes.true_negatives, outcomes.true_negatives + outcomes.false_positives)


def f1(outcomes: Confusion) -> Cells:
    """Returns the harmonic mean of precision and recall."""
    tp, fp, fn, _ = outcomes
    return ratio(2 * tp, 2 * tp + fp + fn)


def balanced_accuracy(outcomes: Confusion) -> Cells:
    """Returns the mean of recall and specificity."""
    return (recall(outcomes) + specificity(outcomes)) / 2


def positive_rate(outcomes: Confusion) -> Cells:
    """Returns the share of decisions that are positive."""
    tp, fp, fn, tn = outcomes
    return ratio(tp + fp, tp + fp + fn + tn)


def matthews_correlation(outcomes: Confusion) -> Cells:
    """Returns the correlation of decision and label; 0 where either is constant."""
    tp, fp, fn, tn = outcomes
    squared = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    total = tp + fp + fn + tn
    spread = np.where(squared != 0, np.sqrt(np.where(squared != 0, squared, 1)), 0)
    return np.where(total != 0, ratio(tp * tn - fp * fn, spread, default=0), np.nan)


def kappa(outcomes: Confusion) -> Cells:
    """Returns the agreement of decision and label beyond chance (Cohen, 1960)."""
    tp, fp, fn, tn = outcomes
    chance = (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)
    return ratio(2 * (tp * tn - fp * fn), chance)


CONFUSION_METRICS = MappingProxyType(
    {
        "accuracy": accuracy,
        "precision": precision,
        "recall": recall,
        "specificity": specificity,
        "f1": f1,
        "balanced_accuracy": balanced_accuracy,
        "positive_rate": positive_rate,
        "mcc": matthews_correlation,
        "kappa": kappa,
    }
)

# Shares of all rows, for which Wilson's interval is right even where no row, or each, counts.
CONFUSION_SHARES = frozenset({"accuracy", "positive_rate"})


def flips_to_positive(cells: Cells) -> Cells:
    """Returns the share of rows that only the candidate decides positively."""
    return ratio(cells[..., 1] + cells[..., 5], cells.sum(axis=-1))


def flips_to_negative(cells: Cells) -> Cells:
    """Returns the share of rows that only the baseline decides positively."""
    return ratio(cells[..., 2] + cells[..., 6], cells.sum(axis=-1))


FLIP_METRICS: Mapping[str, CellMetric] = MappingProxyType(
    {"flips_to_positive": flips_to_positive, "flips_to_negative": flips_to_negative}
)
FLIP_SHARES = frozenset(FLIP_METRICS)
