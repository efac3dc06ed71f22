"""Which output of the models is evaluated: told by names, shapes and types.

    choice = choose_prediction(signature.outputs, wanted=None)     # of the baseline
    choice = choose_prediction(output_specs(rows, excluded), ...)  # of saved predictions
    check_same_outputs({"7": outputs, "8": others}, choice)        # of all versions

`class_names` and `task_choice` go on from there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import TensorSpec
from transforms.binding import closest
from transforms.evaluation.prediction_arrays import are_lists
from transforms.evaluation.single_values import is_text

_TEXT = "string"
# The best first; a name counts also where it ends one, as those of several heads do.
_USUAL_NAMES = (
    "probabilities",
    "probability",
    "probs",
    "prob",
    "scores",
    "score",
    "predictions",
    "prediction",
    "value",
)
PROBABILITY_NAMES = _USUAL_NAMES[:4]


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionChoice:
    """The output that is evaluated.

    Attributes:
        prediction: Its name, which is its column's.
        num_scores: Scores of a row; None where it is one number.
        classes: Output with the name of the class of each score, or None.
    """

    prediction: str
    num_scores: int | None = None
    classes: str | None = None

    @property
    def num_classes(self) -> int:
        """Classes; 2 where the prediction is one number."""
        return self.num_scores or 2

    @property
    def columns(self) -> tuple[str, ...]:
        """Outputs that must be there."""
        return (self.prediction,) if self.classes is None else (self.prediction, self.classes)


def output_specs(rows: pa.RecordBatch, excluded: Sequence[str] = ()) -> tuple[TensorSpec, ...]:
    """Returns the outputs that columns hold, as a signature would tell them.

    Args:
        rows: Some rows; one at least, where lists may be of any length.
        excluded: Columns that are no outputs: labels, keys, what was passed through.
    """
    return tuple(
        TensorSpec(name=name, dtype=_dtype(column.type), shape=(None, *_row_shape(column)))
        for name, column in zip(rows.schema.names, rows.columns, strict=True)
        if name not in excluded
    )


def _dtype(data_type: pa.DataType) -> str:
    while pa.types.is_nested(data_type) and data_type.num_fields == 1:
        data_type = data_type.field(0).type
    names = {"float": "float32", "double": "float64", "halffloat": "float16"}
    return _TEXT if is_text(data_type) else names.get(str(data_type), str(data_type))


def _row_shape(column: pa.Array) -> tuple[int | None, ...]:
    shape: list[int | None] = []
    while are_lists(column.type):
        lengths = pc.unique(pc.list_value_length(column).drop_null())
        shape.append(lengths[0].as_py() if len(lengths) == 1 else None)
        column = column.flatten()
    return tuple(shape)


def choose_prediction(
    outputs: Sequence[TensorSpec],
    wanted: str | None = None,
    class_names: Sequence[str] = (),
) -> PredictionChoice:
    """Returns the output to evaluate.

    Args:
        outputs: Of one version.
        wanted: `--prediction`; None for the only one that can be meant.
        class_names: Of the configuration; their number is that of the scores, where outputs do not
            tell it.

    Raises:
        InvalidArgumentError: There is none of that name, or it is not clear which is meant.
    """
    found = _wanted(outputs, wanted) if wanted else _likeliest(outputs)
    num_scores = _num_scores(found, len(class_names) or None)
    classes = _classes_of(found, outputs) if num_scores is not None else None
    return PredictionChoice(prediction=found.name, num_scores=num_scores, classes=classes)


def _wanted(outputs: Sequence[TensorSpec], wanted: str) -> TensorSpec:
    by_name = {each.name: each for each in outputs}
    if wanted not in by_name:
        raise InvalidArgumentError(
            f"--prediction={wanted} is not among the outputs{closest(wanted, list(by_name))}"
        )
    if by_name[wanted].dtype == _TEXT:
        raise InvalidArgumentError(
            f"--prediction={wanted} is {by_name[wanted]}, where numbers are expected{_listed(outputs)}"
        )
    return by_name[wanted]


def _likeliest(outputs: Sequence[TensorSpec]) -> TensorSpec:
    numbers = [each for each in outputs if each.dtype.startswith(("float", "bfloat"))]
    numbers = numbers or [each for each in outputs if each.dtype.startswith(("int", "uint"))]
    if len(numbers) == 1:
        return numbers[0]
    for usual in _USUAL_NAMES:
        named = [each for each in numbers if is_called(each.name, (usual,))]
        if len(named) == 1:
            return named[0]
        if named:
            break
    raise InvalidArgumentError(
        f"it is not clear which output to evaluate; name it with --prediction{_listed(outputs)}"
    )


def _listed(outputs: Sequence[TensorSpec]) -> str:
    return f"; there are: {', '.join(map(str, outputs)) or 'none'}"


def _num_scores(output: TensorSpec, known: int | None) -> int | None:
    shape = output.shape
    if shape is None or len(shape) > 2:
        raise InvalidArgumentError(
            f"output {output} cannot be evaluated, where [rows] or [rows, classes] is expected; name another with --prediction"
        )
    if len(shape) == 1 or shape[1] == 1:
        return None
    num_scores = shape[1] or known
    if num_scores is None:
        raise InvalidArgumentError(
            f"output {output} does not tell how many classes there are; name them in the configuration, as classes: [cat, dog]"
        )
    return num_scores


def _classes_of(output: TensorSpec, outputs: Sequence[TensorSpec]) -> str | None:
    names = {each.name for each in outputs if each.dtype == _TEXT}
    wanted = (output.name.removesuffix("scores") + "classes", "classes")
    return next((each for each in wanted if each in names), None)


def check_same_outputs(
    outputs: Mapping[str, Sequence[TensorSpec]], choice: PredictionChoice
) -> None:
    """Checks that all versions have the output, in the same shape.

    Args:
        outputs: Of each version, by its name.
        choice: Made of one of them.

    Raises:
        InvalidArgumentError: One has not.
    """
    for version, own in outputs.items():
        by_name = {each.name: each for each in own}
        for name in choice.columns:
            if name not in by_name:
                raise InvalidArgumentError(
                    f"version {version} has no output {name!r}, which the others have; name one that all have with --prediction{_listed(own)}"
                )
        found = by_name[choice.prediction]
        if _num_scores(found, choice.num_scores) != choice.num_scores:
            raise InvalidArgumentError(
                f"versions differ in the output that is compared: version {version} has {found}, where {choice.num_scores or 1} numbers a row are expected"
            )


def is_called(name: str, usual: Sequence[str]) -> bool:
    """Whether an output has one of some names, or ends in it as those of several heads do."""
    return any(name == each or name.endswith(f"_{each}") for each in usual)
