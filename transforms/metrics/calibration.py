"""Whether probabilities mean what they say."""

import math
from typing import NamedTuple

import numpy as np

from transforms.metrics.array_types import Booleans, Floats, Integers
from transforms.metrics.ratios import ratio

# Scores of 0 and 1 have no logit; this is the finest distance that bins keep.
_MIN_PROBABILITY = 2.0**-25
_MAX_STEPS = 100
# Of the last step: each is about the square of the one before, so none would change a digit after.
_TOLERANCE = 1e-7
# Scores say nothing: as near to any line as can be.
NO_LINE = (np.zeros(()), np.zeros(()))


def calibration_gaps(weights: Floats, labels: Floats, scores: Floats) -> Floats:
    """Returns per bin by how much the mean label is off the mean score; 0 in empty bins.

    Args:
        weights: Sum of the weights, [..., bins].
        labels: Weighted sum of the labels.
        scores: Weighted sum of the scores.
    """
    return np.abs(ratio(labels - scores, weights, default=0))


def expected_calibration_error(weights: Floats, labels: Floats, scores: Floats) -> Floats:
    """Returns the mean gap between labels and scores over bins (Naeini et al., AAAI 2015)."""
    gaps = calibration_gaps(weights, labels, scores)
    return ratio((weights * gaps).sum(axis=-1), weights.sum(axis=-1))


def max_calibration_error(weights: Floats, labels: Floats, scores: Floats) -> Floats:
    """Returns the largest gap between labels and scores of a bin."""
    gaps = calibration_gaps(weights, labels, scores).max(axis=-1)
    return np.where(weights.sum(axis=-1) > 0, gaps, np.nan)


def calibration_line(
    scores: Floats,
    positives: Floats,
    negatives: Floats,
    start: tuple[Floats, Floats] = NO_LINE,
    *,
    tolerance: float = _TOLERANCE,
) -> tuple[Floats, Floats]:
    """Returns intercepts and slopes of the label's logistic regression on the score's logit.

    0 and 1 are perfect (Cox, 1958); a slope below 1 says that scores are too extreme. Found by
    Newton's method, which is iteratively reweighted least squares here; NaN if it does not
    converge, as where a score separates the labels.

    Args:
        scores: Of the bins, [..., bins].
        positives: Weights of the positives, [..., bins].
        negatives: Weights of the negatives.
        start: Intercepts and slopes that the lines may be near to, which saves steps; NaN for
            unknown.
        tolerance: How large the last step may be, as a share of the line; what is off after it is
            about the square of that.
    """
    clipped = np.clip(scores, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    logits, half = np.log(clipped) - np.log1p(-clipped), (positives + negatives) / 2
    data = _LineData(logits, half, positives - half)
    intercept, slope = np.nan_to_num(start)
    lines = _newton(data, intercept, slope, tolerance)
    is_lost = np.isnan(lines[0]) & data.has_both
    if start is not NO_LINE and is_lost.any():  # from afar it may lead away
        again = _newton(data.rows(np.flatnonzero(is_lost)), *NO_LINE, tolerance)
        for line, found in zip(lines, again, strict=True):
            line[is_lost] = found
    return lines


class _LineData(NamedTuple):
    """What lines are fitted to, [..., bins]: of leading axes, those of `half` are all there.

    Attributes:
        logits: Of the bins.
        half: Half of the weights.
        excess: Positives beyond that half.
    """

    logits: Floats
    half: Floats
    excess: Floats

    @property
    def has_both(self) -> Booleans:
        """Whether there are rows of both labels; without, there is no line."""
        return np.abs(self.excess.sum(axis=-1)) < self.half.sum(axis=-1)

    def rows(self, places: Integers) -> "_LineData":
        """Returns some of all rows, by their places in flat leading axes."""
        shape = self.half.shape
        logits = np.broadcast_to(self.logits, shape)[np.unravel_index(places, shape[:-1])]
        half, excess = (each.reshape(-1, shape[-1])[places] for each in self[1:])
        return _LineData(logits, half, excess)


def _newton(
    data: _LineData, intercept: Floats, slope: Floats, tolerance: float
) -> tuple[Floats, Floats]:
    """Returns the lines that steps from some others lead to; NaN where they lead to none.

    Most take few steps, so when most have ended the others are looked at alone. A line that has
    ended stays as it is, so that it does not depend on those beside it.
    """
    shape = data.half.shape[:-1]
    found = np.full((2, math.prod(shape)), np.nan)
    pending = np.arange(found.shape[1])
    has_both = data.has_both.ravel()
    is_open = has_both
    for _ in range(_MAX_STEPS):
        if not is_open.any():
            break
        if 2 * np.count_nonzero(is_open) < is_open.size:
            lead = data.half.shape[:-1]
            lines = (np.broadcast_to(each, lead).ravel() for each in (intercept, slope))
            intercept, slope = (each[is_open] for each in lines)
            data, pending = data.rows(np.flatnonzero(is_open)), pending[is_open]
            is_open = np.ones(pending.size, dtype=bool)
        steps = _newton_step(data, intercept, slope)
        intercept, slope = intercept + steps[0], slope + steps[1]
        sizes = np.abs(steps).max(axis=0)
        is_near = sizes <= tolerance * (1 + np.maximum(np.abs(intercept), np.abs(slope)))
        is_found = is_open & is_near.ravel()
        found[:, pending[is_found]] = intercept.ravel()[is_found], slope.ravel()[is_found]
        is_open = is_open & ~is_found & np.isfinite(sizes).ravel()
    found[:, ~has_both] = np.nan
    intercepts, slopes = found.reshape(2, *shape)
    return intercepts, slopes


def _newton_step(data: _LineData, intercept: Floats, slope: Floats) -> Floats:
    """Returns the steps; means are (1 + tanh(fitted / 2)) / 2, which saves passes over bins."""
    logits, half, excess = data
    turned = logits * (slope[..., None] / 2)
    turned += intercept[..., None] / 2
    np.tanh(turned, out=turned)
    fitted = half * turned
    curvature = half - fitted * turned
    residuals = np.subtract(excess, fitted, out=fitted)
    first, second = residuals.sum(axis=-1), _dot(residuals, logits)
    a, b = curvature.sum(axis=-1) / 2, _dot(curvature, logits) / 2
    c = _dot(curvature, np.square(logits)) / 2
    determinant = a * c - b * b
    return np.stack(
        [ratio(c * first - b * second, determinant), ratio(a * second - b * first, determinant)]
    )


def _dot(one: Floats, other: Floats) -> Floats:
    found: Floats = np.einsum("...b,...b->...", one, other)
    return found
