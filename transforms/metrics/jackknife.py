"""The block jackknife: an interval for any metric that is a function of sums.

Rows are dealt to blocks by a hash of their key, or of their cluster's. The metric without each
block in turn spreads around the metric of all as samples would (Efron and Stein, 1981); with a
cluster's rows in one block, it accounts for their dependence.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.estimate import Method
from transforms.metrics.estimates import Estimates, method_places
from transforms.metrics.metric_column import MetricColumn
from transforms.metrics.ranking import Bounded
from transforms.metrics.ratios import ratio

# With fewer blocks the standard error itself is off by a quarter and more.
MIN_BLOCKS = 10


def jackknife(value: Floats | Bounded, leave_one_out: Floats, block_weights: Floats) -> Estimates:
    """Returns metrics with their block jackknife standard errors.

    Args:
        value: Of all rows, [...], with its bounds if it is not exact.
        leave_one_out: Without each block in turn, [..., blocks].
        block_weights: Of the rows of each block; those without any do not take part.
    """
    middle, lower, upper = value if isinstance(value, Bounded) else (value, value, value)
    is_used = block_weights > 0
    blocks = is_used.sum(axis=-1)
    is_known = (blocks >= MIN_BLOCKS) & (np.isfinite(leave_one_out) | ~is_used).all(axis=-1)
    others = np.where(is_used & is_known[..., None], leave_one_out, 0)
    means = ratio(others.sum(axis=-1), blocks)
    spread = np.square(np.where(is_used, others - means[..., None], 0)).sum(axis=-1)
    return Estimates.of(
        middle,
        standard_error=np.where(is_known, np.sqrt(ratio(blocks - 1, blocks) * spread), np.nan),
        degrees_of_freedom=np.where(is_known, blocks - 1, np.inf),
        methods=method_places(is_known, Method.JACKKNIFE),
        lower_bound=lower,
        upper_bound=upper,
    )


def jackknifed_columns(
    metric: str,
    slice_ids: Integers,
    value: Floats | Bounded,
    leave_one_out: Floats,
    block_weights: Floats,
    *,
    sub_key: str = "",
) -> Iterator[MetricColumn]:
    """Yields a metric of all versions, and of their differences from the baseline.

    Args:
        metric: Its name.
        slice_ids: The slices.
        value: Of all rows, [slices, versions].
        leave_one_out: Without each block in turn, [slices, blocks, versions].
        block_weights: Of the rows of each block, [slices, blocks].
        sub_key: See `MetricColumn`.
    """
    found = value if isinstance(value, Bounded) else Bounded(value, value, value)
    for version in range(found.value.shape[-1]):
        own = Bounded(*(each[:, version] for each in found))
        others = leave_one_out[..., version]
        about: dict[str, Any] = {
            "metric": metric,
            "slice_ids": slice_ids,
            "version": version,
            "sub_key": sub_key,
        }
        yield MetricColumn(**about, estimates=jackknife(own, others, block_weights))
        if version:
            baseline = Bounded(*(each[:, 0] for each in found))
            change = Bounded(
                own.value - baseline.value,
                own.lower - baseline.upper,
                own.upper - baseline.lower,
            )
            estimates = jackknife(change, others - leave_one_out[..., 0], block_weights)
            yield MetricColumn(**about, is_difference=True, estimates=estimates)
