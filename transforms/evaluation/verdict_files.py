"""The files of a verdict: `verdict.json`, and the marker `BLESSED` or `NOT_BLESSED` beside it."""

import json
import math
from collections.abc import Mapping
from typing import Any

from servable_core.errors import InvalidArgumentError, NotFoundError
from transforms.evaluation.results import SliceKey
from transforms.evaluation.verdict import (
    CandidateVerdict,
    RuleOutcome,
    Severity,
    Status,
    Verdict,
    VerdictInputs,
)
from transforms.storage import (
    TEMPORARY_DIRECTORY,
    absolute_path,
    delete_file,
    discard_tree,
    read_bytes,
    write_bytes,
)

SCHEMA = "eval.verdict/1"
VERDICT_FILE = "verdict.json"
BLESSED = "BLESSED"
NOT_BLESSED = "NOT_BLESSED"


def write_verdict(verdict: Verdict, output: str) -> None:
    """Writes `verdict.json` and the marker `BLESSED` or `NOT_BLESSED` below `output`.

    Whoever finds a marker finds the verdict that it is about: the former marker goes first.
    """
    for name in (BLESSED, NOT_BLESSED):
        delete_file(f"{output}/{name}")
    write_bytes(output, f"{output}/{VERDICT_FILE}", to_json(verdict).encode())
    marker = BLESSED if verdict.status is Status.PASS else NOT_BLESSED
    write_bytes(output, f"{output}/{marker}", b"")
    discard_tree(f"{output}/{TEMPORARY_DIRECTORY}")


def read_verdict(path: str) -> Verdict:
    """Returns the verdict in a file.

    Raises:
        NotFoundError: There is no such file.
        InvalidArgumentError: It is not a verdict.
    """
    path = absolute_path(path)
    try:
        content = read_bytes(path)
    except IsADirectoryError as error:
        raise InvalidArgumentError(
            f"{path} is a directory; give the file, as {path}/{VERDICT_FILE}"
        ) from error
    if content is None:
        raise NotFoundError(
            f"there is no verdict at {path}; `run_pipeline.py evaluate` and `gate` write {VERDICT_FILE}"
        )
    return from_json(content.decode(errors="replace"), place=path)


def to_json(verdict: Verdict) -> str:
    """Returns the verdict as JSON, keys sorted; equal verdicts give equal text."""
    return json.dumps(_as_dict(verdict), indent=1, sort_keys=True, allow_nan=False) + "\n"


def _as_dict(verdict: Verdict) -> dict[str, Any]:
    inputs = verdict.inputs
    return {
        "baseline": verdict.baseline,
        "candidates": [_candidate_as_dict(each) for each in verdict.candidates],
        "exit_code": verdict.exit_code,
        "inputs": {
            "config_sha256": inputs.config_sha256,
            "data_fingerprint": inputs.data_fingerprint,
            "models": {str(version): each for version, each in inputs.models.items()},
        },
        "model": verdict.model_name,
        "schema": SCHEMA,
        "verdict": verdict.status.value,
    }


def _candidate_as_dict(candidate: CandidateVerdict) -> dict[str, Any]:
    return {
        "candidate": candidate.version,
        "missing_slices": [dict(each) for each in candidate.missing_slices],
        "problem": candidate.problem,
        "rules": [_outcome_as_dict(each) for each in candidate.outcomes],
        "suppressed_slices": candidate.num_suppressed_slices,
        "verdict": candidate.status.value,
    }


# Fields of an outcome by their names in the file, where those differ.
_JSON_NAMES = {
    "rule_id": "id",
    "num_rows": "n",
    "interval": "ci",
    "interval_level": "ci_level",
    "interval_method": "ci_method",
    "approximation_error": "approx_bound",
    "adjusted_p_value": "p_adj",
}


def _outcome_as_dict(outcome: RuleOutcome) -> dict[str, Any]:
    values = {name: getattr(outcome, name) for name in RuleOutcome.__dataclass_fields__}
    values |= {
        "slice": dict(outcome.slice),
        "severity": outcome.severity.value,
        "status": outcome.status.value,
        "interval": outcome.interval and [_finite(each) for each in outcome.interval],
    }
    return {_JSON_NAMES.get(name, name): _finite(value) for name, value in values.items()}


def _finite(value: Any) -> Any:
    """Returns None for what JSON has no number for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_json(text: str, *, place: str = VERDICT_FILE) -> Verdict:
    """Returns the verdict that `to_json` wrote.

    Args:
        text: The JSON.
        place: File name, for messages.

    Raises:
        InvalidArgumentError: It is not a verdict, or contradicts itself.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidArgumentError(
            f"{place} is not JSON ({error}); expected the {VERDICT_FILE} of an evaluation"
        ) from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise InvalidArgumentError(
            f"{place} has the schema {schema!r}, expected {SCHEMA!r}: give the {VERDICT_FILE} of an evaluation, written by this release"
        )
    try:
        verdict = _of_dict(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidArgumentError(
            f"{place} is not whole: {error!r}; write it again with `run_pipeline.py gate`"
        ) from error
    _check_consistency(verdict, found, place)
    return verdict


def _of_dict(found: Mapping[str, Any]) -> Verdict:
    inputs = found["inputs"]
    return Verdict(
        model_name=_text(found["model"]),
        baseline=None if found["baseline"] is None else int(found["baseline"]),
        candidates=tuple(_candidate_of_dict(each) for each in found["candidates"]),
        inputs=VerdictInputs(
            config_sha256=_text(inputs["config_sha256"]),
            data_fingerprint=_text(inputs["data_fingerprint"]),
            models={int(version): _text(each) for version, each in inputs["models"].items()},
        ),
    )


def _candidate_of_dict(found: Mapping[str, Any]) -> CandidateVerdict:
    return CandidateVerdict(
        version=int(found["candidate"]),
        problem=_text(found["problem"]),
        outcomes=tuple(_outcome_of_dict(each) for each in found["rules"]),
        missing_slices=tuple(_slice_key(each) for each in found["missing_slices"]),
        num_suppressed_slices=int(found["suppressed_slices"]),
    )


def _outcome_of_dict(found: Mapping[str, Any]) -> RuleOutcome:
    names = {_JSON_NAMES.get(name, name): name for name in RuleOutcome.__dataclass_fields__}
    values = {names[name]: value for name, value in found.items()}
    interval = values["interval"]
    if interval is not None:
        low, high = interval
        values["interval"] = (
            -math.inf if low is None else float(low),
            math.inf if high is None else float(high),
        )
    values["slice"] = _slice_key(values["slice"])
    values["severity"] = Severity(values["severity"])
    values["status"] = Status(values["status"])
    return RuleOutcome(**values)


def _slice_key(found: Mapping[str, str]) -> SliceKey:
    return tuple((_text(column), _text(value)) for column, value in found.items())


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {value!r}")
    return value


def _check_consistency(verdict: Verdict, found: Mapping[str, Any], place: str) -> None:
    """Checks that a verdict was not edited into another."""
    said = [found["verdict"], *(each["verdict"] for each in found["candidates"])]
    followed = [verdict.status, *(each.status for each in verdict.candidates)]
    if said != [each.value for each in followed] or found["exit_code"] != verdict.exit_code:
        raise InvalidArgumentError(
            f"{place} says {said[0]!r}, but from its rules follows {verdict.status.value!r}: it was changed by hand; write it again with `run_pipeline.py gate`"
        )
