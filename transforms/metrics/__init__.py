"""Offline evaluation: what is measured, as states that merge in any order to the same bytes.

    EvaluationBatch ─▶ Evaluation.update ─▶ states ─▶ Evaluation.merge ─▶ Evaluation.finalise
    columns of rows    numpy, per batch     tables     any order           MetricValue

States are three kinds of exact sums (`Counters`, `FixedSums`, `Histogram`), the most different
rows (`TopRows`) and a sample of the rows' keys (`KeySample`); families of metrics own them. Slices, versions and blocks of the jackknife are
coordinates of their cells, not objects. Nothing here knows of Beam, files or models.
"""

from transforms.metrics.accumulator import Accumulator as Accumulator
from transforms.metrics.columnar_family import ColumnarFamily as ColumnarFamily
from transforms.metrics.curves import Curves as Curves
from transforms.metrics.curves import curves_of as curves_of
from transforms.metrics.directions import Direction as Direction
from transforms.metrics.estimate import Estimate as Estimate
from transforms.metrics.estimate import Method as Method
from transforms.metrics.estimates import Estimates as Estimates
from transforms.metrics.evaluation import Evaluation as Evaluation
from transforms.metrics.evaluation_batch import EvaluationBatch as EvaluationBatch
from transforms.metrics.evaluation_options import EvaluationOptions as EvaluationOptions
from transforms.metrics.evaluation_options import Task as Task
from transforms.metrics.key_blocks import key_blocks as key_blocks
from transforms.metrics.metric_catalogue import MetricFacts as MetricFacts
from transforms.metrics.metric_catalogue import metric_direction as metric_direction
from transforms.metrics.metric_catalogue import metric_facts as metric_facts
from transforms.metrics.metric_column import MetricColumn as MetricColumn
from transforms.metrics.metric_family import MetricFamily as MetricFamily
from transforms.metrics.metric_family import MetricValue as MetricValue
from transforms.metrics.metric_family import States as States
from transforms.metrics.row_means import MeanFunction as MeanFunction
from transforms.metrics.row_metric import RowMetric as RowMetric
from transforms.metrics.slice_columns import NO_SLICE as NO_SLICE
from transforms.metrics.state import State as State
from transforms.metrics.task_families import create_evaluation as create_evaluation
from transforms.metrics.top_rows import TopRow as TopRow
from transforms.metrics.top_rows import top_rows as top_rows
from transforms.metrics.transitions import Transition as Transition
from transforms.metrics.transitions import transitions as transitions
