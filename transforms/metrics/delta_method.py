"""Standard errors of functions of a table's shares, by the multinomial delta method."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from transforms.metrics.array_types import Floats
from transforms.metrics.estimate import Method
from transforms.metrics.estimates import Estimates, method_places
from transforms.metrics.ratios import ratio

# A complex step has no subtraction to lose digits in, so it can be as small as this.
_STEP = 1e-150

# Takes weights of cells, [..., cells], real or complex; does not depend on their scale.
CellMetric = Callable[[NDArray[np.inexact]], NDArray[np.inexact]]


def estimates(
    metric: CellMetric, weights: Floats, squared_weights: Floats, *, pseudo_rows: float = 0.0
) -> Estimates:
    """Returns a metric of tables, with its standard errors.

    Var f = sum of w^2 (g - mean g)^2 over rows, over (sum of w)^2, where g is the derivative of f
    by the share of the row's cell; unweighted, (sum p g^2 - (sum p g)^2) / n.

    Args:
        metric: The metric.
        weights: Sum of the weights of each cell, [..., cells].
        squared_weights: Sum of their squares.
        pseudo_rows: Rows spread over the cells for the standard error alone. Without any, a table
            of few rows with an empty cell would be quite sure (Agresti and Min, 2005, take 2).
    """
    value = metric(weights).real
    typical = ratio(squared_weights.sum(axis=-1), weights.sum(axis=-1), default=0)[..., None]
    added = pseudo_rows / weights.shape[-1]
    variance = _variance(metric, weights + added * typical, squared_weights + added * typical**2)
    is_known = ~np.isnan(value)
    return Estimates.of(
        value,
        standard_error=np.where(is_known, np.sqrt(variance), np.nan),
        methods=method_places(is_known, Method.DELTA),
    )


def _variance(metric: CellMetric, weights: Floats, squared_weights: Floats) -> Floats:
    total = weights.sum(axis=-1)
    shares = ratio(weights, total[..., None], default=0)
    steps = 1j * _STEP * np.eye(weights.shape[-1])
    gradient = metric(shares[..., None, :] + steps).imag / _STEP
    # The derivative by the share of an empty cell may be infinite, and does not matter.
    gradient = np.where(weights > 0, gradient, 0)
    centred = gradient - (shares * gradient).sum(axis=-1, keepdims=True)
    variance: Floats = ratio((squared_weights * np.square(centred)).sum(axis=-1), total**2)
    return variance
