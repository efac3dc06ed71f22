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
from pipelines.evaluate_flags import add_evaluate_flags
from pipelines.interruption import EXIT_INTERRUPTED, termination_as_interrupt
from pipelines.precompute_flags import add_binding_flags, add_precompute_flags
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
        "evaluate": _evaluate,
        "gate": _gate,
        "promote": _promote,
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
    "evaluate": "compare model versions on labelled data: metrics, intervals, slices, a verdict",
    "gate": "decide again from an evaluation's states, without inference",
    "promote": "move a version label of the model server to a version that passed",
    "inspect": "show versions and signatures, and how data would bind to them",
    "demo": "the whole thing on real data, in a minute",
}


def _precompute(args: list[str]) -> int:
    options = _precompute_options(args)
    from pipelines.job_run import JobFailedError, PlanReplacedError

    try:
        say(_precomputed(options))
    except AbortedError as error:
        complain(f"{error}\nwhat was committed is safe; {options.how_to_resume}")
        return EXIT_INTERRUPTED
    except JobFailedError as error:
        if options.verbose:
            _logger.exception("the job failed")
        complain(f"error: {error}")
        if not isinstance(error, PlanReplacedError):
            complain(
                f"units that were committed before are kept; when the cause is mended, {options.how_to_resume}"
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
    from pipelines.flag_values import flatten_lists, take_execution
    from pipelines.options import PrecomputeOptions
    from pipelines.program import program_words
    from transforms.lineage import command_line

    execution = take_execution(known)
    flatten_lists(known)
    return PrecomputeOptions(
        **known,
        execution=execution,
        beam_args=tuple(beam_args),
        command_line=command_line(["run_pipeline.py", "precompute", *args]),
        program=program_words(sys.orig_argv, ["precompute", *args]),
    )


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


def _evaluate(args: list[str]) -> int:
    from pipelines.evaluate_command import evaluate_options

    parser = evaluate_parser()
    known, beam_args = _split(parser, args)
    options = evaluate_options(parser, known, beam_args, args)
    from pipelines.evaluate import run
    from pipelines.job_run import JobFailedError

    try:
        outcome = run(options)
    except JobFailedError as error:
        if options.verbose:
            _logger.exception("the job failed")
        complain(f"error: {error}")
        return EXIT_FAILED
    say("\n".join(outcome.lines))
    return outcome.exit_code


def evaluate_parser() -> argparse.ArgumentParser:
    """Returns the parser of `evaluate`; flags that were not given come out as None."""
    parser = _Parser(
        prog="run_pipeline.py evaluate",
        description="Compares versions of a model on one dataset, in one pass over it.",
        epilog="All other flags go to Apache Beam, such as --runner=DataflowRunner --region=...",
        allow_abbrev=False,
    )
    add_evaluate_flags(parser)
    return parser


def _gate(args: list[str]) -> int:
    from pipelines import gate

    parser = _Parser(
        prog="run_pipeline.py gate",
        description="Decides again, from the states of an evaluation.",
        allow_abbrev=False,
    )
    gate.add_gate_flags(parser)
    parser.add_argument("--verbose", action="store_true", help="tracebacks")
    given = _only_ours(parser, args)
    outcome = gate.run(given.states, given.eval_config, given.output)
    say("\n".join(outcome.lines))
    return outcome.exit_code


def _promote(args: list[str]) -> int:
    from pipelines import promote

    parser = _Parser(
        prog="run_pipeline.py promote",
        description="Moves a version label in a model server's configuration.",
        allow_abbrev=False,
    )
    promote.add_promote_flags(parser)
    parser.add_argument("--verbose", action="store_true", help="tracebacks")
    given = vars(_only_ours(parser, args))
    given.pop("verbose")
    say("\n".join(promote.run(promote.PromoteOptions(**given))))
    return EXIT_OK


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
    add_binding_flags(
        parser.add_argument_group("how data are bound, as by precompute").add_argument
    )
    parser.add_argument(
        "--batching_parameters_file", metavar="FILE", help="may say that lists are padded"
    )
    parser.add_argument("--verbose", action="store_true")
    options = vars(_only_ours(parser, args))
    from pipelines.flag_values import flatten_lists, read_parameters_file, take_padding
    from pipelines.inspect_config import inspect_models
    from pipelines.inspect_options import InspectOptions

    options.pop("verbose")
    file = options.pop("batching_parameters_file")
    if file:
        take_padding(options, read_parameters_file(file))
    flatten_lists(options)
    given = {name: value for name, value in options.items() if value is not None}
    say(inspect_models(InspectOptions(**given)))
    return EXIT_OK


def _demo(args: list[str]) -> int:
    parser = _Parser(
        prog="run_pipeline.py demo",
        description="Trains three versions on real data, precomputes two of them, and judges them.",
        allow_abbrev=False,
    )
    parser.add_argument("--workdir", default="./demo_output", metavar="DIR")
    parser.add_argument("--verbose", action="store_true")
    options = _only_ours(parser, args)
    from pipelines.demo import run_demo
    from pipelines.job_run import JobFailedError

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
