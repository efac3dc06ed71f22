import pytest

from servable_core.errors import InvalidArgumentError
from tests.transforms.metrics.evaluated import Values, evaluation_of
from transforms.metrics import (
    Direction,
    MetricFacts,
    RowMetric,
    Task,
    metric_direction,
    metric_facts,
)


@pytest.mark.parametrize("task", list(Task))
def test_every_metric_is_described(task):
    evaluation = evaluation_of(task)
    for name in Values(evaluation, evaluation.create()).names():
        found = metric_facts(name)
        assert found.name == name
        assert found.values, name
        assert found.description.endswith("."), name
        assert "*" not in found.description


def test_no_metric_is_described_twice():
    from transforms.metrics.metric_catalogue import _FACTS

    names = [each.name for each in _FACTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("auc", Direction.HIGHER),
        ("top_5_accuracy", Direction.HIGHER),
        ("partial_auc_0.1", Direction.HIGHER),
        ("log_loss", Direction.LOWER),
        ("bias", Direction.TOWARDS_ZERO),
        ("calibration_slope", Direction.TOWARDS_ONE),
    ],
)
def test_the_direction_is_the_usual_one(metric, direction):
    assert metric_direction(metric) is direction


@pytest.mark.parametrize("metric", ["my_own", "top_secret", "valid_rows", "mcnemar_p_value"])
def test_others_have_to_be_told(metric):
    with pytest.raises(InvalidArgumentError, match="name the direction"):
        metric_direction(metric)


def test_a_number_in_the_name_is_told():
    assert metric_facts("top_3_accuracy").description == (
        "Share of rows whose true class is among the 3 highest."
    )


def test_metrics_of_your_own_describe_themselves():
    mine = RowMetric(
        "cost",
        lambda batch: batch.predictions,
        direction=Direction.LOWER,
        unit="euros",
        description="Mean cost of a row.",
    )
    expected = MetricFacts("cost", Direction.LOWER, "euros", "Mean cost of a row.")
    assert metric_facts("cost", [mine]) == expected
    assert metric_direction("cost", [mine]) is Direction.LOWER
    assert metric_facts("cost") == MetricFacts("cost")
