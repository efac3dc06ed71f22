"""What of a metric was measured: which of its sub-keys, of each version or of pairs alone."""

import difflib
from dataclasses import dataclass, replace

from transforms.evaluation.results import EvaluationResults, MetricResult, SliceKey
from transforms.metrics import Estimate, Method
from transforms.metrics.agreement import AGREEMENT_METRICS
from transforms.metrics.confusion import FLIP_METRICS
from transforms.metrics.metric_catalogue import metric_facts

_DRIFT = frozenset({"psi", "psi_expected", "psi_noise", "js_distance", "ks_drift"})
_MCNEMAR_PREFIX = "mcnemar_"
_PAIRED = frozenset(
    {
        *AGREEMENT_METRICS,
        *FLIP_METRICS,
        *_DRIFT,
        "absolute_difference",
        "equal_to_baseline",
        "transition",
        "wins",
        "losses",
    }
)
_COUNTED = "rows"
_FAILED_ROWS = "inference_errors"


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredMetric:
    """What there is of a metric.

    Attributes:
        name: The metric.
        sub_keys: Of its numbers; one of them is empty where a number depends on nothing else.
        is_paired: Whether it compares a version with the baseline by itself.
    """

    name: str
    sub_keys: tuple[str, ...]
    is_paired: bool


class MeasuredMetrics:
    """The metrics of an evaluation. Immutable."""

    def __init__(self, results: EvaluationResults) -> None:
        """Looks over all that was measured, once."""
        self._results = results
        self._sub_keys: dict[str, dict[str, None]] = {}
        self._own: set[str] = set()
        for each in results.columns.series:
            self._sub_keys.setdefault(each.metric, {})[each.sub_key] = None
            if not each.is_difference:
                self._own.add(each.metric)

    def find(self, metric: str) -> MeasuredMetric | None:
        """Returns what there is of a metric, or None if it was not measured."""
        if metric not in self._sub_keys:
            return None
        return MeasuredMetric(
            name=metric,
            sub_keys=tuple(self._sub_keys[metric]),
            is_paired=metric not in self._own,
        )

    def similar_to(self, metric: str) -> str | None:
        """Returns the measured metric whose name is most like `metric`, or None."""
        return next(iter(difflib.get_close_matches(metric, self._sub_keys, n=1)), None)

    def value(
        self, metric: MeasuredMetric, version: int, key: SliceKey, sub_key: str
    ) -> MetricResult | None:
        """Returns a metric of a version, or None if it was not measured there."""
        return self._find(metric, version, key, sub_key, is_difference=metric.is_paired)

    def difference(
        self, metric: MeasuredMetric, version: int, key: SliceKey, sub_key: str
    ) -> MetricResult | None:
        """Returns how a metric differs from the baseline's, or None if it was not measured."""
        return self._find(metric, version, key, sub_key, is_difference=True)

    def _find(
        self,
        metric: MeasuredMetric,
        version: int,
        key: SliceKey,
        sub_key: str,
        *,
        is_difference: bool,
    ) -> MetricResult | None:
        found = self._results.find(
            metric.name, version, slice=key, sub_key=sub_key, is_difference=is_difference
        )
        if found is None or _has_interval(metric.name):
            return found
        return replace(found, estimate=_certain(found.estimate))


def compares_by_itself(metric: str) -> bool:
    """Whether a metric of ours needs a baseline to have a value at all."""
    return metric in _PAIRED or metric.startswith(_MCNEMAR_PREFIX)


def _has_interval(metric: str) -> bool:
    """Whether an interval belongs to it; counts of these very rows are what they are."""
    is_described = metric in _DRIFT or metric.startswith(_MCNEMAR_PREFIX)
    is_counted = metric == _FAILED_ROWS or metric_facts(metric).values == _COUNTED
    return not (is_described or is_counted)


def _certain(estimate: Estimate) -> Estimate:
    if estimate.method is Method.NONE:
        return replace(estimate, standard_error=0.0)
    return estimate
