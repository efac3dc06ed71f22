"""Metrics of a user's own, for tests."""

import numpy as np

from transforms.metrics import RowMetric


def cost(batch):
    """A missed one costs five times a wrong one."""
    decided = batch.predictions >= 0.5
    return np.where(decided, 1 - batch.labels, 5 * batch.labels).astype(float)


def extra():
    return [RowMetric("cost", cost)]


def broken():
    raise ValueError("no metrics today")
