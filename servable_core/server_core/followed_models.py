"""Models that are followed on a file system: source, router, an adapter for each platform."""

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from typing_extensions import override

from servable_core.config.server_config import ModelConfig, ServerConfig
from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.lifecycle.loader import Loader
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.source import Target, connect
from servable_core.lifecycle.source_adapter import UnarySourceAdapter
from servable_core.lifecycle.source_router import DynamicSourceRouter
from servable_core.runtime.clock import Clock
from servable_core.runtime.file_system import FileSystem
from servable_core.servables.platform_registry import PlatformRegistry
from servable_core.server_core.config_change import models_by_name, unknown_platform
from servable_core.server_core.model_feed import ModelFeed
from servable_core.server_core.options import ServerCoreOptions
from servable_core.sources.file_system_source import (
    FileSystemStoragePathSource,
    FileSystemStoragePathSourceOptions,
)
from servable_core.sources.version_completeness import accept_any
from servable_core.sources.watched_servable import StoragePathStatus, WatchedServable


class FollowedFeed(ModelFeed):
    """Feeds what lies below the base paths of a configuration; thread-safe.

    A model of an unknown platform becomes versions in error.

    Args:
        config: The models.
        platforms: Makes loaders.
        file_system: Where the base paths are.
        options: How often to look.
        on_poll: Called with a model's name after each look at its base path, without a lock.
        clock: Times the looks.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        platforms: PlatformRegistry,
        file_system: FileSystem,
        options: ServerCoreOptions,
        on_poll: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._platforms = platforms
        self._file_system = file_system
        self._options = options
        self._source = FileSystemStoragePathSource(
            self._source_options(config), file_system=file_system, on_poll=on_poll, clock=clock
        )
        self._router = DynamicSourceRouter[str](len(platforms.names) + 1, self._routes(config))
        self._lock = threading.Lock()
        self._config = config  # Guarded by _lock.

    @property
    @override
    def config(self) -> ServerConfig:
        with self._lock:
            return self._config

    @override
    def connect(self, target: Target[Loader[Any]], closing: contextlib.ExitStack) -> None:
        converters = [*map(self._loader_maker, self._platforms.names), self._refuse]
        for port, convert in zip(self._router.output_ports, converters, strict=True):
            adapter = UnarySourceAdapter[str, Loader[Any]](convert)
            closing.enter_context(connect(adapter, target))
            closing.enter_context(connect(port, adapter))
        closing.enter_context(self._source)
        closing.enter_context(connect(self._source, self._router))
        self._poll_unless_polling()

    @override
    def update(self, config: ServerConfig) -> None:
        options = self._source_options(config)
        with self._lock:
            self._config = config
        # Removals leave by their old routes; what is new needs its route before it comes.
        self._router.update_routes({**self._router.routes, **self._routes(config)})
        self._source.update_options(options)
        self._router.update_routes(self._routes(config))
        self._poll_unless_polling()

    @override
    def poll(self) -> None:
        self._source.step()

    @property
    @override
    def next_poll_secs(self) -> float | None:
        return self._source.rest_secs if self._options.poll_interval_secs is None else None

    @override
    def status(self, model_name: str) -> StoragePathStatus | None:
        return self._source.status(model_name)

    @override
    def statuses(self) -> Mapping[str, StoragePathStatus]:
        return self._source.statuses()

    def _poll_unless_polling(self) -> None:
        if self._options.poll_interval_secs is None:
            self._source.step()

    def _source_options(self, config: ServerConfig) -> FileSystemStoragePathSourceOptions:
        return FileSystemStoragePathSourceOptions(
            servables={model.name: self._watched(model) for model in config.models},
            poll_interval_secs=self._options.poll_interval_secs,
            settle_secs=self._options.settle_secs,
            servable_versions_always_present=self._options.servable_versions_always_present,
        )

    def _watched(self, model: ModelConfig) -> WatchedServable:
        is_known = model.platform in self._platforms.names
        return WatchedServable(
            base_path=model.base_path,
            version_policy=model.versions,
            find_missing=self._platforms.find(model.platform).find_missing
            if is_known
            else accept_any,
        )

    def _routes(self, config: ServerConfig) -> dict[str, int]:
        ports = {name: index for index, name in enumerate(self._platforms.names)}
        return {m.name: ports[m.platform] for m in config.models if m.platform in ports}

    def _loader_maker(self, platform: str) -> Callable[[ServableId, str], Loader[Any]]:
        def create_loader(servable_id: ServableId, path: str) -> Loader[Any]:
            made = self._platforms.find(platform).create_loader(
                servable_id, path, self._file_system
            )
            return _checked_loader(made, platform, servable_id)

        return create_loader

    def _refuse(self, servable_id: ServableId, _path: str) -> Loader[Any]:
        model = models_by_name(self.config).get(servable_id.name)
        raise NotFoundError(
            unknown_platform(
                servable_id.name, model.platform if model else "", self._platforms.names
            )
        )


def _checked_loader(made: object, platform: str, servable_id: ServableId) -> Loader[Any]:
    """Returns what a platform has made, whose types only a type checker has looked at."""
    if not isinstance(made, Loader):
        raise InvalidArgumentError(
            f"create_loader of platform {platform!r} must return a Loader for {servable_id}, got {made!r}: return a SimpleLoader, for instance"
        )
    return made
