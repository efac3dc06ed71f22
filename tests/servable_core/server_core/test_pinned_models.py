"""Models in, loaded servables out."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from servable_core.errors import DeadlineExceededError, NotFoundError, UnavailableError
from servable_core.lifecycle import ServableId, ServableRequest
from servable_core.runtime.retry import RetryOptions
from servable_core.server_core import PinnedModels, ServerCore, ServerCoreOptions
from servable_core.testing import FakeClock, FakeLoader, FakeServable

MODELS = {"a": {1: "/a/1", 2: "/a/2"}, "b": {7: "/b/7"}}


class Loaders:
    """Makes fake loaders and remembers them."""

    def __init__(self, failing: str = "") -> None:
        self.by_path: dict[str, FakeLoader] = {}
        self._failing = failing

    def __call__(self, servable_id: ServableId, path: str) -> FakeLoader:
        loader = FakeLoader(path, num_failures=99 if path == self._failing else 0)
        return self.by_path.setdefault(path, loader)

    @property
    def num_loaded(self) -> int:
        return sum(loader.is_loaded for loader in self.by_path.values())


def _only(loader: FakeLoader) -> PinnedModels:
    return PinnedModels({"b": {7: "/b/7"}}, lambda *_: loader)


@pytest.mark.parametrize("num_threads", [0, 1, 4])
def test_every_version_is_available_when_the_constructor_returns(num_threads: int) -> None:
    """And all are gone when the block ends."""
    loaders = Loaders()
    options = ServerCoreOptions(
        num_initial_load_threads=num_threads,
        num_load_threads=num_threads,
        num_unload_threads=num_threads,
    )

    with ServerCore(PinnedModels(MODELS, loaders), options=options) as core:
        assert list(map(str, core.list_available_servable_ids())) == ["a/1", "a/2", "b/7"]
        with core.get_servable_handle(ServableRequest.latest("a"), FakeServable) as handle:
            assert handle.servable.use() == "/a/2"

    assert loaders.num_loaded == 0
    with pytest.raises(NotFoundError):
        core.get_servable_handle(ServableRequest.latest("a"), FakeServable)


def test_a_load_error_is_raised_after_cleaning_up() -> None:
    """What was loaded before the failure does not stay."""
    loaders = Loaders(failing="/a/2")
    options = ServerCoreOptions(load_retry=RetryOptions(max_num_retries=0))

    with pytest.raises(UnavailableError):
        ServerCore(PinnedModels(MODELS, loaders), options=options)

    assert loaders.num_loaded == 0


def test_an_error_in_making_a_loader_is_raised() -> None:
    """It does not wait for the other versions, nor for ever."""

    def create_loader(servable_id: ServableId, path: str) -> FakeLoader:
        raise NotFoundError(f"nothing at {path}")

    with pytest.raises(NotFoundError, match="nothing at /b/7"):
        ServerCore(PinnedModels({"b": {7: "/b/7"}}, create_loader))


def test_a_failed_load_is_retried_with_back_off() -> None:
    """The core comes up when the second attempt succeeds."""
    clock, loader = FakeClock(), FakeLoader(num_failures=1)
    options = ServerCoreOptions(load_retry=RetryOptions(initial_backoff_secs=30))

    with ThreadPoolExecutor() as pool:
        starting = pool.submit(ServerCore, _only(loader), options=options, clock=clock)
        clock.block_until_waiters(2)  # the constructor, and the back-off
        clock.advance(30)
        starting.result(10).close()

    assert len(loader.load_threads) == 2


def test_a_load_that_takes_too_long_is_an_error() -> None:
    """The constructor tells which version, and the late load is undone."""
    clock, gate = FakeClock(), threading.Event()
    loader = FakeLoader(load_gate=gate)
    options = ServerCoreOptions(load_timeout_secs=5, close_timeout_secs=1)

    with ThreadPoolExecutor() as pool:
        starting = pool.submit(ServerCore, _only(loader), options=options, clock=clock)
        loader.load_started.wait(10)
        clock.block_until_waiters(1)
        clock.advance(5)
        clock.block_until_waiters(1)
        clock.advance(1)
        with pytest.raises(DeadlineExceededError, match=r"b/7 \(loading\)"):
            starting.result(10)
        gate.set()
        assert loader.unload_started.wait(10)


def test_no_models_are_no_error() -> None:
    """There is nothing to wait for."""
    with ServerCore(PinnedModels({}, Loaders())) as core:
        assert core.list_available_servable_ids() == []
