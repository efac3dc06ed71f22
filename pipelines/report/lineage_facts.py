"""Where the numbers come from, in words: models, data, configuration, packages, the command."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.report.content import COMMAND_LINE
from transforms.evaluation.evaluation_setup import EvaluationSetup
from transforms.lineage import package_versions

_DIGEST_LENGTH = 16  # enough to compare by eye; the files have them whole


def lineage_facts(facts: Mapping[str, Any], setup: EvaluationSetup) -> dict[str, str]:
    """Returns facts of an evaluation by name, in the order in which they are shown."""
    return dict(_facts(facts, setup))


def _facts(facts: Mapping[str, Any], setup: EvaluationSetup) -> Iterator[tuple[str, str]]:
    models = facts.get("models", {})
    for place, version in enumerate(setup.versions):
        role = "baseline" if place == 0 else "candidate"
        fingerprint = models.get(str(version), "")
        said = f"fingerprint {_short(fingerprint)}" if fingerprint else "saved predictions"
        yield f"{setup.model_name}, version {version} ({role})", said
    files = facts.get("data_files")
    if files:
        first = f", the first {facts['data_first_file']}" if facts.get("data_first_file") else ""
        yield "data", f"{files:,} files{first}; fingerprint {_short(facts['data_fingerprint'])}"
    yield "configuration", f"sha256 {_short(facts.get('config_sha256', ''))}"
    yield "task", _task(setup)
    if "noise_floor" in facts:
        yield "A/A noise floor", _named(facts["noise_floor"])
    yield "packages", _named(package_versions())
    if facts.get("command_line"):
        yield COMMAND_LINE, facts["command_line"]


def _task(setup: EvaluationSetup) -> str:
    said = [setup.task.value]
    said += [] if setup.is_labelled else ["without labels"]
    said += ["weighted rows"] if setup.is_weighted else []
    said += ["rows dependent within clusters"] if setup.is_clustered else []
    return ", ".join(said)


def _named(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_shown(each)}" for name, each in values.items())


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " and ".join(map(_shown, value))
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _short(digest: str) -> str:
    return digest[:_DIGEST_LENGTH]
