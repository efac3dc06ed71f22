"""`inspect` for the models of a config file: each of them, and what is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.inspect import (
    InspectOptions,
    describe_data,
    inspect,
    schema_lines,
    version_lines,
)
from servable_core.config import ModelConfig
from servable_core.errors import InvalidArgumentError, NotFoundError, ServableCoreError
from servable_core.servables.platform_registry import PlatformRegistry
from servable_core.servables.saved_model.structure import relative_paths
from servable_core.sources.storage_path_versions import VersionDirectory
from servable_core.sources.version_selection import (
    AllVersions,
    LatestVersions,
    SpecificVersions,
    VersionPolicy,
)
from transforms.inputs import InputDescription
from transforms.model_config import read_config
from transforms.model_versions import find_versions, list_versions
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
    place = f"base path {model.base_path}"
    try:
        numbers = ", ".join(map(str, list_versions(model.base_path, place)))
        selected = find_versions(model.base_path, model.versions, place)
        sections = [
            list(_version_section(model, number, directory, options, description))
            for number, directory in selected.items()
        ]
    except ServableCoreError as error:
        return _ModelReport([title, f"  wrong: {error}"], f"model {model.name!r}: {error}")
    broken = [section[1].strip() for section in sections if section[1].startswith("  broken: ")]
    return _ModelReport(
        [
            title,
            f"  {model.base_path}: versions {numbers}",
            *_label_lines(model, selected),
            *(f"  {line}" for section in sections for line in section),
        ],
        f"model {model.name!r}: {broken[0]}" if len(broken) == len(sections) else None,
    )


def _version_section(
    model: ModelConfig,
    number: int,
    directory: VersionDirectory,
    options: InspectOptions,
    description: InputDescription | None,
) -> Iterator[str]:
    if model.platform == "tensorflow":
        yield from version_lines(number, directory, options, description)
        return
    platform = PlatformRegistry().find(model.platform)
    missing = platform.find_missing(relative_paths(directory.path, directory.files))
    yield f"version {number}"
    yield f"  broken: {missing}" if missing else f"  complete, {len(directory.files)} files"


def _label_lines(model: ModelConfig, selected: dict[int, VersionDirectory]) -> Iterator[str]:
    for label, version in model.version_labels.items():
        wrong = "" if version in selected else " (wrong: this version is not served)"
        yield f"  label {label}: version {version}{wrong}"


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
