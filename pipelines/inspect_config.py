"""`inspect` for the models of a config file: each of them, and what is wrong with it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipelines.inspect import inspect, shown_signatures, version_lines, versions_found
from pipelines.inspect_options import InspectOptions
from pipelines.inspected_data import InspectedData, inspected_data
from pipelines.model_survey import PATIENCE_SECS, ModelSurvey, survey_models
from servable_core.config import ModelConfig
from servable_core.errors import InvalidArgumentError, NotFoundError, ServableCoreError
from servable_core.servables.signature import SignatureSpec
from servable_core.server_core import ModelStatus
from servable_core.sources.version_selection import (
    AllVersions,
    LatestVersions,
    SpecificVersions,
    VersionPolicy,
)
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
    data = inspected_data(options)
    config = read_config(options.model_config_file)
    surveys = survey_models(config)
    if data is not None:
        data.check_names(_all_signatures(surveys, options))
    reports = [
        _report_of(model, survey, options, data)
        for model, survey in zip(config.models, surveys, strict=True)
    ]
    problems = [report.problem for report in reports if report.problem is not None]
    if len(problems) == len(reports):
        raise NotFoundError("; ".join(problems))
    shown_data = [] if data is None else ["", *data.schema_lines()]
    lines = [
        f"{absolute_path(options.model_config_file)}: {len(config.models)} models",
        *shown_data,
    ]
    return "\n".join([*lines, *(line for each in reports for line in ("", *each.lines))])


def _all_signatures(surveys: Iterable[ModelSurvey], options: InspectOptions) -> list[SignatureSpec]:
    """Returns those of the models that have the ones asked for; the report tells of the rest."""
    found: list[SignatureSpec] = []
    for survey in surveys:
        try:
            found += shown_signatures([survey], options)
        except ServableCoreError:
            continue
    return found


def _report_of(
    model: ModelConfig, survey: ModelSurvey, options: InspectOptions, data: InspectedData | None
) -> _ModelReport:
    title = f"model {model.name}: {model.platform}, {_policy_words(model.versions)}"
    try:
        lines = list(_model_lines(survey, options, data))
    except ServableCoreError as error:
        return _ModelReport([title, f"  wrong: {error}"], f"model {model.name!r}: {error}")
    status = survey.status
    problem = None if status.is_available else f"model {model.name!r}: {_wrong(status)}"
    return _ModelReport([title, *(f"  {line}" for line in lines)], problem)


def _model_lines(
    survey: ModelSurvey, options: InspectOptions, data: InspectedData | None
) -> Iterator[str]:
    status = survey.status
    wrong = _wrong(status)
    if wrong is not None and wrong not in [str(each.error) for each in status.versions]:
        yield f"wrong: {wrong}"
    if status.present:
        yield f"{status.base_path}: versions {', '.join(map(str, status.present))}"
    yield from _label_lines(survey)
    for version in versions_found(survey):
        yield from version_lines(version, survey, options, data)


def _wrong(status: ModelStatus) -> str | None:
    """Returns what is wrong with a model; None if nothing is."""
    if status.error is not None:
        return str(status.error)
    if status.is_available:
        return None
    return (
        f"{status.base_path} was not read in {PATIENCE_SECS:.0f} seconds: its store does not answer"
    )


def _label_lines(survey: ModelSurvey) -> Iterator[str]:
    for label, version in survey.status.version_labels.items():
        error = survey.label_errors.get(label)
        yield f"label {label}: version {version}{'' if error is None else f' (wrong: {error})'}"


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
