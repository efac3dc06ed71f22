"""The options of an evaluation, from its flags and its configuration file."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.evaluate_flags import flags_as_arguments
from pipelines.evaluate_options import EvaluateOptions
from pipelines.flag_values import flatten, flatten_lists, take_execution
from servable_core.errors import InvalidArgumentError
from transforms.evaluation.evaluation_config import EvaluationConfig, read_evaluation_config
from transforms.evaluation.slices import parse_slice
from transforms.lineage import command_line
from transforms.metrics import Task

_CONFIG_FLAGS = (
    "baseline",
    "label",
    "weight",
    "prediction",
    "example_key",
    "cluster_key",
    "thresholds",
    "metrics",
)
_JOB_FLAGS = ("take_over", "verbose", "aa")


def evaluate_options(
    parser: argparse.ArgumentParser,
    known: Mapping[str, Any],
    beam_args: Sequence[str],
    args: Sequence[str],
) -> EvaluateOptions:
    """Returns the options that flags, and the file of `--eval_config`, make together.

    Args:
        parser: Of the flags.
        known: The flags that were given.
        beam_args: Beam's.
        args: The whole command line, for the lineage.

    Raises:
        InvalidArgumentError: A flag or an entry of the file is wrong.
    """
    flags = dict(known)
    config = EvaluationConfig()
    path = flags.pop("eval_config")
    if path:
        config = read_evaluation_config(path)
        flags = {**_job_flags(parser, config, path), **_given(flags)}
    flags = {**dict.fromkeys(known), **flags}
    flags.pop("eval_config", None)
    config = config.override(_take_config(flags))
    execution = take_execution(flags)
    flags.pop("batching_parameters_file")
    flatten_lists(flags)
    job = {name: bool(flags.pop(name)) for name in _JOB_FLAGS}
    return EvaluateOptions(
        output=flags.pop("output") or "",
        if_exists=flags.pop("if_exists") or "error",
        predictions=tuple(flags.pop("predictions") or ()),
        config=config,
        models=_given(flags),
        execution=execution,
        beam_args=tuple(beam_args),
        command_line=command_line(["run_pipeline.py", "evaluate", *args]),
        **job,
    )


def _job_flags(
    parser: argparse.ArgumentParser, config: EvaluationConfig, path: str
) -> dict[str, Any]:
    """Returns the flags that the file gives."""
    arguments = flags_as_arguments(dict(config.job))
    try:
        known, unknown = parser.parse_known_args(arguments)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"--eval_config={path}: job: {error}") from error
    if unknown:
        raise InvalidArgumentError(
            f"--eval_config={path}: job: {unknown[0].lstrip('-').partition('=')[0]!r} is no flag of evaluate"
        )
    return _given(vars(known))


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the flags that were given: `--verbose` is False where it was not."""
    return {name: value for name, value in flags.items() if value not in (None, False)}


def _take_config(flags: dict[str, Any]) -> dict[str, Any]:
    """Takes the flags that are entries of the configuration, and returns what they say."""
    said = {name: flags.pop(name) for name in _CONFIG_FLAGS}
    candidates, slices, task = (flags.pop(name) for name in ("candidate", "slice", "task"))
    if candidates:
        said["candidates"] = tuple(flatten("candidate", candidates))
    if slices:
        said["slices"] = tuple(parse_slice(each) for each in slices)
    if task:
        said["task"] = _task(task)
    return said


def _task(text: str) -> Task:
    names = [each.value for each in Task]
    if text not in names:
        raise InvalidArgumentError(f"--task must be one of {', '.join(names)}, got {text!r}")
    return Task(text)
