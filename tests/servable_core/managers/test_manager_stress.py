"""Many readers while versions flip, loads fail and are tried again: real threads, fixed seeds."""

import random
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from servable_core.errors import UnavailableError
from servable_core.lifecycle import ServableData, ServableId, ServableRequest
from servable_core.managers import AspiredVersionsManager, AspiredVersionsManagerOptions
from servable_core.resources import host_ram
from servable_core.runtime.retry import RetryOptions
from servable_core.testing import FakeLoader, FakeServable

PATIENCE_SECS = 60.0
NUM_READERS = 32
THINKING_SECS = 0.002  # between two uses, so that the readers leave others some of the interpreter
NAMES = [f"m{i}" for i in range(8)]


@contextmanager
def _eager_switching() -> Iterator[None]:
    """Switches threads a hundred times as often as usual, to meet more interleavings."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(before / 100)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Flipper:
    """Aspires to ever newer versions, of which some fail for a while."""

    def __init__(self, manager: AspiredVersionsManager, seed: int) -> None:
        self._manager = manager
        self._rng = random.Random(seed)
        self._versions = dict.fromkeys(NAMES, 0)
        self.loaders: list[FakeLoader] = []

    def start(self) -> None:
        """Brings up the first version of each servable."""
        for name in NAMES:
            self._aspire(name, [0], num_failures=0)
        ids = [ServableId(name, 0) for name in NAMES]
        self._manager.wait_until_available(ids, PATIENCE_SECS)

    def flip(self) -> None:
        """Replaces a version by one or two newer ones; waits for them every other time."""
        name = self._rng.choice(NAMES)
        self._versions[name] += 1
        newest = self._versions[name]
        versions = [newest] if self._rng.random() < 0.7 else [newest - 1, newest]
        num_failures = self._rng.choice([0, 0, 0, 1, 2, 5])
        self._aspire(name, versions, num_failures=num_failures)
        if self._rng.random() < 0.5:
            try:
                self._manager.wait_until_available([ServableId(name, newest)], PATIENCE_SECS)
            except UnavailableError:
                assert num_failures

    def _aspire(self, name: str, versions: list[int], num_failures: int) -> None:
        new = [FakeLoader(num_failures=num_failures, resources=host_ram(1)) for _ in versions]
        self.loaders += new
        ids = [ServableId(name, version) for version in versions]
        self._manager.set_aspired_versions(name, list(map(ServableData.of, ids, new)))


def _read(manager: AspiredVersionsManager, seed: int, stop: threading.Event) -> int:
    """Uses handles until told to stop; any failed look-up or use raises."""
    rng, num_uses = random.Random(seed), 0
    while not stop.wait(THINKING_SECS):
        name = rng.choice(NAMES)
        request = rng.choice([ServableRequest.latest(name), ServableRequest.earliest(name)])
        with manager.get_servable_handle(request, FakeServable) as handle:
            for _ in range(rng.randrange(1, 20)):
                handle.servable.use()
        num_uses += 1
    return num_uses


@pytest.mark.parametrize(
    "num_flips", [1_000, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
@pytest.mark.parametrize("num_threads", [0, 2])
def test_no_look_up_fails_and_nothing_is_used_after_its_unload(
    num_flips: int, num_threads: int
) -> None:
    """What is available stays so; in the end every loader that loaded has unloaded, once."""
    stop = threading.Event()
    options = AspiredVersionsManagerOptions(
        num_load_threads=num_threads,
        num_unload_threads=num_threads,
        load_retry=RetryOptions(max_num_retries=1, initial_backoff_secs=0.001),
        reload_retry=RetryOptions(max_num_retries=100, initial_backoff_secs=0.002),
        total_resources=host_ram(4 * len(NAMES)),
    )
    manager = AspiredVersionsManager(options=options)
    flipper = Flipper(manager, seed=num_flips)
    with manager, _eager_switching(), ThreadPoolExecutor(NUM_READERS) as pool:
        flipper.start()
        readers = [pool.submit(_read, manager, seed, stop) for seed in range(NUM_READERS)]
        try:
            for _ in range(num_flips):
                flipper.flip()
        finally:
            stop.set()
        num_uses = [reader.result(PATIENCE_SECS) for reader in readers]

    assert min(num_uses) > 0
    assert not any(loader.is_loaded for loader in flipper.loaders)
    assert all(
        len(loader.unload_threads) == max(0, len(loader.load_threads) - loader.num_failures)
        for loader in flipper.loaders
    )
