"""What a user asks an evaluation for: a YAML file, and flags that override it."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import yaml

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.slices import SliceSpec, parse_slices_section
from transforms.metrics import Task
from transforms.storage import absolute_path, read_bytes

_TASKS = tuple(each.value for each in Task)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """What is compared, on what, and how.

    Attributes:
        baseline: Version, or label of one, that the others are compared with; None for the lowest.
        candidates: The other versions, or labels.
        task: None to tell it by the predictions and the labels.
        label: Column with the truth; None for differences and drift only.
        weight: Column with the rows' weights.
        prediction: Output of the models that is evaluated; None where it is clear.
        classes: Names of the classes in the order of the scores, where labels are names and the
            models do not say them.
        example_key: Column that identifies a row; None for its file and number.
        cluster_key: Column of what rows are dependent within, such as a user.
        slices: What the rows are broken down by.
        thresholds: Scores from which on a binary decision is positive.
        top_k: In how many of the highest classes the labelled one is looked for.
        quantiles: Of errors and differences.
        max_false_positive_rate: Of the partial AUC.
        min_precision: Of the recall at a precision.
        confidence_level: Of the intervals.
        min_slice_rows: Slices with fewer rows are listed, not scored.
        max_values_per_column: The most frequent values of a slice column; others are one slice.
        max_slices: More are an error.
        max_top_rows: Most different rows to keep for each slice and version.
        metrics: `package.module:function`, which returns metrics of your own.
        gate: The section of that name, unread; None without one.
        job: Flags that the file gives, by name.
    """

    baseline: str | None = None
    candidates: tuple[str, ...] = ()
    task: Task | None = None
    label: str | None = None
    weight: str | None = None
    prediction: str | None = None
    classes: tuple[str, ...] = ()
    example_key: str | None = None
    cluster_key: str | None = None
    slices: tuple[SliceSpec, ...] = ()
    thresholds: tuple[float, ...] = (0.5,)
    top_k: tuple[int, ...] = (1, 5)
    quantiles: tuple[float, ...] = (0.5, 0.9, 0.99)
    max_false_positive_rate: float = 0.1
    min_precision: float = 0.9
    confidence_level: float = 0.95
    min_slice_rows: int = 30
    max_values_per_column: int = 100
    max_slices: int = 10_000
    max_top_rows: int = 20
    metrics: str | None = None
    gate: Mapping[str, Any] | None = None
    job: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_thresholds()
        for name in ("thresholds", "quantiles", "top_k"):
            _check_distinct(name, getattr(self, name))
        for name in ("max_false_positive_rate", "min_precision", "confidence_level"):
            _check_share(name, getattr(self, name))
        for each in self.quantiles:
            _check_share("quantiles", each)
        counts = ("min_slice_rows", "max_values_per_column", "max_slices", "max_top_rows")
        for name in counts:
            _check_positive(name, getattr(self, name))
        for k in self.top_k:
            _check_positive("top_k", k)
        self._check_names()

    def _check_thresholds(self) -> None:
        if not self.thresholds:
            raise InvalidArgumentError("thresholds is empty: give at least one, such as 0.5")
        for each in self.thresholds:
            if not 0 <= each <= 1:  # nor NaN
                raise InvalidArgumentError(f"thresholds must lie between 0 and 1, got {each:g}")

    def _check_names(self) -> None:
        if self.baseline is not None and self.baseline in self.candidates:
            raise InvalidArgumentError(
                f"version {self.baseline} is the baseline and a candidate: compared with itself it is always equal; name another candidate, or give --aa to see how much equal runs differ"
            )
        for each in self.candidates:
            if self.candidates.count(each) > 1:
                raise InvalidArgumentError(f"version {each} is a candidate twice")
        if len(set(self.classes)) < len(self.classes):
            raise InvalidArgumentError(f"classes has a name twice: {', '.join(self.classes)}")

    @classmethod
    def parse(cls, document: object, place: str) -> Self:
        """Returns the config of a YAML document.

        Args:
            document: What the YAML parser made of it.
            place: Where it stands, for messages.

        Raises:
            InvalidArgumentError: A key is unknown, or a value not what it must be.
        """
        try:
            given = dict(_mapping("the file", {} if document is None else document))
            _check_known(given, _READERS)
            return cls(**{name: _READERS[name](name, value) for name, value in given.items()})
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{place}: {error}") from error

    def override(self, given: Mapping[str, Any]) -> Self:
        """Returns the config with the flags that were given instead of its own values."""
        return replace(self, **{name: each for name, each in given.items() if each is not None})

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the data that it names, each once."""
        names = (self.label, self.weight, self.example_key, self.cluster_key)
        of_slices = (column for spec in self.slices for column in spec.columns)
        return tuple(dict.fromkeys([each for each in names if each is not None] + [*of_slices]))


def read_evaluation_config(path: str) -> EvaluationConfig:
    """Reads a config file.

    Raises:
        InvalidArgumentError: There is no such file, or it is not what it must be.
    """
    place = f"--eval_config={path}"
    try:
        content = read_bytes(absolute_path(path))
    except IsADirectoryError as error:
        raise InvalidArgumentError(f"{place} is a directory; expected a YAML file") from error
    if content is None:
        raise InvalidArgumentError(f"{place}: there is no such file")
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{place} is no YAML: {_fault(error)}") from error
    return EvaluationConfig.parse(document, place)


def _fault(error: Exception) -> str:
    """Returns in one line where a file is wrong, and how."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"


def _check_known(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InvalidArgumentError(f"{name!r} is unknown{hint} (there are: {', '.join(known)})")


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise InvalidArgumentError(f"{name} must lie between 0 and 1, got {value:g}")


def _check_distinct(name: str, values: Sequence[float]) -> None:
    words = [f"{each:g}" for each in values]  # as metrics are named by them
    if len(set(words)) < len(words):
        raise InvalidArgumentError(f"{name} has a number twice: {', '.join(words)}")


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise InvalidArgumentError(f"{name} must be 1 or more, got {value}")


def _wrong(name: str, expected: str, value: object) -> InvalidArgumentError:
    return InvalidArgumentError(f"{name} must be {expected}, got {value!r}")


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(name, "a mapping of names to values", value)
    return value


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        raise _wrong(name, "a name (yes, no, on and off need quotes in YAML)", value)
    if not isinstance(value, str | int) or value == "":
        raise _wrong(name, "a name", value)
    return str(value)


def _number(name: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong(name, "a number", value)
    return float(value)


def _count(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(name, "a whole number", value)
    return value


def _several(read: Callable[[str, object], Any]) -> Callable[[str, object], tuple[Any, ...]]:
    def read_all(name: str, value: object) -> tuple[Any, ...]:
        items: Sequence[Any] = value if isinstance(value, list) else [value]
        return tuple(read(name, each) for each in items)

    return read_all


def _task(name: str, value: object) -> Task:
    if value not in _TASKS:
        raise _wrong(name, f"one of {', '.join(_TASKS)}", value)
    return Task(value)


def _slices(name: str, value: object) -> tuple[SliceSpec, ...]:
    if not isinstance(value, list):
        raise _wrong(name, "a list", value)
    return parse_slices_section(value)


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "baseline": _text,
    "candidates": _several(_text),
    "task": _task,
    "label": _text,
    "weight": _text,
    "prediction": _text,
    "classes": _several(_text),
    "example_key": _text,
    "cluster_key": _text,
    "slices": _slices,
    "thresholds": _several(_number),
    "top_k": _several(_count),
    "quantiles": _several(_number),
    "max_false_positive_rate": _number,
    "min_precision": _number,
    "confidence_level": _number,
    "min_slice_rows": _count,
    "max_values_per_column": _count,
    "max_slices": _count,
    "max_top_rows": _count,
    "metrics": _text,
    "gate": _mapping,
    "job": _mapping,
}
CONFIG_KEYS = tuple(_READERS)
