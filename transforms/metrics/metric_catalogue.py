"""What each metric means: for gates which way it is better, for people what the number says."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from servable_core.errors import InvalidArgumentError
from transforms.metrics.directions import Direction
from transforms.metrics.row_metric import RowMetric


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """What is known of a metric.

    Attributes:
        name: Of the metric.
        direction: Which values are better; None where neither is, or it is not known.
        values: Where its values lie, as `0 to 1`, or what they count; empty if not known.
        description: What the number says, in one line; empty if not known.
    """

    name: str
    direction: Direction | None = None
    values: str = ""
    description: str = ""


def metric_facts(metric: str, row_metrics: Iterable[RowMetric] = ()) -> MetricFacts:
    """Returns what is known of a metric.

    Args:
        metric: Its name.
        row_metrics: Metrics of your own, which say themselves what they mean.
    """
    for mine in row_metrics:
        if mine.name == metric:
            return MetricFacts(metric, mine.direction, mine.unit, mine.description)
    if metric in _BY_NAME:
        return _BY_NAME[metric]
    for pattern in _PARAMETRISED:
        start, _, end = pattern.name.partition("*")
        if metric.startswith(start) and metric.endswith(end):
            number = metric.removeprefix(start).removesuffix(end)
            return replace(
                pattern, name=metric, description=pattern.description.replace("*", number)
            )
    return MetricFacts(metric)


def metric_direction(metric: str, row_metrics: Iterable[RowMetric] = ()) -> Direction:
    """Returns which way a metric is better.

    Args:
        metric: Its name.
        row_metrics: Metrics of your own; see `metric_facts`.

    Raises:
        InvalidArgumentError: It is neither, or is not one of ours, so a gate has to say it.
    """
    direction = metric_facts(metric, row_metrics).direction
    if direction is None:
        raise InvalidArgumentError(
            f"it is not known which values of {metric!r} are better; name the direction, one of {[each.value for each in Direction]}"
        )
    return direction


_HIGHER, _LOWER = Direction.HIGHER, Direction.LOWER
_ZERO, _ONE = Direction.TOWARDS_ZERO, Direction.TOWARDS_ONE
_SHARE = "0 to 1"
_CORRELATION = "-1 to 1"
_FROM_ZERO = "0 and up"
_ROWS = "rows"
_LABEL_UNITS = "units of the label"

_FACTS = (
    # Order of the scores.
    MetricFacts(
        "auc",
        _HIGHER,
        _SHARE,
        "Area under the ROC curve: how often a positive scores above a negative; 0.5 is chance.",
    ),
    MetricFacts("macro_auc", _HIGHER, _SHARE, "Mean over classes of each one's AUC vs the rest."),
    MetricFacts(
        "average_precision",
        _HIGHER,
        _SHARE,
        "Mean over the positives of the precision at their score; the share of positives is chance.",
    ),
    MetricFacts(
        "ks",
        _HIGHER,
        _SHARE,
        "Kolmogorov-Smirnov: largest distance of the positives' and the negatives' distributions of scores.",
    ),
    # Probabilities.
    MetricFacts(
        "log_loss",
        _LOWER,
        _FROM_ZERO,
        "Mean of minus the logarithm of the probability that was given to the true label, in nats.",
    ),
    MetricFacts("brier", _LOWER, "0 to 2", "Mean squared distance of probability and label."),
    MetricFacts(
        "expected_calibration_error",
        _LOWER,
        _SHARE,
        "Mean distance of probability and observed share over 15 equally wide bins of the score.",
    ),
    MetricFacts(
        "max_calibration_error",
        _LOWER,
        _SHARE,
        "Largest distance of probability and observed share of these bins.",
    ),
    MetricFacts(
        "calibration_ratio", _ONE, _FROM_ZERO, "Predicted positives for each that was observed."
    ),
    MetricFacts(
        "calibration_intercept",
        _ZERO,
        "any number",
        "Intercept of the label's logistic regression on the score's logit; 0 is calibrated.",
    ),
    MetricFacts(
        "calibration_slope",
        _ONE,
        "any number",
        "Slope of the same; 1 is calibrated, below it scores are too extreme.",
    ),
    MetricFacts("reliability_weight", None, _ROWS, "Weight of the rows of a bin of the score."),
    MetricFacts("reliability_label", None, _SHARE, "Observed share of positives in the bin."),
    MetricFacts("reliability_score", None, _SHARE, "Mean probability in the bin."),
    # Decisions.
    MetricFacts("accuracy", _HIGHER, _SHARE, "Share of decisions that are right."),
    MetricFacts("precision", _HIGHER, _SHARE, "Share of positive decisions that are right."),
    MetricFacts("recall", _HIGHER, _SHARE, "Share of positives that are found."),
    MetricFacts("specificity", _HIGHER, _SHARE, "Share of negatives that are left alone."),
    MetricFacts("f1", _HIGHER, _SHARE, "Harmonic mean of precision and recall."),
    MetricFacts("balanced_accuracy", _HIGHER, _SHARE, "Mean over classes of the recall."),
    MetricFacts(
        "mcc", _HIGHER, _CORRELATION, "Matthews correlation of decision and label; 0 is chance."
    ),
    MetricFacts(
        "kappa", _HIGHER, _CORRELATION, "Cohen's agreement of decision and label beyond chance."
    ),
    MetricFacts("positive_rate", None, _SHARE, "Share of decisions that are positive."),
    # Classes.
    *(
        MetricFacts(f"{average}_{name}", _HIGHER, _SHARE, f"{words} {name.replace('f1', 'F1')}.")
        for average, words in (
            ("micro", "Over all decisions together, which is the accuracy:"),
            ("macro", "Mean over classes of the"),
            ("weighted", "Mean over classes, by their rows, of the"),
            ("class", "Of one class against the rest:"),
        )
        for name in ("precision", "recall", "f1")
    ),
    MetricFacts("reciprocal_rank", _HIGHER, _SHARE, "Mean of 1 / rank of the true class by score."),
    MetricFacts(
        "transition", None, _ROWS, "Rows whose decision changes from one class to another."
    ),
    MetricFacts("confusion", None, _ROWS, "Weight of the rows of one label and one decision."),
    # Regression.
    MetricFacts("bias", _ZERO, _LABEL_UNITS, "Mean of prediction less label."),
    MetricFacts("mae", _LOWER, _LABEL_UNITS, "Mean absolute error."),
    MetricFacts("mse", _LOWER, f"squared {_LABEL_UNITS}", "Mean squared error."),
    MetricFacts("rmse", _LOWER, _LABEL_UNITS, "Root of the mean squared error."),
    MetricFacts(
        "mape", _LOWER, _FROM_ZERO, "Mean of the error relative to the label, where that is not 0."
    ),
    MetricFacts(
        "r2", _HIGHER, "up to 1", "Share of the label's variance that is explained; 0 is its mean."
    ),
    MetricFacts("error", _ZERO, _LABEL_UNITS, "Quantile of prediction less label."),
    MetricFacts("absolute_error", _LOWER, _LABEL_UNITS, "Quantile of the absolute error."),
    # The version against the baseline, row by row.
    MetricFacts(
        "absolute_difference",
        _LOWER,
        "units of the prediction",
        "Quantile of the absolute difference of the predictions.",
    ),
    MetricFacts(
        "equal_to_baseline", _HIGHER, _SHARE, "Share of rows with the very same prediction."
    ),
    MetricFacts("churn", _LOWER, _SHARE, "Share of rows whose decision changes."),
    MetricFacts(
        "unnecessary_churn",
        _LOWER,
        _SHARE,
        "Churn beyond what the change of the accuracy takes.",
    ),
    MetricFacts(
        "positive_flip_rate", _HIGHER, _SHARE, "Share of rows that only the candidate gets right."
    ),
    MetricFacts(
        "negative_flip_rate", _LOWER, _SHARE, "Share of rows that only the baseline gets right."
    ),
    MetricFacts(
        "flips_to_positive",
        _LOWER,
        _SHARE,
        "Share of rows that only the candidate decides positively.",
    ),
    MetricFacts(
        "flips_to_negative",
        _LOWER,
        _SHARE,
        "Share of rows that only the baseline decides positively.",
    ),
    MetricFacts("wins", _HIGHER, _ROWS, "Rows that only the candidate gets right."),
    MetricFacts("losses", _LOWER, _ROWS, "Rows that only the baseline gets right."),
    MetricFacts("win_loss_ratio", _HIGHER, _FROM_ZERO, "Rows won for each that is lost."),
    MetricFacts(
        "backward_trust",
        _HIGHER,
        _SHARE,
        "Share the candidate gets right of what the baseline got right.",
    ),
    MetricFacts(
        "backward_error",
        _LOWER,
        _SHARE,
        "Share the baseline got wrong too of what the candidate gets wrong.",
    ),
    MetricFacts(
        "mcnemar_statistic",
        None,
        _FROM_ZERO,
        "McNemar's chi-squared that wins and losses are equally likely.",
    ),
    MetricFacts(
        "mcnemar_corrected_statistic", None, _FROM_ZERO, "The same with Yates's correction."
    ),
    MetricFacts(
        "mcnemar_p_value",
        None,
        _SHARE,
        "Chance of wins and losses at least as uneven if both were equally likely.",
    ),
    MetricFacts("mcnemar_mid_p_value", None, _SHARE, "The same, with half the outcome's own."),
    # Drift of the scores.
    MetricFacts(
        "psi",
        _LOWER,
        _FROM_ZERO,
        "Population stability index of the scores over the baseline's deciles; compare with psi_noise.",
    ),
    MetricFacts(
        "psi_expected", None, _FROM_ZERO, "Index that two samples of one distribution would show."
    ),
    MetricFacts(
        "psi_noise", None, _FROM_ZERO, "Index that such samples exceed once in twenty times."
    ),
    MetricFacts(
        "js_distance",
        _LOWER,
        _SHARE,
        "Jensen-Shannon distance of the distributions of scores over the same deciles, base 2.",
    ),
    MetricFacts("ks_drift", _LOWER, _SHARE, "Largest distance of the two distributions of scores."),
    # Rows.
    MetricFacts("mean_prediction", None, "units of the prediction", "Mean of the predictions."),
    MetricFacts("rows", None, _ROWS, "Rows of the slice."),
    MetricFacts("valid_rows", None, _ROWS, "Rows that were evaluated."),
    MetricFacts("missing_labels", _LOWER, _ROWS, "Rows without a label."),
    MetricFacts("bad_labels", _LOWER, _ROWS, "Rows whose label is none of the task's."),
    MetricFacts("bad_weights", _LOWER, _ROWS, "Rows whose weight is no moderate number from 0."),
    MetricFacts("nan_scores", _LOWER, _ROWS, "Rows for which the version gave no number."),
    MetricFacts(
        "out_of_range_scores", _LOWER, _ROWS, "Rows whose prediction is beyond what it may be."
    ),
    MetricFacts(
        "unmatched_rows", _LOWER, _ROWS, "Saved rows of the version that the baseline lacks."
    ),
    MetricFacts(
        "inference_errors", _LOWER, _ROWS, "Rows that could not be read, or that a model failed at."
    ),
    MetricFacts(
        "repeated_keys", _LOWER, _ROWS, "Rows whose key, which should identify them, others share."
    ),
    MetricFacts("undefined_rows", _LOWER, _ROWS, "Rows for which a metric is not defined."),
)
_BY_NAME = {each.name: each for each in _FACTS}
# Their names hold a number of the options.
_PARAMETRISED = (
    MetricFacts(
        "partial_auc_*",
        _HIGHER,
        _SHARE,
        "AUC up to a false positive rate of *, scaled so that 0.5 is chance.",
    ),
    MetricFacts(
        "recall_at_precision_*",
        _HIGHER,
        _SHARE,
        "Largest recall of a threshold whose precision is at least *.",
    ),
    MetricFacts(
        "top_*_accuracy", _HIGHER, _SHARE, "Share of rows whose true class is among the * highest."
    ),
)
