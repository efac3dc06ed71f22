"""The few distributions that intervals and tests need, in closed form.

Student's t and chi-squared with whole degrees of freedom are finite sums: Abramowitz and Stegun,
Handbook of Mathematical Functions, 26.7.3, 26.7.4, 26.4.4 and 26.4.5.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from transforms.metrics.array_types import Floats

_BISECTIONS = 80


@lru_cache(maxsize=1024)  # thousands of slices ask for the same few
def t_quantile(probability: float, degrees_of_freedom: float) -> float:
    """Returns the number below which Student's t lies with `probability`, at least one half.

    Args:
        probability: From 0.5, below 1.
        degrees_of_freedom: Whole, or infinite for the normal distribution.
    """
    if math.isinf(degrees_of_freedom):
        return NormalDist().inv_cdf(probability)
    freedom = int(degrees_of_freedom)
    central = 2 * probability - 1
    angle = _bisect(lambda each: _central_t(each, freedom) - central, 0.0, math.pi / 2)
    return math.tan(angle) * math.sqrt(freedom)


def _central_t(angle: float, freedom: int) -> float:
    """Returns P(|T| <= t) where `angle` is atan(t / sqrt(freedom))."""
    is_odd = freedom % 2
    cosine = math.cos(angle)
    term = cosine if is_odd else 1.0
    total = term if freedom > 1 else 0.0
    for power in range(2 + is_odd, freedom - 1, 2):
        term *= cosine * cosine * (power - 1) / power
        total += term
    if is_odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total


def chi_squared_tail(value: float, degrees_of_freedom: int) -> float:
    """Returns the probability that chi-squared is above `value`."""
    half = value / 2
    is_odd = degrees_of_freedom % 2
    term = math.sqrt(2 * value / math.pi) if is_odd else 1.0
    total = 0.0
    for step in range(degrees_of_freedom // 2):
        if step:
            term *= value / (2 * step + is_odd)
        total += term
    start = math.erfc(math.sqrt(half)) if is_odd else 0.0
    return start + math.exp(-half) * total


def chi_squared_quantile(probability: float, degrees_of_freedom: int) -> float:
    """Returns the number below which chi-squared lies with `probability`."""
    tail = 1 - probability
    most = 10.0 * degrees_of_freedom + 100
    return _bisect(lambda each: tail - chi_squared_tail(each, degrees_of_freedom), 0.0, most)


def _bisect(function: Callable[[float], float], low: float, high: float) -> float:
    """Returns where a rising function crosses 0."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2


def fair_coin_p_value(heads: int, tails: int) -> float:
    """Returns the exact two-sided p-value of a coin's fairness."""
    thrown, fewer = heads + tails, min(heads, tails)
    tail = outcomes = 1
    for each in range(fewer):
        outcomes = outcomes * (thrown - each) // (each + 1)
        tail += outcomes
    return min(1.0, 2 * tail / 2**thrown)


def wilson_interval(share: float, rows: float, level: float) -> tuple[float, float]:
    """Returns the interval of a share of so many rows (Wilson, JASA 22, 1927)."""
    low, high = wilson_intervals(np.array(share), np.array(rows), level)
    return float(low), float(high)


def wilson_intervals(shares: Floats, rows: Floats, level: float) -> tuple[Floats, Floats]:
    """Returns the intervals of shares of so many rows each; see `wilson_interval`."""
    squared = NormalDist().inv_cdf((1 + level) / 2) ** 2 / rows
    centre = (shares + squared / 2) / (1 + squared)
    half = np.sqrt(squared * shares * (1 - shares) + squared**2 / 4) / (1 + squared)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)  # rounding may lead beyond
