"""Metrics held as columns are the metrics that were put in."""

import math

import pytest

from transforms.evaluation.metric_columns import MetricColumns, Series
from transforms.evaluation.metric_result import MetricResult
from transforms.metrics import Estimate, Method

GERMANY = (("country", "DE"),)
_ESTIMATES = (
    Estimate(value=0.75, standard_error=0.01, method=Method.DELONG),
    Estimate(value=0.7, standard_error=0.02, degrees_of_freedom=31, method=Method.JACKKNIFE),
    Estimate(value=0.5, standard_error=0.1, lower_bound=0.4, upper_bound=0.7, method=Method.DELTA),
    Estimate(value=0.1, method=Method.WILSON, effective_rows=40.0),
    Estimate(
        value=0.98, method=Method.WILSON, effective_rows=60, lower_bound=0.97, upper_bound=0.99
    ),
    Estimate(value=0.2),
    Estimate(value=math.nan),
)


def _metric(metric="auc", estimate=_ESTIMATES[0], **fields):
    return MetricResult(**{"version": 2, "num_rows": 9, **fields}, metric=metric, estimate=estimate)


_METRICS = (
    _metric(),
    _metric(is_difference=True),
    _metric("f1", sub_key="threshold=0.5", estimate=_ESTIMATES[1]),
    _metric("f1", sub_key="threshold=0.5", slice=GERMANY, num_rows=4),
    _metric(slice=GERMANY, version=3),
)


def test_metrics_come_back_in_their_order():
    columns = MetricColumns.of(iter(_METRICS))
    assert tuple(columns) == _METRICS
    assert columns == list(_METRICS)
    assert (columns[0], columns[-1], columns[1:3]) == (_METRICS[0], _METRICS[-1], _METRICS[1:3])
    assert len(columns) == len(_METRICS)
    with pytest.raises(IndexError):
        columns[len(_METRICS)]


def test_metrics_are_found():
    columns = MetricColumns.of(_METRICS)
    for each in _METRICS:
        series = Series(each.metric, each.sub_key, each.version, each.is_difference)
        assert columns.find(series, each.slice) == each
    assert columns.find(Series("auc", "", 2, False), GERMANY) is None
    assert columns.find(Series("auc", "", 4, False), ()) is None
    assert columns.find(Series("auc", "", 2, False), (("country", "FR"),)) is None
    assert tuple(columns.of_slice(GERMANY)) == _METRICS[3:]
    assert tuple(columns.of_slice((("country", "FR"),))) == ()


def test_of_equal_ones_the_last_is_found():
    columns = MetricColumns.of([_metric(), _metric(estimate=_ESTIMATES[1])])
    assert columns.find(Series("auc", "", 2, False), ()).estimate == _ESTIMATES[1]


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_intervals_are_those_of_the_estimates(level):
    columns = MetricColumns.of(_metric(estimate=each) for each in _ESTIMATES)
    expected = [each.interval(level) for each in _ESTIMATES]
    for found, place in zip(columns.intervals(level), (0, 1), strict=True):
        assert found.tolist() == pytest.approx([each[place] for each in expected], nan_ok=True)
    errors = [each.certified_error for each in _ESTIMATES]
    assert columns.certified_errors().tolist() == pytest.approx(errors, nan_ok=True)


def test_no_metrics():
    columns = MetricColumns.of(())
    assert (len(columns), list(columns), list(columns.of_slice(()))) == (0, [], [])
    assert columns.find(Series("auc", "", 2, False), ()) is None
    assert columns.intervals(0.95)[0].size == 0
