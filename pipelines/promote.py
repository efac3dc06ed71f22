"""`promote`: gives a version label of the model server to a candidate that a gate has passed.

    run(PromoteOptions(model_config_file="models.config", verdict="out/verdict.json",
                       version_label="stable"))

The server follows when it reads its config file again. The gate itself never changes anything.
"""

import argparse
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipelines.file_update import read_whole, update_file
from servable_core.config import ModelConfig, parse_server_config
from servable_core.config.version_label_text import with_version_label
from servable_core.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from servable_core.servables.saved_model.fingerprint import fingerprint_version
from servable_core.sources.version_selection import select_present
from transforms.evaluation.verdict import CandidateVerdict, Status, Verdict
from transforms.evaluation.verdict_files import read_verdict
from transforms.model_versions import list_versions
from transforms.storage import absolute_path, file_system_for

_CONFIG_FILE = "model config file"
_MAX_REASONS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class PromoteOptions:
    """What is promoted, and where.

    Attributes:
        model_config_file: The server's text proto `ModelServerConfig`.
        version_label: The label.
        verdict: The `verdict.json` that speaks for the candidate.
        candidate: The version; None for the only one in the verdict.
        force: Whether to promote although the verdict is not PASS, or the version is not served.
    """

    model_config_file: str
    version_label: str
    verdict: str
    candidate: int | None = None
    force: bool = False

    def __post_init__(self) -> None:
        for name in ("model_config_file", "version_label", "verdict"):
            if not getattr(self, name):
                raise InvalidArgumentError(f"--{name} must not be empty")
        if set(self.version_label) & set("/:"):
            raise InvalidArgumentError(
                f"--version_label={self.version_label}: requests name labels in URLs, so they have neither / nor :"
            )


def add_promote_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `promote`."""
    add = parser.add_argument
    add("--model_config_file", required=True, metavar="FILE", help="the server's text proto")
    add("--version_label", required=True, metavar="LABEL", help="the label to move, as stable")
    add("--verdict", required=True, metavar="FILE", help="the verdict.json of an evaluation")
    add("--candidate", type=int, metavar="V", help="which, where the verdict is of several")
    add("--force", action="store_true", help="promote without a PASS, or what is not served")


def run(options: PromoteOptions) -> list[str]:
    """Moves the label, or leaves it where it is there already, and returns what was done.

    Raises:
        FailedPreconditionError: The verdict is not PASS, or the version is not the one that was
            judged, or the server would not serve it.
        NotFoundError: There is no such file, model or version.
        InvalidArgumentError: A file is not what it should be.
    """
    verdict = read_verdict(options.verdict)
    candidate = _candidate(verdict, options)
    path = absolute_path(options.model_config_file)
    model = _find_model(read_whole(path, _CONFIG_FILE), path, verdict)
    notes = [
        *_check_verdict(candidate, options),
        *_check_version(model, candidate.version, verdict, options),
    ]
    updated = update_file(
        path,
        lambda text: _promoted(text, path, model, options.version_label, candidate.version),
        what=_CONFIG_FILE,
    )
    before = _find_model(updated.former, path, verdict).version_labels.get(options.version_label)
    kept = [] if updated.backup is None else [f"backup: {updated.backup}"]
    about = [_verdict_line(verdict, candidate, options), *_other_line(before, verdict, candidate)]
    subject = f"label {options.version_label!r} of model {model.name!r} in {path}"
    return [
        _moved_line(subject, before, candidate.version),
        *(f"  {line}" for line in (*about, *notes, *kept)),
    ]


def _candidate(verdict: Verdict, options: PromoteOptions) -> CandidateVerdict:
    judged = ", ".join(
        f"version {each.version} ({each.status.value})" for each in verdict.candidates
    )
    if options.candidate is None:
        if len(verdict.candidates) != 1:
            raise InvalidArgumentError(
                f"--verdict={options.verdict} is about several versions: {judged}; choose with --candidate"
            )
        return verdict.candidates[0]
    found = verdict.of(options.candidate)
    if found is None:
        raise NotFoundError(
            f"--candidate={options.candidate}: --verdict={options.verdict} is about {judged}"
        )
    return found


def _find_model(text: str, path: str, verdict: Verdict) -> ModelConfig:
    directory = posixpath.dirname(path)
    models = parse_server_config(text, directory=directory, place=path).models
    for model in models:
        if model.name == verdict.model_name:
            return model
    names = ", ".join(model.name for model in models) or "none"
    raise NotFoundError(
        f"the verdict is about the model {verdict.model_name!r}, which {path} does not list; its models: {names}; evaluate with the --model_name that it has there"
    )


def _check_verdict(candidate: CandidateVerdict, options: PromoteOptions) -> Iterator[str]:
    """Yields what to say of a verdict that is not PASS, where it may be overruled."""
    status = candidate.status
    if status is Status.PASS:
        return
    reasons = "; ".join(each.rstrip(".") for each in candidate.reasons[:_MAX_REASONS])
    more = len(candidate.reasons) - _MAX_REASONS
    said = f"version {candidate.version} has the verdict {status.value}: {reasons}{f'; and {more} more' if more > 0 else ''}"
    if not options.force:
        raise FailedPreconditionError(f"{said}; it is not promoted, unless with --force")
    yield f"warning: {said}; promoted because of --force"


def _check_version(
    model: ModelConfig, version: int, verdict: Verdict, options: PromoteOptions
) -> Iterator[str]:
    """Checks that the version is there, is the one that was judged, and would be served."""
    place = f"model {model.name!r} of --model_config_file={options.model_config_file}, base_path {model.base_path}"
    versions = list_versions(model.base_path, place)
    if version not in versions:
        there = ", ".join(map(str, versions))
        raise NotFoundError(f"{place} has no version {version}; it has {there}")
    judged = verdict.inputs.models.get(version)
    if not judged:
        yield f"note: the verdict does not say what was in version {version}, as it is about saved predictions; not compared with {versions[version].path}"
    else:
        directory = versions[version]
        found = fingerprint_version(
            directory.path, directory.files, file_system_for(directory.path)
        )
        if found != judged:
            raise FailedPreconditionError(
                f"{directory.path} is not what was judged (fingerprint {judged[:12]} then, {found[:12]} now): put that version back, or evaluate this one"
            )
    if version not in select_present(model.versions, list(versions)):
        said = f"the model_version_policy of {model.name!r} does not serve version {version}, and the server refuses labels of versions that it does not serve"
        if not options.force:
            raise FailedPreconditionError(f"{said}; add the version to the policy first")
        yield f"warning: {said}; promoted because of --force"


def _promoted(text: str, path: str, model: ModelConfig, label: str, version: int) -> str:
    """Returns the file with the label moved; the model in it must be the one that was checked."""
    models = parse_server_config(text, directory=posixpath.dirname(path), place=path).models
    if replace(model, version_labels={}) not in [
        replace(each, version_labels={}) for each in models
    ]:
        raise FailedPreconditionError(
            f"{path} was changed while the version was checked; give the same command again"
        )
    return with_version_label(text, model.name, label, version, place=path)


def _moved_line(subject: str, before: int | None, version: int) -> str:
    if before == version:
        return f"{subject} is at version {version} already; nothing was changed"
    former = "new" if before is None else f"version {before}"
    return f"{subject}: {former} -> version {version}"


def _verdict_line(verdict: Verdict, candidate: CandidateVerdict, options: PromoteOptions) -> str:
    against = "no baseline" if verdict.baseline is None else f"version {verdict.baseline}"
    return f"verdict: {candidate.status.value} against {against}, {absolute_path(options.verdict)}"


def _other_line(before: int | None, verdict: Verdict, candidate: CandidateVerdict) -> Iterator[str]:
    """Yields that the verdict is not about what the label was given to."""
    if before not in {None, candidate.version, verdict.baseline}:
        yield f"note: the label was at version {before}, with which version {candidate.version} was not compared"
