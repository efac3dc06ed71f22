"""Reads `models.config`, the text proto `ModelServerConfig` of the model server.

    model_config_list {
      config {
        name: "ranker"
        base_path: "/models/ranker"
        model_platform: "tensorflow"
        model_version_policy { specific { versions: 3 versions: 4 } }
        version_labels { key: "stable" value: 3 }
      }
    }

Unlike the server it takes relative base paths, below the directory of the file, and refuses a
`specific` policy without versions, which would unload the model. `logging_config` is read over.
The protos are those of `tensorflow-serving-api`; the ones used here do not import TensorFlow.
"""

import posixpath
from collections.abc import Collection
from pathlib import Path
from typing import Any

from servable_core.config.server_config import ModelConfig, ServerConfig
from servable_core.config.text_proto import lines_at_depth, parse_text_proto, read_text
from servable_core.errors import InvalidArgumentError
from servable_core.runtime.file_system import FileSystem, LocalFileSystem, join_path
from servable_core.servables.platform_registry import PlatformRegistry
from servable_core.sources.version_selection import (
    AllVersions,
    LatestVersions,
    SpecificVersions,
    VersionPolicy,
)

_BUILT_IN_PLATFORMS = PlatformRegistry().names
_CONFIG_DEPTH = 2  # model_config_list { config {


def read_server_config(
    path: str,
    *,
    file_system: FileSystem | None = None,
    platforms: Collection[str] = _BUILT_IN_PLATFORMS,
) -> ServerConfig:
    """Reads the file at `path`; relative base paths are below its directory.

    Raises:
        NotFoundError: There is no such file.
        InvalidArgumentError: As `parse_server_config`, or it is not UTF-8.
    """
    text = read_text(path, file_system or LocalFileSystem(), what="model config file")
    directory = posixpath.dirname(path)
    return parse_server_config(text, directory=directory, place=path, platforms=platforms)


def parse_server_config(
    text: str,
    *,
    directory: str,
    place: str = "models.config",
    platforms: Collection[str] = _BUILT_IN_PLATFORMS,
) -> ServerConfig:
    """Returns the models that a `ModelServerConfig` text proto lists.

    Args:
        text: The text proto; an empty one lists no models.
        directory: What relative base paths are below; itself below the working directory, if
            relative. Nothing relative is left.
        place: File name, for messages.
        platforms: Names of the platforms that can be served.

    Raises:
        InvalidArgumentError: Something is wrong; one message with the line and what was expected.
    """
    from tensorflow_serving.config import model_server_config_pb2

    proto = parse_text_proto(text, model_server_config_pb2.ModelServerConfig(), place)
    if proto.HasField("custom_model_config"):
        raise InvalidArgumentError(
            f"{place}: custom_model_config is not supported; expected model_config_list"
        )
    models: dict[str, ModelConfig] = {}
    lines = lines_at_depth(text, _CONFIG_DEPTH)
    for config, line in zip(proto.model_config_list.config, lines, strict=True):
        try:
            model = _to_model_config(config, directory, platforms)
            _check_new(model, models)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{place}:{line}: {error}") from error
        models[model.name] = model
    return ServerConfig(models=tuple(models.values()))


def _to_model_config(config: Any, directory: str, platforms: Collection[str]) -> ModelConfig:
    if not config.name:
        raise InvalidArgumentError('this config has no name; expected name: "..."')
    if not config.base_path:
        raise InvalidArgumentError(
            f'model {config.name!r} has no base_path; expected base_path: "..." with the directory of its version directories'
        )
    return ModelConfig(
        name=config.name,
        base_path=_absolute(config.base_path, directory),
        platform=_platform(config, platforms),
        versions=_version_policy(config),
        version_labels=dict(sorted(config.version_labels.items())),
    )


def _platform(config: Any, platforms: Collection[str]) -> str:
    expected = " or ".join(f'"{name}"' for name in platforms)
    platform: str = config.model_platform
    if platform and config.model_type:
        raise InvalidArgumentError(
            f"model {config.name!r} has both model_type and model_platform; expected model_platform alone"
        )
    if config.model_type == 1:  # TENSORFLOW, of files older than model_platform
        platform = "tensorflow"
    if platform not in platforms:
        found = f"the unknown model_platform {platform!r}" if platform else "no model_platform"
        raise InvalidArgumentError(
            f"model {config.name!r} has {found}; expected model_platform: {expected}; to add one, pass its name in platforms= here, and the platform itself to ServerCore"
        )
    return platform


def _version_policy(config: Any) -> VersionPolicy:
    policy = config.model_version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            return AllVersions()
        case "specific":
            return _specific_versions(config.name, tuple(policy.specific.versions))
        case _:  # unset is the latest one, and so is a number of 0, as for the server
            return LatestVersions(policy.latest.num_versions or 1)


def _specific_versions(name: str, versions: tuple[int, ...]) -> SpecificVersions:
    if not versions or min(versions) < 0:
        raise InvalidArgumentError(
            f"model {name!r} has specific versions {list(versions)}; expected versions: N at least once, each 0 or more"
        )
    return SpecificVersions(versions)


def _check_new(model: ModelConfig, models: dict[str, ModelConfig]) -> None:
    if model.name in models:
        raise InvalidArgumentError(
            f"model {model.name!r} is listed a second time; expected one config for each model"
        )


def _absolute(base_path: str, directory: str) -> str:
    if _is_uri(base_path) or base_path.startswith("/"):
        return base_path
    base = directory if _is_uri(directory) else posixpath.normpath(Path(directory).absolute())
    return join_path(base, posixpath.normpath(base_path))


def _is_uri(path: str) -> bool:
    return "://" in path
