"""Models whose versions never change: what a batch job has pinned."""

import contextlib
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from typing_extensions import override

from servable_core.config.server_config import ModelConfig, ServerConfig
from servable_core.errors import FailedPreconditionError
from servable_core.lifecycle.loader import Loader
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.source import Target, connect
from servable_core.lifecycle.source_adapter import UnarySourceAdapter
from servable_core.server_core.model_feed import ModelFeed
from servable_core.sources.static_source import StaticStoragePathSource
from servable_core.sources.version_selection import AllVersions
from servable_core.sources.watched_servable import StoragePathStatus


@dataclass(frozen=True, slots=True)
class PinnedModels:
    """Versions to load and keep.

    Attributes:
        versions: For each model name its versions and where each one lies.
        create_loader: Makes the loader of one version from its path; cheap, does not load.
    """

    versions: Mapping[str, Mapping[int, str]]
    create_loader: Callable[[ServableId, str], Loader[Any]]


class PinnedFeed(ModelFeed):
    """Feeds pinned models, once; thread-safe."""

    def __init__(self, models: PinnedModels) -> None:
        self._models = models
        self._config = ServerConfig(
            models=tuple(
                ModelConfig(name=name, base_path=_base_path(name, paths), versions=AllVersions())
                for name, paths in models.versions.items()
            )
        )

    @property
    @override
    def config(self) -> ServerConfig:
        return self._config

    @override
    def connect(self, target: Target[Loader[Any]], closing: contextlib.ExitStack) -> None:
        adapter = UnarySourceAdapter[str, Loader[Any]](self._models.create_loader)
        closing.enter_context(connect(adapter, target))
        closing.enter_context(connect(StaticStoragePathSource(self._models.versions), adapter))

    @override
    def update(self, config: ServerConfig) -> None:
        self.refuse()

    def refuse(self) -> NoReturn:
        """Raises the error of all changes."""
        raise FailedPreconditionError(
            "the models of this core are pinned: make it from a ServerConfig to change them"
        )

    @override
    def poll(self) -> None:
        """Does nothing: there is nothing new to find."""

    @property
    @override
    def next_poll_secs(self) -> None:
        return None

    @override
    def status(self, model_name: str) -> StoragePathStatus | None:
        paths = self._models.versions.get(model_name)
        if paths is None:
            return None
        versions = tuple(sorted(paths))
        return StoragePathStatus(
            base_path=_base_path(model_name, paths),
            present=versions,
            aspired=versions,
            is_listed=True,
        )

    @override
    def statuses(self) -> Mapping[str, StoragePathStatus]:
        found = ((name, self.status(name)) for name in self._models.versions)
        return {name: status for name, status in found if status is not None}


def _base_path(name: str, paths: Mapping[int, str]) -> str:
    path = next(iter(paths.values()), name)
    return posixpath.dirname(path.rstrip("/")) or path
