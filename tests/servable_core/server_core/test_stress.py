"""Many readers while versions flip, loads fail and reloads run: real threads, fixed seeds.

A deadlock ends as a time-out of pytest's, with the stacks of all threads.
"""

import logging
import random
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from typing_extensions import override

from servable_core.config.server_config import ModelConfig
from servable_core.errors import (
    FailedPreconditionError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from servable_core.lifecycle import ServableRequest
from servable_core.resources import host_ram
from servable_core.runtime.retry import RetryOptions
from servable_core.server_core import ModelSpec, ServerCore
from servable_core.sources import LatestVersions, SpecificVersions
from servable_core.testing import FakeLoader, FakeServable
from tests.servable_core.server_core.fakes import FakeStore, available, config, model, use

NUM_READERS = 32
NUM_FIXED_VERSIONS = 6
NUM_KEPT_DIRECTORIES = 3
THINKING_SECS = (
    0.02  # on average between two uses, so that the readers leave others some of the interpreter
)
PAUSE_SECS = 0.1  # between two reloads: the rest is for flips
PATIENCE_SECS = 60.0
FLIPPING = [f"f{i}" for i in range(8)]  # always the latest versions, ever newer ones
LABELLED = [f"m{i}" for i in range(4)]  # version 1 and others, as reloads say
COMING = [f"x{i}" for i in range(4)]  # come and go with reloads
_REFUSALS = (UnavailableError, NotFoundError, FailedPreconditionError, ResourceExhaustedError)


@contextmanager
def _eager_switching() -> Iterator[None]:
    """Switches threads a hundred times as often as usual, to meet more interleavings."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(before / 100)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class StressStore(FakeStore):
    """Versions of which many fail to load, some of them for ever; thread-safe."""

    def __init__(self, seed: int) -> None:
        super().__init__(*(f"{name}/1" for name in FLIPPING))
        self._seed = seed
        self._lock = threading.Lock()
        self._failures_left: dict[str, int] = {}  # Guarded by _lock.
        self._has_loaded: dict[str, threading.Event] = {}  # Guarded by _lock.
        for name in (*LABELLED, *COMING):
            for version in range(1, NUM_FIXED_VERSIONS + 1):
                self.write(f"{name}/{version}")

    def has_loaded(self, path: str) -> threading.Event:
        """Returns what is set once a version directory has been loaded."""
        with self._lock:
            return self._has_loaded.setdefault(path, threading.Event())

    def num_loaded_paths(self, names: list[str]) -> int:
        """Returns how many version directories of these models have ever been loaded."""
        return sum(path.split("/")[1] in names for path in self.loaders)

    def take_failure(self, path: str) -> bool:
        """Returns whether a load of a version directory is to fail, which some do a few times."""
        first = [0] if path.endswith("/1") else [0, 0, 0, 1, 2, 5]
        with self._lock:
            num_failures = random.Random(f"{self._seed} {path}").choice(first)
            left = self._failures_left.setdefault(path, num_failures)
            self._failures_left[path] = max(0, left - 1)
        return left > 0 or path in self.failing

    def add_loaded(self, path: str, loader: FakeLoader) -> None:
        """Remembers a loader that has loaded; of the many that never do there is nothing to see."""
        with self._lock:
            self.loaders.setdefault(path, []).append(loader)
        self.has_loaded(path).set()

    @override
    def _create_loader(self, _servable_id, path, _file_system) -> FakeLoader:
        return _StressLoader(path, self)


class _StressLoader(FakeLoader):
    """Fails as its store says: a new loader of the same version does not begin anew."""

    def __init__(self, path: str, store: StressStore) -> None:
        super().__init__(path, resources=host_ram(1))
        self._path = path
        self._store = store

    @override
    def load(self) -> None:
        if self._store.take_failure(self._path):
            raise UnavailableError(f"{self._path} was told to fail")
        super().load()
        self._store.add_loaded(self._path, self)


class Flipper:
    """Publishes ever newer versions of the flipping models, and deletes the oldest."""

    def __init__(self, core: ServerCore, store: StressStore, seed: int) -> None:
        self._core = core
        self._store = store
        self._rng = random.Random(seed)
        self._newest = dict.fromkeys(FLIPPING, 1)

    def flip(self) -> None:
        """Publishes one version; waits for its load every other time."""
        name = self._rng.choice(FLIPPING)
        self._newest[name] += 1
        newest = self._newest[name]
        self._store.write(f"{name}/{newest}")
        self._store.files.remove_tree(f"/{name}/{newest - NUM_KEPT_DIRECTORIES}")
        self._core.poll()
        if self._rng.random() < 0.5:
            path = f"/{name}/{newest}"
            assert self._store.has_loaded(path).wait(PATIENCE_SECS), self._core.statuses()

    @property
    def newest_paths(self) -> list[str]:
        """The version directories published last."""
        return [f"/{name}/{version}" for name, version in self._newest.items()]


class Reloader:
    """Reloads configurations of which many are wrong: broken, missing or badly labelled."""

    def __init__(self, core: ServerCore, store: StressStore, seed: int) -> None:
        self._core = core
        self._store = store
        self._rng = random.Random(seed)
        self.num_refused = 0
        self.num_done = 0

    def run(self, stop: threading.Event) -> None:
        """Reloads until told to stop."""
        while not stop.wait(PAUSE_SECS):
            self._reload()

    def _reload(self) -> None:
        """Reloads once; what comes of it is in force, or else what was before."""
        before = self._core.config
        come = self._rng.sample(COMING, self._rng.randrange(len(COMING)))
        kept = {each.name: each for each in before.models if self._rng.random() < 0.7}
        names = (*FLIPPING, *LABELLED, *come)
        new = config(*(kept.get(name) or self._random_model(name) for name in names))
        self._store.failing = {
            f"/{self._rng.choice([*LABELLED, *come])}/{self._rng.randint(2, NUM_FIXED_VERSIONS)}"
            for _ in range(3)
        }
        try:
            self._core.reload(new, PATIENCE_SECS)
        except _REFUSALS:
            self.num_refused += 1
            assert self._core.config == before
        else:
            self.num_done += 1
            assert self._core.config == new
            assert set(_fixed_versions(new.models)) <= set(available(self._core))

    def _random_model(self, name: str) -> ModelConfig:
        if name in FLIPPING:
            return model(name, versions=LatestVersions(self._rng.choice([1, 2])))
        # The version above the last one is missing.
        others = self._rng.sample(range(1, NUM_FIXED_VERSIONS + 2), self._rng.randrange(1, 3))
        if name in COMING:
            return model(name, *others, version_labels={"first": others[0]})
        return model(name, 1, *(v for v in others if v != 1), version_labels={"anchor": 1})


def _fixed_versions(models: tuple[ModelConfig, ...]) -> list[str]:
    return [
        f"{each.name}/{version}"
        for each in models
        if isinstance(each.versions, SpecificVersions)
        for version in each.versions.versions
    ]


def _read(core: ServerCore, seed: int, stop: threading.Event) -> int:
    """Uses handles until told to stop; any failed look-up or use raises."""
    rng, num_uses = random.Random(seed), 0
    requests = [
        *(ModelSpec(name) for name in (*FLIPPING, *LABELLED)),
        *(ServableRequest.earliest(name) for name in FLIPPING),
        *(ModelSpec(name, version_label="anchor") for name in LABELLED),
    ]
    while not stop.is_set():
        with core.get_servable_handle(rng.choice(requests), FakeServable) as handle:
            handle.servable.use()
            stop.wait(rng.uniform(0, 2 * THINKING_SECS))  # flips go on, and must wait
            handle.servable.use()
        num_uses += 1
    return num_uses


def _first_models() -> list[ModelConfig]:
    labelled = (model(name, 1, version_labels={"anchor": 1}) for name in LABELLED)
    return [*map(model, FLIPPING), *labelled]


@pytest.mark.parametrize(
    "num_flips",
    [
        pytest.param(1_000, id="short"),
        pytest.param(10_000, id="full", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
def test_no_look_up_fails_and_nothing_is_used_after_its_unload(
    num_flips: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What is available stays so; in the end every loader that loaded has unloaded, once."""
    caplog.set_level(logging.CRITICAL)  # failed loads would fill the memory with their tracebacks
    store, stop = StressStore(seed=num_flips), threading.Event()
    with (
        store.core(
            *_first_models(),
            poll_interval_secs=0.5,
            num_load_threads=2,
            num_unload_threads=2,
            load_retry=RetryOptions(max_num_retries=1, initial_backoff_secs=0.001),
            reload_retry=RetryOptions(
                max_num_retries=sys.maxsize, initial_backoff_secs=0.002, max_backoff_secs=0.01
            ),
            total_ram_bytes=8 * len((*FLIPPING, *LABELLED, *COMING)),
        ) as core,
        _eager_switching(),
        ThreadPoolExecutor(NUM_READERS + 1) as pool,
    ):
        flipper, reloader = Flipper(core, store, num_flips), Reloader(core, store, num_flips)
        readers = [pool.submit(_read, core, seed, stop) for seed in range(NUM_READERS)]
        reloads = pool.submit(reloader.run, stop)
        try:
            for _ in range(num_flips):
                flipper.flip()
        finally:
            stop.set()
        num_uses = [reader.result(PATIENCE_SECS) for reader in readers]
        reloads.result(PATIENCE_SECS)
        assert all(store.has_loaded(path).wait(PATIENCE_SECS) for path in flipper.newest_paths)
        assert all(use(core, name, label="anchor") == f"/{name}/1" for name in LABELLED)

    loaders = [loader for made in store.loaders.values() for loader in made]
    assert min(num_uses) > 0
    assert store.num_loaded_paths(FLIPPING) > num_flips // 3  # the others were overtaken
    assert min(reloader.num_refused, reloader.num_done) > 0
    assert not any(loader.is_loaded for loader in loaders)
    assert all(len(each.unload_threads) == len(each.load_threads) for each in loaders)
