"""Which models a job runs: the one at a base path, or those that a model config file lists."""

from dataclasses import dataclass

from servable_core.config import ModelConfig, ServerConfig, read_server_config
from servable_core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from servable_core.lifecycle import ServableId
from servable_core.server_core.version_labels import check_label, find_version
from servable_core.sources.version_selection import (
    SpecificVersions,
    VersionPolicy,
    select_present,
)
from transforms.model_versions import ResolvedModel, list_versions, resolve_models
from transforms.storage import absolute_path, file_system_for

_RUNNABLE_PLATFORM = "tensorflow"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSelection:
    """What the user chose; either `model_base_path` or `model_config_file` is given.

    Attributes:
        model_base_path: Directory with version directories.
        model_config_file: Text proto `ModelServerConfig`.
        model_name: Name in the output; with a config file, the one of its models to run.
        versions: Which versions of the model at the base path.
        version_label: Of each model in the config file, the version with this label.
    """

    model_base_path: str | None
    model_config_file: str | None
    model_name: str | None
    versions: VersionPolicy
    version_label: str | None


def resolve_selected_models(selection: ModelSelection) -> list[ResolvedModel]:
    """Returns all versions to run, checked and fingerprinted.

    Raises:
        InvalidArgumentError: The config file is wrong, lists what cannot be run, or has no such
            label.
        FailedPreconditionError: The label is that of a version that is not served.
        NotFoundError: No such file, model, path or version.
        DataLossError: A selected version is corrupt or half-copied.
    """
    if selection.model_config_file is None:
        return resolve_models(
            selection.model_base_path or "", selection.model_name, selection.versions
        )
    path = absolute_path(selection.model_config_file)
    models = select_models(read_config(path), path, selection.model_name)
    policies = [_version_policy(each, selection.version_label, path) for each in models]
    return [
        resolved
        for model, policy in zip(models, policies, strict=True)
        for resolved in resolve_models(model.base_path, model.name, policy, _place(model, path))
    ]


def read_config(path: str) -> ServerConfig:
    """Reads a model config file, wherever Beam's file systems reach.

    Raises:
        InvalidArgumentError: It is wrong, or lists no model.
        NotFoundError: There is no such file.
    """
    path = absolute_path(path)
    config = read_server_config(path, file_system=file_system_for(path))
    if not config.models:
        raise InvalidArgumentError(f"--model_config_file={path} lists no models")
    return config


def select_models(config: ServerConfig, path: str, name: str | None) -> list[ModelConfig]:
    """Returns the model called `name`, or all where it is None.

    Raises:
        InvalidArgumentError: A model is not of a platform that jobs can run.
        NotFoundError: There is no such model.
    """
    chosen = [model for model in config.models if name in (None, model.name)]
    if not chosen:
        names = ", ".join(model.name for model in config.models)
        raise NotFoundError(f"--model_name={name}: --model_config_file={path} lists {names}")
    for model in chosen:
        if model.platform != _RUNNABLE_PLATFORM:
            raise InvalidArgumentError(
                f"{_place(model, path)}: a job cannot run the platform {model.platform!r}; choose another model with --model_name"
            )
    return chosen


def _version_policy(model: ModelConfig, label: str | None, path: str) -> VersionPolicy:
    if label is None:
        return model.versions
    try:
        return SpecificVersions((_labelled_version(model, label, path),))
    except (InvalidArgumentError, FailedPreconditionError) as error:
        raise type(error)(
            f"--version_label={label}, --model_config_file={path}: {error}; or choose another model with --model_name"
        ) from error


def _labelled_version(model: ModelConfig, label: str, path: str) -> int:
    """Returns the version that a server of this configuration would answer with."""
    version = find_version({model.name: model.version_labels}, model.name, label)
    served = select_present(
        model.versions, list(list_versions(model.base_path, _place(model, path)))
    )
    check_label(label, ServableId(model.name, version), lambda each: each.version in served)
    return version


def _place(model: ModelConfig, path: str) -> str:
    return f"model {model.name!r} of --model_config_file={path}, base_path {model.base_path}"
