import pytest

from servable_core.errors import InvalidArgumentError
from tests.transforms.metrics.evaluated import Values, evaluation_of
from transforms.metrics import Task
from transforms.metrics.directions import DESCRIPTIONS, Direction, metric_direction


@pytest.mark.parametrize("task", list(Task))
def test_every_metric_has_a_direction_or_describes(task):
    evaluation = evaluation_of(task)
    for name in Values(evaluation, evaluation.create()).names() - DESCRIPTIONS:
        assert isinstance(metric_direction(name), Direction)


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("auc", Direction.HIGHER),
        ("top_5_accuracy", Direction.HIGHER),
        ("log_loss", Direction.LOWER),
        ("bias", Direction.TOWARDS_ZERO),
        ("calibration_slope", Direction.TOWARDS_ONE),
    ],
)
def test_the_direction_is_the_usual_one(metric, direction):
    assert metric_direction(metric) is direction


@pytest.mark.parametrize("metric", ["my_own", *sorted(DESCRIPTIONS)])
def test_others_have_to_be_told(metric):
    with pytest.raises(InvalidArgumentError, match="name the direction"):
        metric_direction(metric)
