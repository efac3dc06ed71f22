"""Standard errors of functions of a table's shares, by the multinomial delta method."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from transforms.metrics.array_types import Floats
from transforms.metrics.estimate import Estimate, Method

# A complex step has no subtraction to lose digits in, so it can be as small as this.
_STEP = 1e-150

# Takes weights of cells, [..., cells], real or complex; does not depend on their scale.
CellMetric = Callable[[NDArray[np.inexact]], NDArray[np.inexact]]


def estimate(
    metric: CellMetric, weights: Floats, squared_weights: Floats, *, pseudo_rows: float = 0.0
) -> Estimate:
    """Returns a metric of a table, with its standard error.

    Var f = sum of w^2 (g - mean g)^2 over rows, over (sum of w)^2, where g is the derivative of f
    by the share of the row's cell; unweighted, (sum p g^2 - (sum p g)^2) / n.

    Args:
        metric: The metric.
        weights: Sum of the weights of each cell, [cells].
        squared_weights: Sum of their squares.
        pseudo_rows: Rows spread over the cells for the standard error alone. Without any, a table
            of few rows with an empty cell would be quite sure (Agresti and Min, 2005, take 2).
    """
    value = float(metric(weights).real)
    if np.isnan(value):
        return Estimate(value=value)
    typical = squared_weights.sum() / weights.sum()
    added = pseudo_rows / weights.size
    variance = _variance(metric, weights + added * typical, squared_weights + added * typical**2)
    return Estimate(value=value, standard_error=float(np.sqrt(variance)), method=Method.DELTA)


def _variance(metric: CellMetric, weights: Floats, squared_weights: Floats) -> float:
    total = weights.sum()
    shares = weights / total
    gradient = metric(shares + 1j * _STEP * np.eye(weights.size)).imag / _STEP
    # The derivative by the share of an empty cell may be infinite, and does not matter.
    gradient = np.where(weights > 0, gradient, 0)
    centred = gradient - (shares * gradient).sum()
    return float((squared_weights * np.square(centred)).sum() / total**2)
