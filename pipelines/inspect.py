"""`inspect`: what versions a model has, what they take and return, and how data would bind to them."""

from collections.abc import Iterable, Iterator

from pipelines.inspect_options import InspectOptions
from pipelines.inspected_data import InspectedData, inspected_data
from pipelines.model_survey import (
    PATIENCE_SECS,
    ModelSurvey,
    VersionStructure,
    survey_versions,
)
from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import SignatureSpec
from servable_core.server_core import VersionStatus
from transforms.heads import find_heads
from transforms.model_versions import list_versions, model_name_of, select_directories
from transforms.storage import absolute_path


def inspect(options: InspectOptions) -> str:
    """Returns the whole report.

    Raises:
        ServableCoreError: There is no such model, version, signature or input. A broken version
            beside others is part of the report instead.
    """
    if not options.model_base_path:
        raise InvalidArgumentError(
            "--model_base_path is missing: the directory with the model's versions"
        )
    base_path = absolute_path(options.model_base_path)
    present = list_versions(base_path)
    selected = select_directories(present, base_path, options.versions)
    paths = {version: each.path for version, each in selected.items()}
    data = inspected_data(options)
    survey = survey_versions(model_name_of(base_path), paths)
    if data is not None:
        data.check_names(list(shown_signatures([survey], options)))
    lines = [f"{base_path}: versions {', '.join(map(str, present))}"]
    if data is not None:
        lines += ["", *data.schema_lines()]
    for version in versions_found(survey):
        lines += ["", *version_lines(version, survey, options, data)]
    return "\n".join(lines)


def versions_found(survey: ModelSurvey) -> list[VersionStatus]:
    """Returns those that are there, whole or not, ascending; a label may name one that is not."""
    versions = survey.status.versions
    found = (each for each in versions if each.state is not None or each.pending is not None)
    return sorted(found, key=lambda each: each.version)


def version_lines(
    version: VersionStatus,
    survey: ModelSurvey,
    options: InspectOptions,
    data: InspectedData | None,
) -> Iterator[str]:
    """Yields the lines of one version: its number, then its signatures, or why it has none.

    Raises:
        NotFoundError: It has no signature of the name asked for.
    """
    yield f"version {version.version}"
    structure = survey.structures.get(version.version)
    if structure is None:
        yield f"  {_why_not(version)}"
    elif structure.signatures is None:
        yield f"  complete, {structure.num_files} files"
    else:
        for signature in _chosen_signatures(structure, options):
            yield from (f"  {line}" for line in _signature_lines(signature, data))


def shown_signatures(
    surveys: Iterable[ModelSurvey], options: InspectOptions
) -> Iterator[SignatureSpec]:
    """Yields all signatures that a report shows.

    Raises:
        NotFoundError: A version has no signature of the name asked for.
    """
    for survey in surveys:
        for structure in survey.structures.values():
            yield from _chosen_signatures(structure, options)


def _why_not(version: VersionStatus) -> str:
    if version.error is not None:
        return f"broken: {version.error}"
    if version.pending is not None:
        return f"not complete: {version.pending}"
    return f"not read in {PATIENCE_SECS:.0f} seconds: its store does not answer"


def _chosen_signatures(structure: VersionStructure, options: InspectOptions) -> list[SignatureSpec]:
    signatures = structure.signatures or {}
    if options.signature_name is None or structure.signatures is None:
        return list(signatures.values())
    remedy = "choose one with --signature_name"
    return [find_heads(signatures, options.signature_name, structure.path, remedy=remedy)]


def _signature_lines(signature: SignatureSpec, data: InspectedData | None) -> Iterator[str]:
    yield f"signature {signature.name}"
    if data is None:
        yield from (f"  input   {each}" for each in signature.inputs)
    else:
        yield from (f"  {line}" for line in data.binding_lines(signature))
    yield from (f"  output  {each}" for each in signature.outputs)
