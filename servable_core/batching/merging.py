"""Inputs of tasks to inputs of a batch."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from servable_core.batching.ragged_array import RaggedArray, concat_ragged
from servable_core.batching.session_task import SessionTask
from servable_core.errors import InvalidArgumentError

Concat = Callable[[Sequence[Any]], Any]


def num_rows(inputs: Mapping[str, Any], session_name: str, unbatched: Collection[str] = ()) -> int:
    """Returns the first dimension that all of `inputs` share, those in `unbatched` aside.

    Raises:
        InvalidArgumentError: There is no input, one has no first dimension, or they differ; or one
            in `unbatched` is no array.
    """
    rows = None
    for name, value in inputs.items():
        if name in unbatched:
            _check_array(name, value, session_name)
            continue
        shape: Sequence[int] = getattr(value, "shape", ())
        if not len(shape):
            raise InvalidArgumentError(
                f"{session_name}: input {name!r} must be an array with the batch as first dimension, got {value!r}"
            )
        if rows is None:
            rows = shape[0]
        elif shape[0] != rows:
            shapes = {name: tuple(value.shape) for name, value in inputs.items()}
            raise InvalidArgumentError(
                f"{session_name}: inputs must be equal in their first dimension, got {shapes}"
            )
    if rows is None:
        raise InvalidArgumentError(f"{session_name}: inputs must hold at least one array, got none")
    return int(rows)


def group_by_layout(
    tasks: Sequence[SessionTask], unbatched: Collection[str] = ()
) -> list[list[SessionTask]]:
    """Groups tasks whose inputs can be concatenated without changing any of them.

    Inputs of one group agree in names, dtypes and dimensions after the first, and those in
    `unbatched` in their values. Tasks that differ get a model call of their own, so no task fails,
    or changes its numbers, by its neighbours. So do tasks without rows: none would be left to run
    them with if all their neighbours fail.
    """
    if len(tasks) < 2:
        return [list(tasks)] if tasks else []
    first = _layout(tasks[0], unbatched)
    if all(_layout(task, unbatched) == first for task in tasks[1:]):  # as almost always
        return [list(tasks)]
    groups: list[tuple[Any, list[SessionTask]]] = []
    for task in tasks:
        own = _layout(task, unbatched)
        for layout, group in groups:
            if layout == own:
                group.append(task)
                break
        else:
            groups.append((own, [task]))
    return [group for _, group in groups]


def merge_inputs(
    tasks: Sequence[SessionTask], concat: Concat, unbatched: Collection[str] = ()
) -> Mapping[str, Any]:
    """Returns the inputs of a batch: those of a single task as they are, of several concatenated."""
    first = tasks[0].inputs
    if len(tasks) == 1:
        return first
    return {
        name: value
        if name in unbatched
        else concat_values([task.inputs[name] for task in tasks], concat)
        for name, value in first.items()
    }


def concat_values(values: Sequence[Any], concat: Concat) -> Any:
    """Joins the values of one input along the first dimension."""
    return concat_ragged(values) if isinstance(values[0], RaggedArray) else concat(values)


def _layout(task: SessionTask, unbatched: Collection[str]) -> tuple[bool, dict[str, Any]]:
    return task.num_rows > 0, {
        name: _content(value)
        if name in unbatched
        else (getattr(value, "dtype", None), value.shape[1:])
        for name, value in task.inputs.items()
    }


def _check_array(name: str, value: Any, session_name: str) -> None:
    try:
        np.asarray(value)
    except ValueError as error:
        raise InvalidArgumentError(
            f"{session_name}: input {name!r} must be an array, got {value!r}: {error}"
        ) from error


def _content(value: Any) -> tuple[Any, ...]:
    array = np.asarray(value)
    # Of objects, the bytes would be their addresses.
    return array.dtype, array.shape, array.tolist() if array.dtype.hasobject else array.tobytes()
