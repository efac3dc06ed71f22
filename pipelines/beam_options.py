"""Beam's side of the command line: which flags it knows, which runner a job gets, and its options."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from servable_core.errors import InvalidArgumentError

_LOCAL_RUNNERS = frozenset({"direct", "fnapi", "switchingdirect"})
_TEMPLATE_RUNNER = "dataflow"
_IN_PROCESS_MODES = frozenset({"in_memory", "multi_threading"})
LOCAL_WORKERS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class RunnerChoice:
    """Where a job runs.

    Attributes:
        name: Beam's name of the runner.
        args: All of Beam's arguments.
        is_in_process: Whether workers are threads of this process.
        is_local: Whether workers run on this machine, with this environment.
        template_location: Where the job is written as a template instead of being run, or None.
    """

    name: str
    args: tuple[str, ...]
    is_in_process: bool
    is_local: bool
    template_location: str | None = None


def choose_runner(beam_args: Sequence[str]) -> RunnerChoice:
    """Returns the runner that `beam_args` ask for; local jobs get FnApiRunner.

    Beam's DirectRunner tries to download another engine first and falls back when offline, so that
    one command would run differently from machine to machine; FnApiRunner never does.

    Raises:
        InvalidArgumentError: A template is asked for, and the runner has none.
    """
    runner = flag_value(beam_args, "runner") or "DirectRunner"
    template_location = flag_value(beam_args, "template_location")
    if template_location and _short_name(runner) != _TEMPLATE_RUNNER:
        raise InvalidArgumentError(
            f"--template_location needs --runner=DataflowRunner; {runner} writes no templates"
        )
    if _short_name(runner) not in _LOCAL_RUNNERS or flag_value(beam_args, "prism_location"):
        return RunnerChoice(
            name=runner,
            args=(*beam_args, *_dataflow_defaults(runner, beam_args)),
            is_in_process=False,
            is_local=False,
            template_location=template_location,
        )
    mode = flag_value(beam_args, "direct_running_mode") or "in_memory"
    others = [each for each in beam_args if not each.startswith("--runner=")]
    args = ["--runner=FnApiRunner", *others]
    if flag_value(beam_args, "direct_num_workers") is None:
        args.append(f"--direct_num_workers={LOCAL_WORKERS}")
    return RunnerChoice(
        name="FnApiRunner",
        args=tuple(args),
        is_in_process=mode in _IN_PROCESS_MODES,
        is_local=True,
    )


def _dataflow_defaults(runner: str, args: Sequence[str]) -> list[str]:
    """Returns what Dataflow gets unless the user says otherwise: one process per machine.

    Dataflow would start a process for each core, each with copies of all models; ours fills all
    cores from one.
    """
    decided = any("use_multiple_sdk_containers" in each for each in args)
    if _short_name(runner) != _TEMPLATE_RUNNER or decided:
        return []
    return ["--experiments=no_use_multiple_sdk_containers"]


def _short_name(runner: str) -> str:
    """Returns the runner's name without `Runner` and in lower case, which Beam takes for it, too."""
    return runner.lower().removesuffix("runner")


def flag_value(args: Sequence[str], name: str) -> str | None:
    """Returns the last value of `--name=value` in `args`, or None."""
    prefix = f"--{name}="
    values = [each.removeprefix(prefix) for each in args if each.startswith(prefix)]
    return values[-1] if values else None


def check_beam_args(args: Sequence[str], raw_args: Sequence[str], own_flags: Sequence[str]) -> None:
    """Checks that arguments are known to one of Beam's option classes, and that it takes their values.

    Args:
        args: Arguments that are not ours, as `--name=value`.
        raw_args: Likewise, but only a runner need know them.
        own_flags: Ours, for the nearest match.

    Raises:
        InvalidArgumentError: One is unknown, and the message names the nearest flag, or has a value
            that Beam does not take.
    """
    parser = _beam_parser()
    known = [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001 - argparse has no public list
    for arg in args:
        name = arg.split("=", 1)[0]
        if not arg.startswith("--"):
            raise InvalidArgumentError(
                f"unexpected argument {arg!r}; flags are written --name=value"
            )
        if name not in known:
            near = difflib.get_close_matches(name, [*own_flags, *known], n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InvalidArgumentError(
                f"unknown flag {name}{hint} (flags that only a runner knows stand after `--`)"
            )
    parsed, _ = parser.parse_known_args([*args, *raw_args])
    if parsed.direct_num_workers is not None and parsed.direct_num_workers < 0:
        raise InvalidArgumentError(
            f"--direct_num_workers must be 0 (one for each core) or more, got {parsed.direct_num_workers}"
        )
    _check_runner(flag_value([*args, *raw_args], "runner"))


def _check_runner(name: str | None) -> None:
    from apache_beam.options.pipeline_options import StandardOptions

    if name is None or "." in name:  # a class of the user's is looked for when it is made
        return
    known = {_short_name(each): each for each in StandardOptions.KNOWN_RUNNER_NAMES}
    if _short_name(name) not in known:
        near = difflib.get_close_matches(_short_name(name), known, n=1)
        hint = f"did you mean {known[near[0]]}? " if near else ""
        raise InvalidArgumentError(
            f"--runner={name} is unknown; {hint}there are: {', '.join(known.values())}, or give package.module.Class"
        )


def _beam_parser() -> Any:
    from apache_beam.options import pipeline_options

    class Parser(pipeline_options._BeamArgumentParser):  # noqa: SLF001 - there is no public list of Beam's flags
        def error(self, message: str) -> Any:
            raise InvalidArgumentError(f"Beam's {message}")

    parser = Parser(allow_abbrev=False, add_help=False)
    for options_class in pipeline_options.PipelineOptions.__subclasses__():
        options_class._add_argparse_args(parser)  # noqa: SLF001 - as above
    return parser
