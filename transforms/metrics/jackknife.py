"""The block jackknife: an interval for any metric that is a function of sums.

Rows are dealt to blocks by a hash of their key, or of their cluster's. The metric without each
block in turn spreads around the metric of all as samples would (Efron and Stein, 1981); with a
cluster's rows in one block, it accounts for their dependence.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from transforms.metrics.array_types import Floats
from transforms.metrics.estimate import Estimate, Method
from transforms.metrics.metric_family import MetricValue
from transforms.metrics.ranking import Bounded

# With fewer blocks the standard error itself is off by a quarter and more.
MIN_BLOCKS = 10


def jackknife(
    value: float | Floats | Bounded, leave_one_out: Floats, block_weights: Floats
) -> Estimate:
    """Returns a metric with its block jackknife standard error.

    Args:
        value: Of all rows, with its bounds if it is not exact.
        leave_one_out: Without each block in turn.
        block_weights: Of the rows of each block; those without any do not take part.
    """
    middle, lower, upper = value if isinstance(value, Bounded) else (value, value, value)
    estimate = Estimate(value=float(middle), lower_bound=float(lower), upper_bound=float(upper))
    others = leave_one_out[block_weights > 0]
    if others.size < MIN_BLOCKS or not np.isfinite(others).all():
        return estimate
    blocks = others.size
    variance = (blocks - 1) / blocks * np.square(others - others.mean()).sum()
    return replace(
        estimate,
        standard_error=float(np.sqrt(variance)),
        degrees_of_freedom=blocks - 1,
        method=Method.JACKKNIFE,
    )


def jackknifed_values(
    metric: str,
    slice_id: int,
    value: Floats | Bounded,
    leave_one_out: Floats,
    block_weights: Floats,
    *,
    sub_key: str = "",
) -> Iterator[MetricValue]:
    """Yields a metric of all versions, and of their differences from the baseline.

    Args:
        metric: Its name.
        slice_id: The slice.
        value: Of all rows, [versions].
        leave_one_out: Without each block in turn, [blocks, versions].
        block_weights: Of the rows of each block; those without any do not take part.
        sub_key: See `MetricValue`.
    """
    found = value if isinstance(value, Bounded) else Bounded(value, value, value)
    for version in range(found.value.size):
        own = Bounded(*(each[version] for each in found))
        others = leave_one_out[:, version]
        about: dict[str, Any] = {
            "metric": metric,
            "slice_id": slice_id,
            "version": version,
            "sub_key": sub_key,
        }
        yield MetricValue(**about, estimate=jackknife(own, others, block_weights))
        if version:
            change = Bounded(
                own.value - found.value[0], own.lower - found.upper[0], own.upper - found.lower[0]
            )
            estimate = jackknife(change, others - leave_one_out[:, 0], block_weights)
            yield MetricValue(**about, is_difference=True, estimate=estimate)
