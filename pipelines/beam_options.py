"""Beam's side of the command line: which flags it knows, which runner a job gets, and its options."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from servable_core.errors import InvalidArgumentError

_LOCAL_RUNNERS = frozenset({"DirectRunner", "FnApiRunner", "SwitchingDirectRunner"})
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
    """

    name: str
    args: tuple[str, ...]
    is_in_process: bool
    is_local: bool


def choose_runner(beam_args: Sequence[str]) -> RunnerChoice:
    """Returns the runner that `beam_args` ask for; local jobs get FnApiRunner.

    Beam's DirectRunner tries to download another engine first and falls back when offline, so that
    one command would run differently from machine to machine; FnApiRunner never does.
    """
    runner = flag_value(beam_args, "runner") or "DirectRunner"
    if runner not in _LOCAL_RUNNERS or flag_value(beam_args, "prism_location"):
        return RunnerChoice(name=runner, args=tuple(beam_args), is_in_process=False, is_local=False)
    mode = flag_value(beam_args, "direct_running_mode") or "in_memory"
    others = [each for each in beam_args if not each.startswith("--runner")]
    args = ["--runner=FnApiRunner", *others]
    if flag_value(beam_args, "direct_num_workers") is None:
        args.append(f"--direct_num_workers={LOCAL_WORKERS}")
    return RunnerChoice(
        name="FnApiRunner",
        args=tuple(args),
        is_in_process=mode in _IN_PROCESS_MODES,
        is_local=True,
    )


def flag_value(args: Sequence[str], name: str) -> str | None:
    """Returns the last value of `--name=value` in `args`, or None."""
    prefix = f"--{name}="
    values = [each.removeprefix(prefix) for each in args if each.startswith(prefix)]
    return values[-1] if values else None


def check_beam_args(args: Sequence[str], own_flags: Sequence[str]) -> None:
    """Checks that every argument is known to one of Beam's option classes.

    Args:
        args: Arguments that are not ours.
        own_flags: Ours, for the nearest match.

    Raises:
        InvalidArgumentError: One is unknown; the message names the nearest flag.
    """
    if not args:
        return
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


def _beam_parser() -> Any:
    from apache_beam.options import pipeline_options

    parser = pipeline_options._BeamArgumentParser(allow_abbrev=False, add_help=False)  # noqa: SLF001 - there is no public list of Beam's flags
    for options_class in pipeline_options.PipelineOptions.__subclasses__():
        options_class._add_argparse_args(parser)  # noqa: SLF001 - as above
    return parser
