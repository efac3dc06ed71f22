"""Many readers while versions come and go, loads fail and reloads run: real threads, fixed seeds."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from servable_core.config.server_config import ModelConfig
from servable_core.errors import FailedPreconditionError, NotFoundError, UnavailableError
from servable_core.runtime.retry import RetryOptions
from servable_core.server_core import ModelSpec, ServerCore
from servable_core.sources import SpecificVersions
from servable_core.testing import FakeServable
from tests.servable_core.server_core.fakes import FakeStore, available, config, model, use

NUM_READERS = 32
NUM_VERSIONS = 6
THINKING_SECS = 0.002  # between two uses, so that the readers leave others some of the interpreter
PATIENCE_SECS = 60.0
STAYING = [f"m{i}" for i in range(8)]
COMING = [f"x{i}" for i in range(4)]
_EXPECTED = (UnavailableError, NotFoundError, FailedPreconditionError)


def _read(core: ServerCore, seed: int, stop: threading.Event) -> int:
    """Uses the models that stay until told to stop; any failed look-up or use raises."""
    rng, num_uses = random.Random(seed), 0
    while not stop.wait(THINKING_SECS):
        name = rng.choice(STAYING)
        spec = rng.choice([ModelSpec(name), ModelSpec(name, version_label="anchor")])
        with core.get_servable_handle(spec, FakeServable) as handle:
            for _ in range(rng.randrange(1, 20)):
                handle.servable.use()
        assert len(core.statuses()) >= len(STAYING)
        num_uses += 1
    return num_uses


def _random_model(rng: random.Random, name: str) -> ModelConfig:
    """Some versions of a model; those that stay always with the version their label points to."""
    others = rng.sample(range(1, NUM_VERSIONS + 2), rng.randrange(1, 3))  # the last one is missing
    if name in COMING:
        return model(name, *others, version_labels={"first": others[0]})
    return model(name, 1, *(each for each in others if each != 1), version_labels={"anchor": 1})


class Reloader:
    """Reloads configurations of which many are wrong: broken, missing or badly labelled."""

    def __init__(self, core: ServerCore, store: FakeStore, seed: int) -> None:
        self._core = core
        self._store = store
        self._rng = random.Random(seed)
        self.num_refused = 0
        self.num_done = 0

    def reload(self) -> None:
        """Reloads once; what comes of it is in force, or else what was before."""
        before = self._core.config
        names = [*STAYING, *self._rng.sample(COMING, self._rng.randrange(len(COMING)))]
        kept = {each.name: each for each in before.models if self._rng.random() < 0.7}
        new = config(*(kept.get(name) or _random_model(self._rng, name) for name in names))
        self._store.failing = {
            f"/{self._rng.choice(names)}/{self._rng.randrange(2, NUM_VERSIONS + 1)}"
            for _ in range(3)
        }
        try:
            self._core.reload(new, PATIENCE_SECS)
        except _EXPECTED:
            self.num_refused += 1
            assert self._core.config == before
        else:
            self.num_done += 1
            assert self._core.config == new
            assert set(_wanted(new.models)) <= set(available(self._core))


def _wanted(models: tuple[ModelConfig, ...]) -> list[str]:
    return [
        f"{each.name}/{version}"
        for each in models
        if isinstance(each.versions, SpecificVersions)
        for version in each.versions.versions
    ]


@pytest.mark.parametrize(
    "num_reloads", [60, pytest.param(600, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
def test_reloads_never_disturb_the_models_that_stay(num_reloads: int) -> None:
    """Refused or not: no look-up fails, nothing is used after its unload, nothing stays behind."""
    versions = range(1, NUM_VERSIONS + 1)
    store = FakeStore(*(f"{n}/{v}" for n in [*STAYING, *COMING] for v in versions))
    first = [model(name, 1, version_labels={"anchor": 1}) for name in STAYING]
    stop = threading.Event()
    retry = RetryOptions(max_num_retries=100, initial_backoff_secs=0.002)
    with (
        store.core(*first, poll_interval_secs=0.05, reload_retry=retry) as core,
        ThreadPoolExecutor(NUM_READERS) as pool,
    ):
        reloader = Reloader(core, store, seed=num_reloads)
        readers = [pool.submit(_read, core, seed, stop) for seed in range(NUM_READERS)]
        try:
            for _ in range(num_reloads):
                reloader.reload()
        finally:
            stop.set()
        num_uses = [reader.result(PATIENCE_SECS) for reader in readers]
        assert all(use(core, name, label="anchor") == f"/{name}/1" for name in STAYING)

    assert min(num_uses) > 0
    assert min(reloader.num_refused, reloader.num_done) > num_reloads // 20
    assert store.num_loaded == 0
    assert all(len(each.unload_threads) <= 1 for made in store.loaders.values() for each in made)
