"""How the decisions of two versions differ on the same rows.

A table of agreement has eight cells: index 4 r + 2 s + c, with r whether the baseline is right, s
whether the candidate is, and c whether the decision changed. Arrays are [..., cells] and may be
complex, for derivatives.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.confusion import Cells
from transforms.metrics.delta_method import CellMetric
from transforms.metrics.ratios import ratio
from transforms.metrics.reference_distributions import chi_squared_tail, fair_coin_p_value

# Above so many discordant rows the chi-squared approximation is as good as the exact test.
_MAX_EXACT = 1000
# From cells 4 y + 2 a + b of decisions to cells 4 (a = y) + 2 (b = y) + (a != b).
_OF_DECISIONS = np.eye(8)[[6, 5, 3, 0, 0, 3, 5, 6]]


def of_decisions(cells: Cells) -> Cells:
    """Returns the table of agreement of a paired table of decisions; see `confusion`."""
    return cells @ _OF_DECISIONS


def wins(cells: Cells) -> Cells:
    """Returns the weight of rows that only the candidate gets right."""
    return cells[..., 2] + cells[..., 3]


def losses(cells: Cells) -> Cells:
    """Returns the weight of rows that only the baseline gets right."""
    return cells[..., 4] + cells[..., 5]


def churn(cells: Cells) -> Cells:
    """Returns the share of rows whose decision changes (Milani Fard et al., NeurIPS 2016)."""
    return ratio(cells[..., 1::2].sum(axis=-1), cells.sum(axis=-1))


def unnecessary_churn(cells: Cells) -> Cells:
    """Returns the churn beyond what the change of accuracy takes."""
    gain = ratio(wins(cells) - losses(cells), cells.sum(axis=-1))
    return churn(cells) - gain * np.where(gain.real < 0, -1, 1)


def positive_flip_rate(cells: Cells) -> Cells:
    """Returns the share of rows that only the candidate gets right."""
    return ratio(wins(cells), cells.sum(axis=-1))


def negative_flip_rate(cells: Cells) -> Cells:
    """Returns the share of rows that only the baseline gets right (Yan et al., CVPR 2021)."""
    return ratio(losses(cells), cells.sum(axis=-1))


def win_loss_ratio(cells: Cells) -> Cells:
    """Returns how many rows are won for each that is lost."""
    return ratio(wins(cells), losses(cells))


def backward_trust(cells: Cells) -> Cells:
    """Returns the share the candidate gets right of what the baseline got right."""
    kept = cells[..., 6] + cells[..., 7]
    return ratio(kept, kept + losses(cells))


def backward_error(cells: Cells) -> Cells:
    """Returns the share the baseline got wrong of what the candidate gets wrong."""
    still = cells[..., 0] + cells[..., 1]
    return ratio(still, still + losses(cells))


AGREEMENT_METRICS: Mapping[str, CellMetric] = MappingProxyType(
    {
        "churn": churn,
        "unnecessary_churn": unnecessary_churn,
        "positive_flip_rate": positive_flip_rate,
        "negative_flip_rate": negative_flip_rate,
        "win_loss_ratio": win_loss_ratio,
        "backward_trust": backward_trust,
        "backward_error": backward_error,
    }
)


AGREEMENT_SHARES = frozenset({"churn", "positive_flip_rate", "negative_flip_rate"})


class McNemar(NamedTuple):
    """McNemar's test that wins and losses are equally likely (Psychometrika 12, 1947).

    Attributes:
        statistic: (wins - losses)^2 / (wins + losses).
        corrected_statistic: The same with Yates's correction for continuity.
        p_value: Two-sided; exact below 1000 discordant rows.
        mid_p_value: Exact as above, with half the weight of the outcome itself: less cautious.
    """

    statistic: float
    corrected_statistic: float
    p_value: float
    mid_p_value: float


def mcnemar_tests(won: Integers, lost: Integers) -> dict[str, Floats]:
    """Returns the tests of many pairs of counts, by the names of their numbers."""
    pairs, places = np.unique(np.stack([won, lost], axis=-1), axis=0, return_inverse=True)
    tests = np.array([mcnemar(*each) for each in pairs.tolist()]).reshape(-1, len(McNemar._fields))
    return dict(zip(McNemar._fields, tests[places].T, strict=True))


def mcnemar(won: int, lost: int) -> McNemar:
    """Returns the test for so many rows won and lost; NaN where there are none."""
    discordant = won + lost
    if not discordant:
        return McNemar(math.nan, math.nan, math.nan, math.nan)
    statistic = (won - lost) ** 2 / discordant
    corrected = max(abs(won - lost) - 1, 0) ** 2 / discordant
    if discordant >= _MAX_EXACT:
        p_value = chi_squared_tail(statistic, 1)
        return McNemar(statistic, corrected, p_value, p_value)
    p_value = fair_coin_p_value(won, lost)
    outcome = math.comb(discordant, won) / 2**discordant
    mid_p_value = p_value - (outcome / 2 if won == lost else outcome)
    return McNemar(statistic, corrected, p_value, mid_p_value)
