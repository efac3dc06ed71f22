"""`gate`: decides again, from the states of an evaluation; no model runs and no data is read."""

import argparse
import posixpath

from pipelines.evaluation_outcome import EvaluationOutcome, tell_outcome
from servable_core.errors import InvalidArgumentError
from servable_core.runtime.clock import Clock, SystemClock
from transforms.evaluation.evaluation_config import read_evaluation_config
from transforms.evaluation.gate_config import GateConfig, parse_gate
from transforms.evaluation.state_files import has_states, read_states
from transforms.storage import absolute_path


def add_gate_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `gate`."""
    add = parser.add_argument
    add("--states", required=True, metavar="DIR", help="the --output of an evaluation")
    add("--eval_config", required=True, metavar="FILE", help="YAML with the section gate:")
    add("--output", metavar="DIR", help="where to write (default: beside the states)")


def run(
    states: str, eval_config: str, output: str | None = None, *, clock: Clock | None = None
) -> EvaluationOutcome:
    """Judges an evaluation by the gate of a config file, and writes what `evaluate` writes.

    Args:
        states: The output directory of the evaluation, or the directory `states` in there.
        eval_config: YAML with a section `gate:`; all else in there was decided by then.
        output: Where to write; None for beside the states.
        clock: Reads time; the machine's unless given.

    Raises:
        InvalidArgumentError: The file is wrong, or has no gate.
        NotFoundError: There are no states.
        DataLossError: They are damaged.
    """
    clock = clock or SystemClock()
    started_secs = clock.now()
    gate = _read_gate(eval_config)
    states = absolute_path(states)
    saved = read_states(states)
    beside = states if has_states(states) else posixpath.dirname(states)
    where = absolute_path(output) if output else beside
    return tell_outcome(
        saved, where, gate, clock=clock, started_secs=started_secs, metrics_directory=beside
    )


def _read_gate(path: str) -> GateConfig:
    section = read_evaluation_config(path).gate
    if section is None:
        raise InvalidArgumentError(
            f"--eval_config={path} has no section gate:, so there is nothing to decide by"
        )
    try:
        return parse_gate(section)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"--eval_config={path}: {error}") from error
