"""A store of fake models, a platform that loads them, and cores that serve them."""

import threading
from typing import Any

from servable_core.config.server_config import ModelConfig, ServerConfig
from servable_core.runtime.retry import RetryOptions
from servable_core.servables.platform import Platform
from servable_core.servables.platform_registry import PlatformRegistry
from servable_core.server_core import ModelSpec, ServerCore, ServerCoreOptions
from servable_core.sources import SpecificVersions
from servable_core.testing import FakeClock, FakeFileSystem, FakeLoader, FakeServable

PATIENCE_SECS = 10.0


class FakeStore:
    """Versions below `/NAME`, whose loaders fail or block as a test says; thread-safe to read.

    Attributes:
        files: Where they lie.
        failing: Version directories whose loads fail.
        gates: What the load of a version directory waits for.
        loaders: All loaders made, by version directory, newest last.
    """

    def __init__(self, *versions: str) -> None:
        self.files = FakeFileSystem()
        self.failing: set[str] = set()
        self.gates: dict[str, threading.Event] = {}
        self.loaders: dict[str, list[FakeLoader]] = {}
        self._made = threading.Condition()
        for version in versions:
            self.write(version)

    def write(self, version: str) -> None:
        """Makes a version such as `a/1`."""
        self.files.write(f"/{version}/model")

    @property
    def num_loaded(self) -> int:
        """Loaders that are loaded now."""
        return sum(loader.is_loaded for made in self.loaders.values() for loader in made)

    def platforms(self) -> PlatformRegistry:
        """Returns the platforms `fake` and `other`."""
        return PlatformRegistry(
            [Platform(name=name, create_loader=self._create_loader) for name in ("fake", "other")]
        )

    def core(
        self, *models: ModelConfig, clock: FakeClock | None = None, **options: Any
    ) -> ServerCore:
        """Returns a core that serves `models`, and polls when it is told to."""
        defaults = {
            "poll_interval_secs": None,
            "settle_secs": 0.0,
            "load_retry": RetryOptions(max_num_retries=0),
        }
        return ServerCore(
            ServerConfig(models=models),
            platforms=self.platforms(),
            file_system=self.files,
            options=ServerCoreOptions(**{**defaults, **options}),
            clock=clock,
        )

    def _create_loader(self, _servable_id: Any, path: str, _file_system: Any) -> FakeLoader:
        loader = FakeLoader(
            path,
            num_failures=99 if path in self.failing else 0,
            load_gate=self.gates.get(path),
        )
        with self._made:
            self.loaders.setdefault(path, []).append(loader)
            self._made.notify_all()
        return loader

    def block_until_loading(self, path: str) -> None:
        """Returns when the first load of a version directory has begun."""
        with self._made:
            assert self._made.wait_for(lambda: path in self.loaders, PATIENCE_SECS)
        assert self.loaders[path][0].load_started.wait(PATIENCE_SECS)


def model(name: str, *versions: int, base_path: str = "", **fields: Any) -> ModelConfig:
    """Returns a model of the fake platform: its latest version, or those given."""
    if versions:
        fields["versions"] = SpecificVersions(versions)
    return ModelConfig(
        name=name, base_path=base_path or f"/{name}", **{"platform": "fake", **fields}
    )


def config(*models: ModelConfig) -> ServerConfig:
    """Returns a configuration of `models`."""
    return ServerConfig(models=models)


def use(core: ServerCore, name: str, version: int | None = None, label: str | None = None) -> Any:
    """Returns the version directory that answers a request."""
    with core.get_servable_handle(ModelSpec(name, version, label), FakeServable) as handle:
        return handle.servable.use()


def available(core: ServerCore) -> list[str]:
    """Returns what can be obtained."""
    return list(map(str, core.list_available_servable_ids()))
