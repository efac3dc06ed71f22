"""What is measured."""

from dataclasses import dataclass
from enum import Enum

from servable_core.errors import InvalidArgumentError
from transforms.metrics.columnar_family import ColumnarFamily
from transforms.metrics.key_blocks import NUM_BLOCKS
from transforms.metrics.metric_family import MetricFamily
from transforms.metrics.row_metric import RowMetric


class Task(Enum):
    """What the model predicts."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOptions:
    """What is measured.

    Attributes:
        task: What the model predicts: probabilities of the positive class, probabilities of the
            classes, or numbers.
        num_versions: Versions; the first is the baseline.
        num_classes: Of a multiclass task.
        is_labelled: Whether rows have labels; if not, only differences and drift are measured.
        is_weighted: Whether rows have weights.
        is_clustered: Whether blocks are of clusters whose rows are dependent.
        label_centre: A number near the labels' mean, which keeps R2 precise where that is large
            compared with their spread.
        thresholds: Scores from which on a binary decision is positive.
        top_k: In how many of the highest classes the labelled one is looked for.
        quantiles: Of errors and differences.
        max_false_positive_rate: Of the partial AUC.
        min_precision: Of the recall at a precision.
        max_top_rows: Most different rows to keep for each slice and version.
        max_distinct: Distributions with more distinct numbers are binned.
        num_blocks: Blocks of the jackknife.
        row_metrics: Means of your own.
        families: Families of metrics of your own.
    """

    task: Task
    num_versions: int
    num_classes: int = 2
    is_labelled: bool = True
    is_weighted: bool = False
    is_clustered: bool = False
    label_centre: float = 0.0
    thresholds: tuple[float, ...] = (0.5,)
    top_k: tuple[int, ...] = (1, 5)
    quantiles: tuple[float, ...] = (0.5, 0.9, 0.99)
    max_false_positive_rate: float = 0.1
    min_precision: float = 0.9
    max_top_rows: int = 20
    max_distinct: int = 4096
    num_blocks: int = NUM_BLOCKS
    row_metrics: tuple[RowMetric, ...] = ()
    families: tuple[MetricFamily | ColumnarFamily, ...] = ()

    def __post_init__(self) -> None:
        for name in ("num_versions", "num_blocks", "max_top_rows", "max_distinct"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.num_classes < 2:
            raise InvalidArgumentError(f"num_classes must be 2 or more, got {self.num_classes}")
        shares = (*self.quantiles, self.min_precision, self.max_false_positive_rate)
        if not all(0 < each < 1 for each in shares):
            raise InvalidArgumentError(
                f"quantiles and rates must lie between 0 and 1, got {shares}"
            )
