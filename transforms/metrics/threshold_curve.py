"""What deciding at each threshold on the score gives, from positives and negatives per bin."""

from typing import NamedTuple

import numpy as np

from transforms.metrics.array_types import Floats
from transforms.metrics.histogram import Distribution
from transforms.metrics.ratios import ratio


class ThresholdCurve(NamedTuple):
    """What deciding positively from each threshold on would give, the strictest first.

    The first point decides nothing positively; its threshold is infinite.

    Attributes:
        thresholds: Scores, descending.
        recall: Share of positives found; the true positive rate.
        false_positive_rate: Share of negatives decided positively.
        precision: Share of positive decisions that are right; 1 where there are none.
    """

    thresholds: Floats
    recall: Floats
    false_positive_rate: Floats
    precision: Floats


def threshold_curve(distribution: Distribution) -> ThresholdCurve:
    """Returns the curve of one version's scores; ROC and precision-recall are columns of it.

    Between the points of a binned distribution the curve lies in the rectangle of the two.
    """
    negatives, positives = distribution.total[:, ::-1]
    found, wrong = (np.r_[0.0, np.cumsum(each)] for each in (positives, negatives))
    return ThresholdCurve(
        np.r_[np.inf, distribution.lower[::-1]],
        ratio(found, found[-1]),
        ratio(wrong, wrong[-1]),
        ratio(found, found + wrong, default=1.0),
    )
