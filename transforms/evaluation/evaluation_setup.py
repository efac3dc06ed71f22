"""What an evaluation measures, decided: what workers, and whoever reads its states, must know."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.failed_rows import FailedRows
from transforms.evaluation.repeated_keys import RepeatedKeys
from transforms.evaluation.unmatched_rows import UnmatchedRows
from transforms.metrics import EvaluationOptions, MetricFamily, RowMetric, Task
from transforms.user_functions import import_function

_TUPLES = ("versions", "num_saved_rows", "class_names", "thresholds", "top_k", "quantiles")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSetup:
    """What an evaluation measures.

    Attributes:
        model_name: The model.
        versions: Its versions, the baseline first.
        num_saved_rows: Rows that were saved of each version; empty where models predict.
        task: What it predicts.
        num_classes: Of a multiclass task.
        class_names: In the order of the scores; empty where nobody has named them.
        is_labelled: Whether rows have labels.
        is_weighted: Whether rows have weights.
        is_clustered: Whether rows are dependent within clusters.
        has_example_key: Whether a column is there to identify rows; other rows with its value are told.
        label_centre: A number near the labels' mean.
        thresholds: Scores from which on a binary decision is positive.
        top_k: In how many of the highest classes the labelled one is looked for.
        quantiles: Of errors and differences.
        max_false_positive_rate: Of the partial AUC.
        min_precision: Of the recall at a precision.
        confidence_level: Of the intervals.
        min_slice_rows: Slices with fewer rows are listed, not scored.
        max_top_rows: Most different rows to keep for each slice and version.
        metrics: `package.module:function`, which returns metrics of your own.
    """

    model_name: str
    versions: tuple[int, ...]
    task: Task
    num_saved_rows: tuple[int, ...] = ()
    num_classes: int = 2
    class_names: tuple[str, ...] = ()
    is_labelled: bool = True
    is_weighted: bool = False
    is_clustered: bool = False
    has_example_key: bool = False
    label_centre: float = 0.0
    thresholds: tuple[float, ...] = (0.5,)
    top_k: tuple[int, ...] = (1, 5)
    quantiles: tuple[float, ...] = (0.5, 0.9, 0.99)
    max_false_positive_rate: float = 0.1
    min_precision: float = 0.9
    confidence_level: float = 0.95
    min_slice_rows: int = 30
    max_top_rows: int = 20
    metrics: str | None = None

    @property
    def failed_rows(self) -> FailedRows:
        """What counts the rows that have no prediction."""
        return FailedRows(num_versions=len(self.versions))

    @property
    def unmatched_rows(self) -> UnmatchedRows:
        """What counts the saved rows that the baseline lacks."""
        return UnmatchedRows(num_saved_rows=self.num_saved_rows)

    def options(self) -> EvaluationOptions:
        """Returns the options of the metrics.

        Raises:
            InvalidArgumentError: `metrics` names no function that returns metrics.
            NotFoundError: It names nothing at all.
        """
        own = _own_metrics(self.metrics)
        return EvaluationOptions(
            task=self.task,
            num_versions=len(self.versions),
            num_classes=self.num_classes,
            is_labelled=self.is_labelled,
            is_weighted=self.is_weighted,
            is_clustered=self.is_clustered,
            label_centre=self.label_centre,
            thresholds=self.thresholds,
            top_k=tuple(k for k in self.top_k if k < max(self.num_classes, 2)),
            quantiles=self.quantiles,
            max_false_positive_rate=self.max_false_positive_rate,
            min_precision=self.min_precision,
            max_top_rows=self.max_top_rows,
            row_metrics=tuple(each for each in own if isinstance(each, RowMetric)),
            families=(
                self.failed_rows,
                *((self.unmatched_rows,) if self.num_saved_rows else ()),
                *((RepeatedKeys(num_versions=len(self.versions)),) if self.has_example_key else ()),
                *(each for each in own if not isinstance(each, RowMetric)),
            ),
        )

    def to_document(self) -> dict[str, Any]:
        """Returns the setup as JSON has it."""
        return {**asdict(self), "task": self.task.value}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Returns the setup of which `document` was made.

        Raises:
            KeyError: A field is missing.
        """
        given = {each.name: document[each.name] for each in fields(cls)}
        lists = {name: tuple(given[name]) for name in _TUPLES}
        return cls(**{**given, **lists, "task": Task(document["task"])})


def _own_metrics(reference: str | None) -> Sequence[RowMetric | MetricFamily]:
    if reference is None:
        return ()
    make = import_function("--metrics", reference, "a function that returns metrics")
    try:
        return tuple(make())
    except Exception as error:
        raise InvalidArgumentError(
            f"--metrics={reference} must return a list of metrics: {type(error).__name__}: {error}"
        ) from error
