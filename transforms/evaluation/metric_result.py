"""One number of an evaluation: which metric, of which version, on which slice."""

from dataclasses import dataclass

from transforms.metrics import Estimate

SliceKey = tuple[tuple[str, str], ...]
"""Pairs of column and value, as `(("country", "DE"), ("device", "phone"))`; empty for all rows."""

ALL_ROWS: SliceKey = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricResult:
    """One metric of one version on one slice.

    Attributes:
        metric: Its name.
        sub_key: What else it depends on, as `threshold=0.5`; empty where nothing.
        version: The version.
        is_difference: Whether it compares the version with the baseline.
        slice: The slice.
        num_rows: Rows of the slice that were evaluated.
        estimate: The number and its uncertainty.
    """

    metric: str
    sub_key: str = ""
    version: int
    is_difference: bool = False
    slice: SliceKey = ALL_ROWS
    num_rows: int
    estimate: Estimate
