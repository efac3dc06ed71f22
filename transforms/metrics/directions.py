"""Which way a metric is better."""

from enum import Enum


class Direction(Enum):
    """Which values of a metric are better; of its changes too."""

    HIGHER = "higher"
    LOWER = "lower"
    TOWARDS_ZERO = "towards_zero"
    TOWARDS_ONE = "towards_one"
