"""Which metrics a report shows, in which order, and which of them come first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipelines.report.comparison import Comparison
from pipelines.report.content import ReportContent
from transforms.evaluation.results import ALL_ROWS
from transforms.metrics.row_checks import ROW_COUNTS

MAIN = (
    "auc",
    "average_precision",
    "macro_auc",
    "accuracy",
    "macro_f1",
    "f1",
    "log_loss",
    "rmse",
    "mae",
    "r2",
    "bias",
    "expected_calibration_error",
    "calibration_ratio",
    "churn",
    "negative_flip_rate",
    "positive_flip_rate",
    "psi",
)
"""What a short summary shows of whichever task it is."""

TILES = (
    *("auc", "accuracy", "macro_f1", "rmse", "mae", "r2", "log_loss"),
    *("expected_calibration_error", "bias", "churn"),
)
"""The four of these that come first and are there are what a reader sees first."""

_WITHOUT_LABELS = ("mean_prediction", "equal_to_baseline", "absolute_difference", "psi", "ks_drift")
_OF_SLICES = ("log_loss", "auc", "accuracy", "rmse", "mae", "mean_prediction")
# What figures show as pictures, and what of each class fills a table of its own.
_DRAWN = (
    *ROW_COUNTS,
    *("undefined_rows", "inference_errors", "unmatched_rows", "repeated_keys"),
    *("confusion", "transition"),
    "reliability_",
    "psi_expected",
)
_PER_CLASS = ("class_", "class=")
_THRESHOLD = "threshold="


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricGroup:
    """Metrics that answer one question.

    Attributes:
        title: The question, as a heading.
        names: Of the metrics, or how they begin, in order.
    """

    title: str
    names: tuple[str, ...]

    def place(self, metric: str) -> int | None:
        """Returns the place of a metric in the group, or None if it is not in it."""
        for place, name in enumerate(self.names):
            if metric == name or (name.endswith("_") and metric.startswith(name)):
                return place
        return None


_GROUPS = (
    MetricGroup(
        title="Order of the scores",
        names=(
            *("auc", "macro_auc", "average_precision", "ks"),
            *("partial_auc_", "recall_at_precision_", "top_", "reciprocal_rank"),
        ),
    ),
    MetricGroup(
        title="Errors and losses",
        names=(
            *("log_loss", "brier", "rmse", "mse", "mae", "mape", "r2", "bias"),
            *("error", "absolute_error"),
        ),
    ),
    MetricGroup(
        title="Decisions",
        names=(
            *("accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "mcc"),
            *("kappa", "micro_", "macro_", "weighted_", "positive_rate"),
        ),
    ),
    MetricGroup(
        title="Calibration",
        names=(
            *("mean_prediction", "calibration_ratio", "expected_calibration_error"),
            *("max_calibration_error", "calibration_slope", "calibration_intercept"),
        ),
    ),
)
_OWN = MetricGroup(title="Metrics of your own", names=())
_CHANGES = MetricGroup(
    title="Changed predictions",
    names=(
        *("equal_to_baseline", "absolute_difference", "churn", "unnecessary_churn"),
        *("positive_flip_rate", "negative_flip_rate", "flips_", "wins", "losses"),
        *("win_loss_ratio", "backward_trust", "backward_error", "mcnemar_p_value", "mcnemar_"),
        *("psi", "psi_noise", "js_distance", "ks_drift"),
    ),
)


def grouped(found: Iterable[Comparison]) -> list[tuple[MetricGroup, list[Comparison]]]:
    """Returns what a report's main table shows, by group; groups without metrics are left out."""
    groups = (*_GROUPS, _OWN, _CHANGES)
    by_title: dict[str, list[Comparison]] = {each.title: [] for each in groups}
    for each in found:
        if not _is_elsewhere(each):
            by_title[_group_of(each).title].append(each)
    ordered = [(group, _in_order(group, by_title[group.title])) for group in groups]
    return [(group, members) for group, members in ordered if members]


def per_class(found: Iterable[Comparison]) -> list[Comparison]:
    """Returns what was measured of each class apart."""
    return [each for each in found if _is_per_class(each)]


def main_metrics(found: Iterable[Comparison]) -> list[Comparison]:
    """Returns the few that a short summary shows; of several thresholds, for the first."""
    named = _named(found, MAIN)
    thresholds = [each.sub_key for each in named if each.sub_key.startswith(_THRESHOLD)]
    others = set(thresholds) - set(thresholds[:1])
    return [each for each in named if each.sub_key not in others]


def first_metrics(found: Iterable[Comparison]) -> list[Comparison]:
    """Returns the fewer that a reader sees first, of the first threshold or quantile each."""
    named = _named(found, TILES)
    return list({each.metric: each for each in reversed(named)}.values())[::-1]


def _named(found: Iterable[Comparison], names: Sequence[str]) -> list[Comparison]:
    shown = [each for each in found if not _is_elsewhere(each)]
    is_labelled = any(each.metric in {"log_loss", "rmse"} for each in shown)
    chosen = names if is_labelled else _WITHOUT_LABELS
    return sorted(
        (each for each in shown if each.metric in chosen),
        key=lambda each: chosen.index(each.metric),
    )


def slice_metric(content: ReportContent) -> str | None:
    """Returns the metric by which slices are compared where no gate names one."""
    names = {each.metric for each in content.results.of_slice(ALL_ROWS)}
    return next((each for each in _OF_SLICES if each in names), None)


def _is_elsewhere(each: Comparison) -> bool:
    is_drawn = any(
        each.metric == name or (name.endswith("_") and each.metric.startswith(name))
        for name in _DRAWN
    )
    return is_drawn or _is_per_class(each)


def _is_per_class(each: Comparison) -> bool:
    prefix, sub_key = _PER_CLASS
    return each.metric.startswith(prefix) or each.sub_key.startswith(sub_key)


def _group_of(each: Comparison) -> MetricGroup:
    if each.is_paired:
        return _CHANGES
    groups = (group for group in _GROUPS if group.place(each.metric) is not None)
    return next(groups, _OWN)


def _in_order(group: MetricGroup, members: list[Comparison]) -> list[Comparison]:
    last = len(group.names)

    def place(each: Comparison) -> int:
        found = group.place(each.metric)
        return last if found is None else found

    return sorted(members, key=place)
