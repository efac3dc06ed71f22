"""An evaluation that is decided: what is measured, where its rows come from, what is known of both."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.evaluate_options import EvaluateOptions
from servable_core.errors import InvalidArgumentError
from transforms.evaluation.predicted_rows import PredictedRows
from transforms.evaluation.unit_source import Measured, UnitSource
from transforms.plan import Plan

FIRST_ROWS = 512  # fewer than make a budget of failures tell
"""Of so many rows it is told what outputs there are, and what they look like."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """An evaluation, decided.

    Attributes:
        measured: What is measured.
        source: The units.
        facts: Where models and data come from.
        num_rows: Of all units, or None when only reading tells.
        size_bytes: About how many bytes are read.
        plan: Of the models' units; None of saved predictions.
    """

    measured: Measured
    source: UnitSource
    facts: Mapping[str, Any]
    num_rows: int | None
    size_bytes: int
    plan: Plan | None = None


def has_all_outputs(rows: PredictedRows) -> bool:
    """Whether there are rows, with outputs of all versions."""
    return rows.columns.num_rows > 0 and None not in rows.outputs


def no_rows() -> InvalidArgumentError:
    """Returns the error of data in which nothing can be evaluated."""
    return InvalidArgumentError(
        "there is nothing to evaluate: the data has no row that all versions have a prediction for"
    )


def evaluation_facts(
    options: EvaluateOptions,
    *,
    models: Mapping[int, str],
    files: Sequence[tuple[str, int, float]],
) -> dict[str, Any]:
    """Returns where an evaluation comes from, for the report and the verdict.

    Args:
        options: Of the job.
        models: Fingerprints by version, as far as they are known.
        files: Path, size and time of what is read.
    """
    config = asdict(options.config)
    return {
        "config_sha256": _digest(config),
        "data_fingerprint": _digest(files),
        "data_files": len(files),
        "data_first_file": files[0][0] if files else "",
        "models": {str(version): each for version, each in models.items()},
        "command_line": options.command_line,
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
