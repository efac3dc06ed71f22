"""The flags of `evaluate`: those of every job that runs models, and what is compared."""

import argparse
from typing import Any

from pipelines.precompute_flags import SHARED_GROUPS, Add

REPEATABLE = ("candidate", "slice", "predictions")


def add_evaluate_flags(parser: argparse.ArgumentParser) -> None:
    """Adds all flags to `parser`; those that were not given come out as None."""
    _add_comparison(parser.add_argument_group("what is compared").add_argument)
    _add_columns(parser.add_argument_group("columns of the data").add_argument)
    for title, add_flags in SHARED_GROUPS.items():
        add_flags(parser.add_argument_group(title).add_argument)
    _add_output(parser.add_argument_group("output").add_argument)


def _add_comparison(add: Add) -> None:
    add("--baseline", metavar="V", help="version, or label of one (default: the lowest)")
    add("--candidate", action="append", metavar="V", help="version to compare with it; repeatable")
    add(
        "--predictions",
        action="append",
        metavar="DIR",
        help="what precompute has written, instead of models; V=DIR for each version; repeatable",
    )
    add("--task", metavar="T", help="binary, multiclass or regression (default: inferred)")
    add("--prediction", metavar="OUTPUT", help="output of the models (default: the one that fits)")
    add(
        "--thresholds",
        type=_numbers,
        metavar="X,X",
        help="scores from which on a binary decision is positive (default: 0.5)",
    )
    add("--slice", action="append", metavar="S", help="country, a,b or age=[18,30]; repeatable")
    add("--metrics", metavar="M:F", help="package.module:function that returns metrics of your own")
    add("--eval_config", metavar="FILE", help="YAML with all of this, and the gate")
    add(
        "--aa",
        action="store_true",
        default=None,
        help="run the baseline twice on some rows, in other batches: how far equal versions differ",
    )


def _add_columns(add: Add) -> None:
    add("--label", metavar="COLUMN", help="the truth (default: none, so only differences)")
    add("--weight", metavar="COLUMN", help="how much a row counts (default: 1)")
    add(
        "--example_key",
        "--key",
        metavar="COLUMN",
        help="identifies a row (default: source file and row)",
    )
    add("--cluster_key", metavar="COLUMN", help="rows with an equal one depend on each other")


def _add_output(add: Add) -> None:
    add("--output", metavar="DIR", help="where to write (required)")
    add("--if_exists", metavar="WHAT", help="error (default) or overwrite")
    add(
        "--take_over",
        action="store_true",
        default=None,
        help="take the lock of a launcher that is gone (remote output)",
    )
    add(
        "--output_tensors",
        action="append",
        metavar="T,OLD=NEW",
        help="outputs to fetch (default: the one that is evaluated)",
    )
    add("--postprocess", metavar="M:F", help="likewise as --preprocess, on the models' outputs")
    add(
        "--deterministic",
        action="store_true",
        default=None,
        help="byte-identical states on every run",
    )


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected numbers with commas between them, got {text!r}"
        ) from None


def flags_as_arguments(flags: dict[str, Any]) -> list[str]:
    """Returns the flags of a config file's section `job` as a command line has them."""
    arguments = []
    for name, value in flags.items():
        if value is True:
            arguments.append(f"--{name}")
        elif isinstance(value, list) and name in ("input", "input_map"):
            arguments += [f"--{name}={each}" for each in value]
        elif isinstance(value, list):
            arguments.append(f"--{name}={','.join(map(str, value))}")
        elif value not in (None, False):
            arguments.append(f"--{name}={value}")
    return arguments
