"""Inputs of tasks to inputs of a batch, and outputs of a batch to outputs of tasks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from servable_core.batching.session_task import Outputs, SessionTask
from servable_core.errors import InvalidArgumentError


def num_rows(inputs: Mapping[str, Any], session_name: str) -> int:
    """Returns the first dimension that all of `inputs` share.

    Raises:
        InvalidArgumentError: There is no input, one has no first dimension, or they differ.
    """
    rows = None
    for name, value in inputs.items():
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


def group_by_layout(tasks: Sequence[SessionTask]) -> list[list[SessionTask]]:
    """Groups tasks whose inputs can be concatenated without changing any of them.

    Inputs of one group agree in names, dtypes and dimensions after the first. Tasks that differ
    get a model call of their own, so no task fails, or changes its numbers, by its neighbours.
    """
    if len(tasks) < 2:
        return [list(tasks)] if tasks else []
    layouts: list[Any] = []
    groups: list[list[SessionTask]] = []
    for task in tasks:
        layout = _layout(task)
        if layout in layouts:
            groups[layouts.index(layout)].append(task)
        else:
            layouts.append(layout)
            groups.append([task])
    return groups


def merge_inputs(
    tasks: Sequence[SessionTask], concat: Callable[[Sequence[Any]], Any]
) -> Mapping[str, Any]:
    """Returns the inputs of a batch: those of a single task as they are, of several concatenated."""
    first = tasks[0].inputs
    if len(tasks) == 1:
        return first
    return {name: concat([task.inputs[name] for task in tasks]) for name in first}


def split_outputs(
    outputs: Mapping[str, np.ndarray], tasks: Sequence[SessionTask], session_name: str
) -> list[Outputs]:
    """Returns the outputs of each task: views of its rows, no copies.

    Raises:
        InvalidArgumentError: An output does not have the rows of the batch as first dimension.
    """
    batch_rows = sum([task.num_rows for task in tasks])
    for name, value in outputs.items():
        if not value.shape or value.shape[0] != batch_rows:
            raise InvalidArgumentError(
                f"{session_name}: output {name!r} has shape {tuple(value.shape)} for a batch of "
                f"{batch_rows} rows; outputs need the batch as first dimension; leave it out with --output_tensors"
            )
    if len(tasks) == 1:
        return [dict(outputs)]
    results: list[Outputs] = []
    start = 0
    for task in tasks:
        end = start + task.num_rows
        results.append({name: value[start:end] for name, value in outputs.items()})
        start = end
    return results


def _layout(task: SessionTask) -> dict[str, tuple[Any, Any]]:
    return {
        name: (getattr(value, "dtype", None), value.shape[1:])
        for name, value in task.inputs.items()
    }
