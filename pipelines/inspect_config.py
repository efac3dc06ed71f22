"""`inspect` for the models of a config file: each of them, and what is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.inspect import InspectOptions, describe_data, inspect, schema_lines, signature_lines
from pipelines.model_survey import ModelSurvey, survey_model
from servable_core.config import ModelConfig
from servable_core.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ServableCoreError,
)
from servable_core.lifecycle import ServableId
from servable_core.server_core import ModelStatus, VersionStatus
from servable_core.server_core.version_labels import check_label
from servable_core.sources.version_selection import (
    AllVersions,
    LatestVersions,
    SpecificVersions,
    VersionPolicy,
)
from transforms.inputs import InputDescription
from transforms.model_config import read_config
from transforms.storage import absolute_path


@dataclass(frozen=True, slots=True)
class _ModelReport:
    """What there is to say of one model.

    Attributes:
        lines: The report.
        problem: Why nothing of it can be served; None if something can.
    """

    lines: list[str]
    problem: str | None = None


def inspect_models(options: InspectOptions) -> str:
    """Returns the whole report, of the model at a base path or of those in a config file.

    Raises:
        ServableCoreError: As `inspect`; with a config file, that it is wrong, or that none of its
            models can be served. A model that cannot, beside others, is part of the report.
    """
    if options.model_config_file is None:
        return inspect(options)
    if options.model_base_path or options.model_version:
        flag = "--model_base_path" if options.model_base_path else "--model_version"
        raise InvalidArgumentError(
            f"{flag} does not go with --model_config_file, which says where its models are and which versions are served"
        )
    description = describe_data(options)
    models = read_config(options.model_config_file).models
    reports = [_report_of(model, options, description) for model in models]
    problems = [report.problem for report in reports if report.problem is not None]
    if len(problems) == len(reports):
        raise NotFoundError("; ".join(problems))
    data = [] if description is None else ["", *schema_lines(options, description)]
    lines = [f"{absolute_path(options.model_config_file)}: {len(models)} models", *data]
    return "\n".join([*lines, *(line for each in reports for line in ("", *each.lines))])


def _report_of(
    model: ModelConfig, options: InspectOptions, description: InputDescription | None
) -> _ModelReport:
    title = f"model {model.name}: {model.platform}, {_policy_words(model.versions)}"
    try:
        survey = survey_model(model)
        lines = list(_model_lines(model, survey, options, description))
    except ServableCoreError as error:
        return _ModelReport([title, f"  wrong: {error}"], f"model {model.name!r}: {error}")
    status = survey.status
    problem = None if status.is_available else f"model {model.name!r}: {status.error}"
    return _ModelReport([title, *(f"  {line}" for line in lines)], problem)


def _model_lines(
    model: ModelConfig,
    survey: ModelSurvey,
    options: InspectOptions,
    description: InputDescription | None,
) -> Iterator[str]:
    yield from _error_lines(survey.status)
    yield f"{model.base_path}: versions {', '.join(map(str, survey.present))}"
    yield from _label_lines(model, survey)
    for version in _versions_found(survey.status):
        yield from _version_lines(version, survey, options, description)


def _error_lines(status: ModelStatus) -> Iterator[str]:
    """Yields what is wrong with the model, unless its versions tell."""
    if status.error is not None and status.error not in [each.error for each in status.versions]:
        yield f"wrong: {status.error}"


def _label_lines(model: ModelConfig, survey: ModelSurvey) -> Iterator[str]:
    for label, version in model.version_labels.items():
        try:
            check_label(
                label,
                ServableId(model.name, version),
                lambda servable_id: servable_id.version in survey.structures,
            )
        except FailedPreconditionError as error:
            yield f"label {label}: version {version} (wrong: {error})"
        else:
            yield f"label {label}: version {version}"


def _versions_found(status: ModelStatus) -> list[VersionStatus]:
    """Returns those that are there, whole or not, ascending; a label may name one that is not."""
    found = [each for each in status.versions if each.state is not None or each.pending is not None]
    return sorted(found, key=lambda each: each.version)


def _version_lines(
    version: VersionStatus,
    survey: ModelSurvey,
    options: InspectOptions,
    description: InputDescription | None,
) -> Iterator[str]:
    yield f"version {version.version}"
    structure = survey.structures.get(version.version)
    if structure is None:
        yield (
            f"  broken: {version.error}" if version.error else f"  not complete: {version.pending}"
        )
    elif structure.signatures is None:
        yield f"  complete, {len(structure.directory.files)} files"
    else:
        path = structure.directory.path
        yield from signature_lines(path, structure.signatures, options, description)


def _policy_words(policy: VersionPolicy) -> str:
    match policy:
        case LatestVersions(num_versions):
            return "latest version" if num_versions == 1 else f"latest {num_versions} versions"
        case AllVersions():
            return "all versions"
        case SpecificVersions(versions):
            return f"versions {', '.join(map(str, sorted(versions)))}"
        case _:
            raise InvalidArgumentError(f"a config file cannot have the version policy {policy}")
