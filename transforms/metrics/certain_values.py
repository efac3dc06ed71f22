"""Intervals of metrics that do not vary among the rows, of which few are no certainty.

A score that separates the classes of these rows, or a class that is always right, does so in any part
of them: leaving out rows does not tell how sure that is of others.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from transforms.metrics.array_types import Booleans, Floats
from transforms.metrics.estimate import Method
from transforms.metrics.estimates import METHODS, Estimates, method_places
from transforms.metrics.metric_column import MetricColumn
from transforms.metrics.reference_distributions import t_quantile, wilson_intervals

# Metrics are of the order of 1; what varies less does by rounding.
_NOISE = 1e-12
_LEVEL = 0.95


def are_certain(found: Estimates) -> Booleans:
    """Returns which standard errors are 0, but for rounding."""
    return found.standard_error <= _NOISE


def with_doubt(
    columns: Iterable[MetricColumn],
    bound: Callable[[MetricColumn], Estimates],
    are_same: Callable[[int], Booleans] | None = None,
) -> Iterator[MetricColumn]:
    """Yields a metric of versions and its changes; none of them is certain without reason.

    A change is doubted where both versions are. Where only the change is certain, as of scores in the
    same order, it has reason to be.

    Args:
        columns: The metric of each version, and each change after both.
        bound: Gives a version's metric with errors that bound the true ones, or without any.
        are_same: Tells for which slices a version and the baseline cannot differ.
    """
    doubted: dict[int, tuple[Booleans, Estimates]] = {}
    for each in columns:
        is_doubted = are_certain(each.estimates)
        if not is_doubted.any():
            yield each
        elif not each.is_difference:
            bounded = bound(each).where(is_doubted, each.estimates)
            doubted[each.version] = (is_doubted, bounded)
            yield replace(each, estimates=bounded)
        elif doubted.keys() >= {0, each.version}:
            (of_baseline, baseline), (of_version, version) = doubted[0], doubted[each.version]
            is_doubted &= of_baseline & of_version
            if are_same is not None:
                is_doubted &= ~are_same(each.version)
            changes = _differences(each.estimates, baseline, version)
            yield replace(each, estimates=changes.where(is_doubted, each.estimates))
        else:
            yield each


def unknown(found: Estimates) -> Estimates:
    """Returns estimates without intervals."""
    return within(found, np.full(found.value.shape, np.nan))


def shares(found: Estimates, rows: Floats) -> Estimates:
    """Returns shares of so many rows with Wilson's intervals; without one of no rows.

    So is an AUC, of the rows of the smaller class: its variance is at most that of a share of these
    (Birnbaum and Klose, Annals of Mathematical Statistics 28, 1957).
    """
    known = np.where(rows > 0, rows, np.nan)
    low, high = wilson_intervals(found.value, known, _LEVEL)
    return replace(
        found,
        standard_error=np.maximum(high - found.value, found.value - low) / _reach(),
        degrees_of_freedom=np.full(found.value.shape, np.inf),
        methods=method_places(rows > 0, Method.WILSON),
        effective_rows=known,
    )


def unchanged(found: Estimates, rows: Floats) -> Estimates:
    """Returns changes of nothing, as sure as that none of so many rows changes."""
    known = np.where(rows > 0, rows, np.nan)
    _, most = wilson_intervals(np.zeros(rows.shape), known, _LEVEL)
    return within(found, most)


def within(found: Estimates, reach: Floats) -> Estimates:
    """Returns estimates whose 95 % intervals reach so far; without intervals where that is NaN."""
    return replace(
        found,
        standard_error=reach / _reach(),
        degrees_of_freedom=np.full(found.value.shape, np.inf),
        methods=method_places(~np.isnan(reach), Method.BOUND),
    )


def _differences(found: Estimates, baseline: Estimates, candidate: Estimates) -> Estimates:
    """Returns differences as sure as both are (MOVER: Zou and Donner, Statistics in Medicine 27, 2008).

    They are taken to be independent; on the same rows the differences are rather surer.
    """
    low, high = _intervals(baseline)
    low_candidate, high_candidate = _intervals(candidate)
    below = np.hypot(candidate.value - low_candidate, high - baseline.value)
    above = np.hypot(high_candidate - candidate.value, baseline.value - low)
    return within(found, np.maximum(below, above))


def _intervals(found: Estimates) -> tuple[Floats, Floats]:
    half = found.standard_error * _reach()
    is_share = found.methods == METHODS.index(Method.WILSON)
    rows = np.where(is_share, found.effective_rows, 1)
    ends: tuple[Any, Any] = wilson_intervals(found.value, rows, _LEVEL)
    low, high = (
        np.where(is_share, wilson, found.value + half * sign)
        for wilson, sign in zip(ends, (-1, 1), strict=True)
    )
    return low, high


def _reach() -> float:
    return t_quantile((1 + _LEVEL) / 2, math.inf)
