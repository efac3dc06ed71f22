"""From parsed flags to the values that options take."""

from collections.abc import Sequence
from typing import Any

from servable_core.config import BatchingParameters, read_batching_parameters
from transforms.execution import ExecutionOptions
from transforms.storage import absolute_path, file_system_for

_LISTS = ("input", "input_map", "passthrough", "output_tensors", "pad_values")


def take_execution(known: dict[str, Any]) -> ExecutionOptions:
    """Takes the flags out of `known` that say how workers run, and returns the options they make.

    What a file of batching parameters says of padding is added to `known` where no flag says it.
    """
    names = ExecutionOptions.__dataclass_fields__
    execution = {name: known.pop(name) for name in list(known) if name in names}
    given = {name: value for name, value in execution.items() if value is not None}
    if known["batching_parameters_file"]:
        said = read_parameters_file(known["batching_parameters_file"])
        given["batching_parameters"] = said
        take_padding(known, said)
    return ExecutionOptions(**given)


def flatten_lists(known: dict[str, Any]) -> None:
    """Makes tuples of the flags that can be given several times, or have commas in them."""
    for name in _LISTS:
        if known.get(name) is not None:
            known[name] = tuple(flatten(name, known[name]))


def flatten(name: str, values: Sequence[str]) -> list[str]:
    """Splits comma-separated entries, but not within the brackets of an input map."""
    if name in ("input", "input_map"):
        return list(values)
    return [part for value in values for part in value.split(",") if part]


def take_padding(known: dict[str, Any], said: BatchingParameters) -> None:
    """Lets a file of batching parameters say what no flag says of padding."""
    if known["pad_variable_length_inputs"] is None:
        known["pad_variable_length_inputs"] = said.pad_variable_length_inputs or None


def read_parameters_file(path: str) -> BatchingParameters:
    """Returns what a file of batching parameters says."""
    where = absolute_path(path)
    return read_batching_parameters(where, file_system=file_system_for(where))
