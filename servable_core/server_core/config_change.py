"""What a new configuration changes, and whether it may: pure."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from servable_core.config.server_config import ModelConfig, ServerConfig
from servable_core.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from servable_core.sources.version_selection import KeptVersions


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """The difference of two configurations, by model names; labels do not count.

    Attributes:
        added: Models that are new.
        changed: Models with another base path or version policy.
        removed: Models that are gone.
    """

    added: frozenset[str]
    changed: frozenset[str]
    removed: frozenset[str]

    @classmethod
    def between(cls, old: ServerConfig, new: ServerConfig) -> "ConfigChange":
        """Returns what leads from `old` to `new`."""
        before, after = models_by_name(old), models_by_name(new)
        kept = before.keys() & after.keys()
        return cls(
            added=frozenset(after.keys() - before.keys()),
            changed=frozenset(
                n for n in kept if _what_to_load(before[n]) != _what_to_load(after[n])
            ),
            removed=frozenset(before.keys() - after.keys()),
        )

    @property
    def to_load(self) -> frozenset[str]:
        """Models of which versions may have to be loaded."""
        return self.added | self.changed


def models_by_name(config: ServerConfig) -> dict[str, ModelConfig]:
    """Returns the models of a configuration by their names."""
    return {model.name: model for model in config.models}


def check_change(old: ServerConfig, new: ServerConfig, platforms: Collection[str]) -> None:
    """Checks what can be known of `new` before anything is loaded.

    Raises:
        InvalidArgumentError: A base path is relative, or a platform unknown.
        FailedPreconditionError: A model changes its platform.
    """
    before = models_by_name(old)
    for model in new.models:
        former = before.get(model.name)
        if former == model:
            continue  # whatever is wrong with it is no reason to refuse others
        if not (model.base_path.startswith("/") or "://" in model.base_path):
            raise InvalidArgumentError(
                f"base_path of model {model.name!r} must be absolute or a URI, got {model.base_path!r}: give a path such as {str(Path(model.base_path).absolute())!r}; in a file, relative ones are below its directory"
            )
        if model.platform not in platforms:
            raise InvalidArgumentError(unknown_platform(model.name, model.platform, platforms))
        if former is not None and former.platform != model.platform:
            raise FailedPreconditionError(
                f"model {model.name!r} cannot change its platform from {former.platform!r} to {model.platform!r}: remove it first"
            )


def unknown_platform(model_name: str, platform: str, known: Collection[str]) -> str:
    """Returns what is wrong with a model of a platform that is not there, and what to do."""
    return (
        f"model {model_name!r} has the unknown platform {platform!r}; "
        f"known are {', '.join(map(repr, known))}; "
        "to add one, pass platforms=PlatformRegistry([...]) to ServerCore"
    )


def union_of(
    old: ServerConfig, new: ServerConfig, *, keeps_versions: Callable[[str], bool]
) -> ServerConfig:
    """Returns `new` and what besides only `old` has: models, and versions of models.

    Versions are kept where the base path is the same, of the models that `keeps_versions` names.
    """
    before, names = models_by_name(old), models_by_name(new)
    models = (_union(before.get(m.name, m), m) if keeps_versions(m.name) else m for m in new.models)
    return ServerConfig(models=(*models, *(m for m in old.models if m.name not in names)))


def with_model(config: ServerConfig, model: ModelConfig) -> ServerConfig:
    """Returns `config` with one model more.

    Raises:
        AlreadyExistsError: If there is one of that name.
    """
    if model.name in models_by_name(config):
        raise AlreadyExistsError(f"there is a model {model.name!r} already: choose another name")
    return ServerConfig(models=(*config.models, model))


def without_model(config: ServerConfig, name: str) -> ServerConfig:
    """Returns `config` without the model called `name`.

    Raises:
        NotFoundError: If there is none.
    """
    if name not in models_by_name(config):
        raise NotFoundError(f"there is no model {name!r} to remove")
    return ServerConfig(models=tuple(m for m in config.models if m.name != name))


def _union(old: ModelConfig, new: ModelConfig) -> ModelConfig:
    if old.base_path != new.base_path or old.versions == new.versions:
        return new
    return replace(new, versions=KeptVersions(wanted=new.versions, kept=old.versions))


def _what_to_load(model: ModelConfig) -> object:
    return model.base_path, model.versions
