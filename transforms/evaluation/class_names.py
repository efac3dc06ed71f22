"""The names of the classes, which scores and labels are put in order by."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.prediction_choice import PredictionChoice
from transforms.evaluation.slice_values import value_names


def class_names_of(rows: pa.RecordBatch, choice: PredictionChoice) -> tuple[str, ...]:
    """Returns the names of the classes as some rows of outputs tell them; empty if they do not.

    They are in the order in which the rows give them, or sorted where that differs from row to row.
    """
    if choice.classes is None:
        return ()
    column = rows.column(choice.classes).drop_null()
    names = value_names(column.flatten()).to_pylist()
    unique = tuple(dict.fromkeys(names))
    if names == list(unique) * len(column):
        return unique
    return tuple(sorted(unique, key=_class_order))


def _class_order(name: str) -> tuple[bool, int, str]:
    is_number = name.isdecimal()
    return (not is_number, int(name) if is_number else 0, name)


def common_class_names(
    rows: Mapping[str, pa.RecordBatch], choice: PredictionChoice, configured: Sequence[str] = ()
) -> tuple[str, ...]:
    """Returns the names of the classes in the order of the scores; empty if nobody names them.

    Args:
        rows: Some rows of outputs of each version, by its name; the baseline's first.
        choice: The output that is evaluated.
        configured: Names of the configuration; their order counts.

    Raises:
        InvalidArgumentError: Versions have other classes than each other, or than is configured.
    """
    own = {version: class_names_of(each, choice) for version, each in rows.items()}
    found = {version: names for version, names in own.items() if names}
    for version, names in found.items():
        if len(names) != choice.num_classes:
            raise InvalidArgumentError(
                f"version {version} gives scores of {choice.num_classes} classes a row, but rows name {len(names)} classes: {list(names[:10])}; only scores of all classes can be evaluated"
            )
    if not configured:
        _check_same_classes(found)
        return next(iter(found.values()), ())
    if len(set(configured)) != choice.num_classes:
        raise InvalidArgumentError(
            f"classes: {list(configured)} are {len(set(configured))} names, where {choice.prediction!r} has scores of {choice.num_classes} classes"
        )
    for version, names in found.items():
        if set(names) != set(configured):
            raise InvalidArgumentError(
                f"classes: {list(configured)} are expected, but version {version} has {list(names)}"
            )
    return tuple(configured)


def _check_same_classes(names: Mapping[str, Sequence[str]]) -> None:
    if not names:
        return
    first, *others = names
    for each in others:
        differing = sorted(set(names[first]) ^ set(names[each]))
        if differing:
            raise InvalidArgumentError(
                f"versions {first} and {each} have different classes: only one of them has {differing[:10]}; compare versions with the same classes"
            )
