"""What models predict: told by the output that is evaluated, and by the type of the labels."""

from collections.abc import Sequence

import pyarrow as pa

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.prediction_choice import PROBABILITY_NAMES, PredictionChoice, is_called
from transforms.evaluation.single_values import is_text, single_type
from transforms.metrics import Task

_QUANTITY_NAMES = ("value", "regression")
_REMEDY = "give --task=binary, multiclass or regression"


def infer_task(choice: PredictionChoice, label_type: pa.DataType | None) -> Task:
    """Returns what the models predict, where that is clear.

    Args:
        choice: The output.
        label_type: Of the labels; None if there are none.

    Raises:
        InvalidArgumentError: It is not; the message tells to give `--task`.
    """
    if choice.num_scores is not None:
        return Task.BINARY if choice.num_scores == 2 else Task.MULTICLASS
    is_truth = label_type is not None and (pa.types.is_boolean(label_type) or is_text(label_type))
    if is_truth or is_called(choice.prediction, PROBABILITY_NAMES):
        return Task.BINARY
    if is_called(choice.prediction, _QUANTITY_NAMES) and not _may_be_class(label_type):
        return Task.REGRESSION
    raise InvalidArgumentError(
        f"it is not clear what {choice.prediction!r} predicts, a probability or a quantity; {_REMEDY}"
    )


def _may_be_class(label_type: pa.DataType | None) -> bool:
    return label_type is not None and pa.types.is_integer(label_type)


def check_task(task: Task, choice: PredictionChoice) -> None:
    """Checks that the output can be of the task.

    Raises:
        InvalidArgumentError: It has another number of scores.
    """
    fits = {
        Task.BINARY: choice.num_scores in (None, 2),
        Task.MULTICLASS: choice.num_scores is not None,
        Task.REGRESSION: choice.num_scores is None,
    }
    if not fits[task]:
        raise InvalidArgumentError(
            f"--task={task.value}: {choice.prediction!r} has {choice.num_scores or 1} numbers a row, where {'several are' if task is Task.MULTICLASS else 'one is'} expected; name another with --prediction, or give another --task"
        )


def check_label(task: Task, label_type: pa.DataType, class_names: Sequence[str]) -> None:
    """Checks that labels can be of the task.

    Raises:
        InvalidArgumentError: They cannot; the message says what they should be.
    """
    label_type, types = single_type(label_type), pa.types
    is_number = types.is_integer(label_type) or types.is_floating(label_type)
    if is_number or types.is_boolean(label_type) or types.is_decimal(label_type):
        return
    if task is Task.REGRESSION or types.is_nested(label_type) or not is_text(label_type):
        raise InvalidArgumentError(
            f"labels are {label_type}, where {'numbers are' if task is Task.REGRESSION else 'one number or name a row is'} expected for --task={task.value}; give another --label or --task"
        )
    if not class_names:
        how = (
            "the negative one first, as classes: ['no', 'yes']"
            if task is Task.BINARY
            else "in the order of the scores, as classes: [cat, dog]"
        )
        raise InvalidArgumentError(
            f"labels are {label_type}, and the models do not name their classes; name them in the configuration, {how}"
        )
