import pyarrow as pa
import pytest

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.prediction_choice import PredictionChoice
from transforms.evaluation.task_choice import check_label, check_task, infer_task
from transforms.metrics import Task

_NUMBER = PredictionChoice(prediction="x")


class TestInferTask:
    @pytest.mark.parametrize(
        ("choice", "label_type", "task"),
        [
            (PredictionChoice(prediction="x", num_scores=2), None, Task.BINARY),
            (PredictionChoice(prediction="x", num_scores=3), pa.int64(), Task.MULTICLASS),
            (PredictionChoice(prediction="probability"), None, Task.BINARY),
            (PredictionChoice(prediction="click_prob"), pa.float32(), Task.BINARY),
            (_NUMBER, pa.bool_(), Task.BINARY),
            (_NUMBER, pa.string(), Task.BINARY),
            (PredictionChoice(prediction="value"), pa.float64(), Task.REGRESSION),
        ],
    )
    def test_clear(self, choice, label_type, task):
        """The number of scores tells, or the label's type, or the name."""
        assert infer_task(choice, label_type) is task

    @pytest.mark.parametrize("label_type", [None, pa.int64(), pa.float64()])
    def test_not_clear(self, label_type):
        """A number may be a probability or a quantity."""
        with pytest.raises(InvalidArgumentError, match=r"not clear what 'x' predicts.*--task"):
            infer_task(_NUMBER, label_type)


class TestCheckTask:
    def test_fits(self):
        """One number, or two scores, for binary; one for regression; several for multiclass."""
        two, three = (PredictionChoice(prediction="x", num_scores=each) for each in (2, 3))
        for task, choice in (
            (Task.BINARY, _NUMBER),
            (Task.BINARY, two),
            (Task.MULTICLASS, two),
            (Task.MULTICLASS, three),
            (Task.REGRESSION, _NUMBER),
        ):
            check_task(task, choice)

    @pytest.mark.parametrize(
        ("task", "num_scores"), [(Task.BINARY, 3), (Task.MULTICLASS, None), (Task.REGRESSION, 2)]
    )
    def test_does_not_fit(self, task, num_scores):
        """The message says what there is and what was expected."""
        with pytest.raises(InvalidArgumentError, match=r"numbers a row, where .* expected"):
            check_task(task, PredictionChoice(prediction="x", num_scores=num_scores))


class TestCheckLabel:
    def test_fits(self):
        """Numbers and bools for all tasks; names where classes have names."""
        check_label(Task.REGRESSION, pa.float32(), ())
        check_label(Task.BINARY, pa.bool_(), ())
        check_label(Task.BINARY, pa.list_(pa.int64(), 1), ())
        check_label(Task.MULTICLASS, pa.dictionary(pa.int8(), pa.string()), ("a", "b"))

    @pytest.mark.parametrize(
        ("task", "label_type", "reason"),
        [
            (Task.REGRESSION, pa.string(), "where numbers are expected"),
            (Task.BINARY, pa.list_(pa.int64(), 2), "one number or name a row"),
            (Task.BINARY, pa.timestamp("s"), "one number or name a row"),
            (Task.MULTICLASS, pa.string(), r"as classes: \[cat, dog\]"),
        ],
    )
    def test_does_not_fit(self, task, label_type, reason):
        """Anything else is refused before a row is read."""
        with pytest.raises(InvalidArgumentError, match=reason):
            check_label(task, label_type, ())
