"""Whether probabilities mean what they say."""

import numpy as np

from transforms.metrics.array_types import Floats
from transforms.metrics.ratios import ratio

# Scores of 0 and 1 have no logit; this is the finest distance that bins keep.
_MIN_PROBABILITY = 2.0**-25
_MAX_STEPS = 100
# Steps end when they are below the first, which rounding may prevent, but not of the second.
_TOLERANCE = 1e-13
_MAX_LAST_STEP = 1e-9
# Scores say nothing: as near to any line as can be.
_NO_LINE = (0.0, 0.0)


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
    scores: Floats, weights: Floats, start: tuple[float, float] = _NO_LINE
) -> tuple[Floats, Floats]:
    """Returns intercept and slope of the label's logistic regression on the score's logit.

    0 and 1 are perfect (Cox, 1958); a slope below 1 says that scores are too extreme. Found by
    Newton's method, which is iteratively reweighted least squares here; NaN if it does not
    converge, as where a score separates the labels.

    Args:
        scores: Of the bins.
        weights: [..., 2 labels, bins].
        start: Intercept and slope that the line may be near to, which saves steps; NaN for unknown.
    """
    clipped = np.clip(scores, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    logits = np.log(clipped) - np.log1p(-clipped)
    totals, positives = weights.sum(axis=-2), weights[..., 1, :]
    intercept, slope = (np.full(weights.shape[:-2], each) for each in np.nan_to_num(start))
    steps = np.full((2, *slope.shape), np.inf)
    for _ in range(_MAX_STEPS):
        steps = _newton_step(logits, totals, positives, intercept, slope)
        intercept, slope = intercept + steps[0], slope + steps[1]
        if not (np.abs(steps) > _TOLERANCE * (1 + np.abs([intercept, slope]))).any():
            break
    is_found = np.abs(steps).max(axis=0) <= _MAX_LAST_STEP * (1 + np.abs(slope))
    if start != _NO_LINE and not is_found.all():  # from afar it may lead away
        return calibration_line(scores, weights)
    return np.where(is_found, intercept, np.nan), np.where(is_found, slope, np.nan)


def _newton_step(
    logits: Floats, totals: Floats, positives: Floats, intercept: Floats, slope: Floats
) -> Floats:
    fitted = intercept[..., None] + slope[..., None] * logits
    means = 0.5 * (1 + np.tanh(fitted / 2))
    residuals = positives - totals * means
    curvature = totals * means * (1 - means)
    first, second = residuals.sum(axis=-1), (residuals * logits).sum(axis=-1)
    a, b = curvature.sum(axis=-1), (curvature * logits).sum(axis=-1)
    c = (curvature * np.square(logits)).sum(axis=-1)
    determinant = a * c - b * b
    return np.stack(
        [ratio(c * first - b * second, determinant), ratio(a * second - b * first, determinant)]
    )
