"""Metrics of a confusion matrix of classes, [..., label, decision]."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from transforms.metrics.array_types import Floats
from transforms.metrics.ratios import ratio

MatrixMetric = Callable[[Floats], Floats]


def accuracy(matrix: Floats) -> Floats:
    """Returns the share of decisions that are right."""
    return ratio(_right(matrix).sum(axis=-1), matrix.sum(axis=(-2, -1)))


def balanced_accuracy(matrix: Floats) -> Floats:
    """Returns the mean recall of the classes that occur."""
    recalls = ratio(_right(matrix), matrix.sum(axis=-1), default=0)
    return ratio(recalls.sum(axis=-1), (matrix.sum(axis=-1) > 0).sum(axis=-1))


def class_precision(matrix: Floats) -> Floats:
    """Returns the precision of each class; 0 where nothing is decided so."""
    return ratio(_right(matrix), matrix.sum(axis=-2), default=0)


def class_recall(matrix: Floats) -> Floats:
    """Returns the recall of each class; 0 where it does not occur."""
    return ratio(_right(matrix), matrix.sum(axis=-1), default=0)


def class_f1(matrix: Floats) -> Floats:
    """Returns the F1 of each class; 0 where it is neither decided nor occurs."""
    both = matrix.sum(axis=-2) + matrix.sum(axis=-1)
    return ratio(2 * _right(matrix), both, default=0)


def matthews_correlation(matrix: Floats) -> Floats:
    """Returns the correlation of decision and label (Gorodkin, 2004); 0 if either is constant."""
    total = matrix.sum(axis=(-2, -1))
    decided, occurs = matrix.sum(axis=-2), matrix.sum(axis=-1)
    covariance = _right(matrix).sum(axis=-1) * total - (decided * occurs).sum(axis=-1)
    of_decided = total**2 - np.square(decided).sum(axis=-1)
    of_occurs = total**2 - np.square(occurs).sum(axis=-1)
    value = ratio(covariance, np.sqrt(np.maximum(of_decided * of_occurs, 0)), default=0)
    return np.where(total > 0, value, np.nan)


def kappa(matrix: Floats) -> Floats:
    """Returns the agreement of decision and label beyond chance (Cohen, 1960)."""
    total = matrix.sum(axis=(-2, -1))
    chance = (matrix.sum(axis=-2) * matrix.sum(axis=-1)).sum(axis=-1)
    right = _right(matrix).sum(axis=-1)
    return ratio(right * total - chance, total**2 - chance)


def _right(matrix: Floats) -> Floats:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _occurs(matrix: Floats) -> Floats:
    return ((matrix.sum(axis=-2) + matrix.sum(axis=-1)) > 0).astype(np.float64)


def _macro(of_classes: MatrixMetric) -> MatrixMetric:
    """Returns the mean over the classes that occur or are decided."""

    def metric(matrix: Floats) -> Floats:
        used = _occurs(matrix)
        return ratio((of_classes(matrix) * used).sum(axis=-1), used.sum(axis=-1))

    return metric


def _weighted(of_classes: MatrixMetric) -> MatrixMetric:
    """Returns the mean over classes, each with the weight of its rows."""

    def metric(matrix: Floats) -> Floats:
        support = matrix.sum(axis=-1)
        return ratio((of_classes(matrix) * support).sum(axis=-1), support.sum(axis=-1))

    return metric


CLASS_METRICS: Mapping[str, MatrixMetric] = MappingProxyType(
    {"precision": class_precision, "recall": class_recall, "f1": class_f1}
)

# With one label and one decision per row, micro precision, recall and F1 all are the accuracy,
# which itself comes from the table of agreement.
MATRIX_METRICS: Mapping[str, MatrixMetric] = MappingProxyType(
    {
        "balanced_accuracy": balanced_accuracy,
        "mcc": matthews_correlation,
        "kappa": kappa,
        **{f"micro_{name}": accuracy for name in CLASS_METRICS},
        **{f"macro_{name}": _macro(each) for name, each in CLASS_METRICS.items()},
        **{f"weighted_{name}": _weighted(each) for name, each in CLASS_METRICS.items()},
    }
)
