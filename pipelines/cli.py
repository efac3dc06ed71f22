"""The command line: parses flags, runs a job, and turns errors into one message and an exit code.

Nothing slow is imported before the flags are known to be right, so `--help` answers at once.
"""

import argparse
import difflib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pipelines.console import complain, say
from pipelines.interruption import EXIT_INTERRUPTED, termination_as_interrupt
from pipelines.precompute_flags import add_precompute_flags
from servable_core.errors import (
    AbortedError,
    DataLossError,
    InvalidArgumentError,
    ServableCoreError,
)

_logger = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2

_DESCRIPTION = (
    "Precompute the inferences of versioned models over Parquet and TFRecord, with Apache Beam."
)


class _Parser(argparse.ArgumentParser):
    """Raises instead of exiting, so that all errors take one way out."""

    def error(self, message: str) -> Any:
        raise InvalidArgumentError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (default: the process's own) and returns the exit code."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    args = list(sys.argv[1:] if argv is None else argv)
    _add_working_directory()
    verbose = "--verbose" in args
    try:
        with termination_as_interrupt():
            return _dispatch(args)
    except AbortedError as error:
        complain(str(error))
        return EXIT_INTERRUPTED
    except KeyboardInterrupt:
        complain("stopped")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except (ServableCoreError, OSError) as error:
        if verbose:
            _logger.exception("error")
        complain(f"error: {error}")
        return EXIT_USAGE


def _add_working_directory() -> None:
    """Makes `--preprocess=module:function` find modules beside the user's data."""
    if "" not in sys.path and os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds strings
        sys.path.append(os.getcwd())  # noqa: PTH109


def _dispatch(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        _top_parser().print_help()
        return EXIT_OK if args else EXIT_USAGE
    commands: dict[str, Callable[[list[str]], int]] = {
        "precompute": _precompute,
        "inspect": _inspect,
        "demo": _demo,
    }
    name, rest = args[0], args[1:]
    if name not in commands:
        near = difflib.get_close_matches(name, commands, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InvalidArgumentError(
            f"unknown command {name!r}; {hint}there are: {', '.join(commands)}"
        )
    return commands[name](rest)


def _top_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="run_pipeline.py", description=_DESCRIPTION, allow_abbrev=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, text in _COMMAND_HELP.items():
        commands.add_parser(name, help=text)
    parser.epilog = "run_pipeline.py COMMAND --help lists the flags of a command."
    return parser


_COMMAND_HELP = {
    "precompute": "run model versions over a dataset and write their outputs as Parquet",
    "inspect": "show versions and signatures, and how data would bind to them",
    "demo": "the whole thing on real data, in a minute",
}


def _precompute(args: list[str]) -> int:
    options = _precompute_options(args)
    from pipelines import precompute

    try:
        say(_precomputed(options))
    except AbortedError as error:
        complain(f"{error}\nwhat was committed is safe; {options.how_to_resume}")
        return EXIT_INTERRUPTED
    except precompute.JobFailedError as error:
        if options.verbose:
            _logger.exception("the job failed")
        complain(
            f"error: {error}\nunits that were committed before are kept; when the cause is mended, {options.how_to_resume}"
        )
        return EXIT_FAILED
    return EXIT_OK


def _precomputed(options: Any) -> str:
    """Does what was asked for and returns the lines that tell of it."""
    from pipelines import precompute
    from pipelines.beam_options import flag_value

    if options.dry_run:
        from pipelines.dry_run import dry_run

        return dry_run(options)
    if flag_value(options.beam_args, "template_location"):
        return precompute.write_template(options)
    return precompute.summary(precompute.run(options))


def _precompute_options(args: list[str]) -> Any:
    parser = precompute_parser()
    known, beam_args = _split(parser, args)
    from pipelines.options import PrecomputeOptions
    from transforms.execution import ExecutionOptions
    from transforms.lineage import command_line

    execution_fields = ExecutionOptions.__dataclass_fields__
    execution = {name: known.pop(name) for name in list(known) if name in execution_fields}
    given = {name: value for name, value in execution.items() if value is not None}
    if known["batching_parameters_file"]:
        said = _read_batching_parameters(known["batching_parameters_file"])
        given["batching_parameters"] = said
        if known["pad_variable_length_inputs"] is None:
            known["pad_variable_length_inputs"] = said.pad_variable_length_inputs or None
    lists = ("input", "input_map", "passthrough", "output_tensors", "pad_values")
    for name in lists:
        known[name] = None if known[name] is None else tuple(_flatten(name, known[name]))
    return PrecomputeOptions(
        **known,
        execution=ExecutionOptions(**given),
        beam_args=tuple(beam_args),
        command_line=command_line(["run_pipeline.py", "precompute", *args]),
    )


def _read_batching_parameters(path: str) -> Any:
    from servable_core.config import read_batching_parameters
    from transforms.storage import absolute_path, file_system_for

    where = absolute_path(path)
    return read_batching_parameters(where, file_system=file_system_for(where))


def _flatten(name: str, values: Sequence[str]) -> list[str]:
    """Splits comma-separated entries, but not within the brackets of an input map."""
    if name in ("input", "input_map"):
        return list(values)
    return [part for value in values for part in value.split(",") if part]


def _split(parser: argparse.ArgumentParser, args: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Parses our flags; checks that the rest are Beam's, and returns both."""
    own, raw = args, []
    if "--" in args:
        index = args.index("--")
        own, raw = args[:index], args[index + 1 :]
    known, rest = parser.parse_known_args(own)
    rest, raw = _joined(rest), _joined(raw)
    if rest or raw:
        from pipelines.beam_options import check_beam_args

        flags = [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001 - argparse has no public list
        check_beam_args(rest, raw, flags)
    return vars(known), [*rest, *raw]


def _joined(args: Sequence[str]) -> list[str]:
    """Turns `--name value` into `--name=value`."""
    joined: list[str] = []
    for arg in args:
        if (
            joined
            and not arg.startswith("--")
            and joined[-1].startswith("--")
            and "=" not in joined[-1]
        ):
            joined[-1] += f"={arg}"
        else:
            joined.append(arg)
    return joined


def precompute_parser() -> argparse.ArgumentParser:
    """Returns the parser of `precompute`; flags that were not given come out as None."""
    parser = _Parser(
        prog="run_pipeline.py precompute",
        description="Runs model versions over a dataset and writes their outputs.",
        epilog="All other flags go to Apache Beam, such as --runner=DataflowRunner --region=...",
        allow_abbrev=False,
    )
    add_precompute_flags(parser)
    return parser


def _inspect(args: list[str]) -> int:
    parser = _Parser(
        prog="run_pipeline.py inspect",
        description="Shows versions and signatures, and how data would bind to them.",
        allow_abbrev=False,
    )
    parser.add_argument("--model_base_path", default="", metavar="DIR")
    parser.add_argument("--model_config_file", metavar="FILE", help="all its models, instead")
    parser.add_argument("--model_version", metavar="V", help="default: all")
    parser.add_argument("--signature_name", metavar="NAME", help="only this signature")
    parser.add_argument("--input", action="append", metavar="GLOB")
    parser.add_argument("--input_format", metavar="F")
    parser.add_argument("--input_map", action="append", metavar="T=C")
    parser.add_argument("--verbose", action="store_true")
    options = vars(_only_ours(parser, args))
    from pipelines.inspect import InspectOptions
    from pipelines.inspect_config import inspect_models

    options.pop("verbose")
    for name in ("input", "input_map"):
        options[name] = tuple(options[name] or ())
    say(inspect_models(InspectOptions(**options)))
    return EXIT_OK


def _demo(args: list[str]) -> int:
    parser = _Parser(
        prog="run_pipeline.py demo",
        description="Trains three versions on real data and precomputes two of them.",
        allow_abbrev=False,
    )
    parser.add_argument("--workdir", default="./demo_output", metavar="DIR")
    parser.add_argument("--verbose", action="store_true")
    options = _only_ours(parser, args)
    from pipelines.demo import run_demo
    from pipelines.precompute import JobFailedError

    try:
        run_demo(options.workdir)
    except (JobFailedError, DataLossError) as error:
        complain(f"error: {error}")
        return EXIT_FAILED
    return EXIT_OK


def _only_ours(parser: argparse.ArgumentParser, args: list[str]) -> argparse.Namespace:
    options, unknown = parser.parse_known_args(args)
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001 - argparse has no public list
        near = difflib.get_close_matches(unknown[0].split("=")[0], flags, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InvalidArgumentError(f"unknown flag {unknown[0]}{hint} (see {parser.prog} --help)")
    return options
