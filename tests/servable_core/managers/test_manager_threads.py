"""The manager with real threads."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from servable_core.errors import NotFoundError
from servable_core.lifecycle import ServableData, ServableId, ServableRequest
from servable_core.managers import AspiredVersionsManager, AspiredVersionsManagerOptions
from servable_core.testing import FakeLoader, FakeServable

PATIENCE_SECS = 10.0


def _aspire(
    manager: AspiredVersionsManager, name: str, loaders: dict[int, FakeLoader]
) -> list[ServableId]:
    ids = [ServableId(name, version) for version in loaders]
    pairs = zip(ids, loaders.values(), strict=True)
    manager.set_aspired_versions(name, [ServableData.of(*pair) for pair in pairs])
    return ids


@pytest.mark.parametrize(
    ("num_unload_threads", "thread"), [(0, "servable-manager"), (1, "servable-unload_0")]
)
def test_unload_does_not_run_on_the_thread_that_drops_the_handle(
    num_unload_threads: int, thread: str
) -> None:
    """A request never pays for an unload."""
    loader = FakeLoader()
    options = AspiredVersionsManagerOptions(num_unload_threads=num_unload_threads)
    with AspiredVersionsManager(options=options) as manager:
        manager.wait_until_available(_aspire(manager, "m", {1: loader}), PATIENCE_SECS)
        handle = manager.get_servable_handle(ServableRequest.latest("m"), FakeServable)
        _aspire(manager, "m", {})
        handle.close()
        assert loader.unload_started.wait(PATIENCE_SECS)

    assert loader.unload_threads == [thread]


def test_a_handle_dropped_open_does_not_hold_up_the_unload() -> None:
    """The leak is reported, and the servable goes."""
    loader = FakeLoader()
    with AspiredVersionsManager() as manager:
        manager.wait_until_available(_aspire(manager, "m", {1: loader}), PATIENCE_SECS)
        with pytest.warns(ResourceWarning, match="m/1 was dropped open"):
            manager.get_servable_handle(ServableRequest.latest("m"), FakeServable)

    assert not loader.is_loaded


def test_loads_run_side_by_side() -> None:
    """With two threads the second load begins before the first has ended."""
    gate = threading.Event()
    loaders = {1: FakeLoader(load_gate=gate), 2: FakeLoader(load_gate=gate)}
    options = AspiredVersionsManagerOptions(num_load_threads=2)
    with AspiredVersionsManager(options=options) as manager:
        ids = _aspire(manager, "m", loaders)
        assert all(loader.load_started.wait(PATIENCE_SECS) for loader in loaders.values())
        gate.set()
        manager.wait_until_available(ids, PATIENCE_SECS)

    assert len({name for loader in loaders.values() for name in loader.load_threads}) == 2


def test_steps_on_many_threads_load_each_version_once() -> None:
    """Of concurrent steps one begins each load."""
    barrier = threading.Barrier(4)
    loaders = {version: FakeLoader() for version in range(8)}
    with AspiredVersionsManager() as manager, ThreadPoolExecutor(4) as pool:
        ids = _aspire(manager, "m", loaders)
        for _ in range(4):
            pool.submit(lambda: (barrier.wait(PATIENCE_SECS), manager.step()))
        manager.wait_until_available(ids, PATIENCE_SECS)

    assert [len(loader.load_threads) for loader in loaders.values()] == [1] * 8


def _read(manager: AspiredVersionsManager, seed: int, stop: threading.Event) -> int:
    """Uses handles until told to stop; returns how many. Raises if a servable was unloaded."""
    rng, num_uses = random.Random(seed), 0
    while not stop.is_set():
        name = rng.choice("mn")
        request = rng.choice([ServableRequest.latest(name), ServableRequest.earliest(name)])
        try:
            handle = manager.get_servable_handle(request, FakeServable)
        except NotFoundError:
            continue
        with handle:
            for _ in range(rng.randrange(1, 20)):
                handle.servable.use()
        num_uses += 1
    return num_uses


@pytest.mark.parametrize("seed", range(2))
def test_readers_never_see_an_unloaded_servable_while_versions_flip(seed: int) -> None:
    """Four readers, two models, random lists of versions; at the end nothing is left loaded."""
    rng, stop, loaders = random.Random(seed), threading.Event(), list[FakeLoader]()
    options = AspiredVersionsManagerOptions(num_load_threads=2, num_unload_threads=2)
    with AspiredVersionsManager(options=options) as manager, ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(_read, manager, seed * 10 + i, stop) for i in range(4)]
        try:
            for _ in range(15):
                versions = rng.sample(range(6), rng.randrange(1, 4))
                new = {version: FakeLoader() for version in versions}
                loaders += new.values()
                ids = _aspire(manager, rng.choice("mn"), new)
                if rng.random() < 0.7:
                    manager.wait_until_available(ids, PATIENCE_SECS)
        finally:
            stop.set()
        num_uses = sum(reader.result(PATIENCE_SECS) for reader in readers)

    assert num_uses > 0
    assert not any(loader.is_loaded for loader in loaders)
    assert all(len(loader.unload_threads) == len(loader.load_threads) for loader in loaders)


def test_look_ups_take_no_lock_that_anything_else_can_hold() -> None:
    """Here all locks are held at once, in the middle of a load, and handles still come and go."""
    gate = threading.Event()
    with AspiredVersionsManager() as manager:
        manager.wait_until_available(_aspire(manager, "m", {1: FakeLoader()}), PATIENCE_SECS)
        slow = FakeLoader(load_gate=gate)
        _aspire(manager, "n", {1: slow})
        assert slow.load_started.wait(PATIENCE_SECS)
        with manager._lock, manager._basic._lock, manager._basic._serving_map._lock:
            request = ServableRequest.latest("m")
            with manager.get_servable_handle(request, FakeServable) as handle:
                handle.servable.use()
        gate.set()
