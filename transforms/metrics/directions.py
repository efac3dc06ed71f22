"""Which way each metric is better, so that a gate need not be told."""

from enum import Enum
from types import MappingProxyType

from servable_core.errors import InvalidArgumentError


class Direction(Enum):
    """Which values of a metric are better; of its changes too."""

    HIGHER = "higher"
    LOWER = "lower"
    TOWARDS_ZERO = "towards_zero"
    TOWARDS_ONE = "towards_one"


_METRICS = {
    Direction.HIGHER: (
        "auc macro_auc average_precision ks accuracy precision recall specificity f1 "
        "balanced_accuracy mcc kappa micro_precision micro_recall micro_f1 macro_precision "
        "macro_recall macro_f1 weighted_precision weighted_recall weighted_f1 class_precision "
        "class_recall class_f1 reciprocal_rank r2 equal_to_baseline backward_trust "
        "positive_flip_rate win_loss_ratio wins"
    ),
    Direction.LOWER: (
        "log_loss brier mae mse rmse mape expected_calibration_error max_calibration_error "
        "absolute_error absolute_difference churn unnecessary_churn negative_flip_rate losses "
        "backward_error flips_to_positive flips_to_negative psi js_distance ks_drift "
        "missing_labels bad_labels bad_weights nan_scores out_of_range_scores undefined_rows"
    ),
    Direction.TOWARDS_ZERO: "bias error calibration_intercept",
    Direction.TOWARDS_ONE: "calibration_ratio calibration_slope",
}
_DIRECTIONS = MappingProxyType(
    {name: direction for direction, names in _METRICS.items() for name in names.split()}
)
# Their names end in a number of the options.
_HIGHER_PREFIXES = ("partial_auc_", "recall_at_precision_", "top_")
# What describes the rows, the scores or a test, and is neither better nor worse.
DESCRIPTIONS = frozenset(
    [
        "rows",
        "valid_rows",
        "mean_prediction",
        "positive_rate",
        "confusion",
        "psi_expected",
        "psi_noise",
        "reliability_weight",
        "reliability_label",
        "reliability_score",
        "mcnemar_statistic",
        "mcnemar_corrected_statistic",
        "mcnemar_p_value",
        "mcnemar_mid_p_value",
    ]
)


def metric_direction(metric: str) -> Direction:
    """Returns which way a metric is better.

    Raises:
        InvalidArgumentError: It is neither, or is not one of ours, so a gate has to say it.
    """
    if metric in _DIRECTIONS:
        return _DIRECTIONS[metric]
    if metric.startswith(_HIGHER_PREFIXES):
        return Direction.HIGHER
    raise InvalidArgumentError(
        f"it is not known which values of {metric!r} are better; name the direction, one of {[each.value for each in Direction]}"
    )
