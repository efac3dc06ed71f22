"""What is to be served, as plain values: no protos here."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from servable_core.errors import InvalidArgumentError
from servable_core.sources.version_selection import LatestVersions, VersionPolicy


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """One model.

    Attributes:
        name: Its servable name.
        base_path: Absolute directory or URI of its version directories.
        platform: What kind of servable it is; the name of a `Platform`.
        versions: Which of its versions are served.
        version_labels: Versions by the names that requests may use instead of numbers.
    """

    name: str
    base_path: str
    platform: str = "tensorflow"
    versions: VersionPolicy = field(default_factory=LatestVersions)
    version_labels: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for attribute in ("name", "base_path", "platform"):
            if not getattr(self, attribute):
                raise InvalidArgumentError(f"{attribute} of model {self.name!r} must not be empty")
        for label, version in self.version_labels.items():
            if not label or version < 0:
                raise InvalidArgumentError(
                    f"version_labels of model {self.name!r} must map names to versions of 0 or more, got {label!r}: {version}"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerConfig:
    """All models, in the order of their file; names are distinct."""

    models: tuple[ModelConfig, ...] = ()

    def __post_init__(self) -> None:
        for name, count in Counter(model.name for model in self.models).items():
            if count > 1:
                raise InvalidArgumentError(
                    f"model {name!r} is listed {count} times: give each model one entry"
                )
