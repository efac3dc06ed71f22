"""A core that serves what there is: its constructor waits for what may still come up."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import pytest

from servable_core.config import ModelConfig
from servable_core.errors import DeadlineExceededError, UnavailableError
from servable_core.lifecycle import ServableId
from servable_core.lifecycle.servable_state import ManagerState
from servable_core.runtime.file_system import FileInfo
from servable_core.server_core import ServerCore
from servable_core.testing import FakeClock, FakeFileSystem
from tests.servable_core.server_core.fakes import PATIENCE_SECS, FakeStore, available, model


@contextmanager
def _starting(
    store: FakeStore, *models: ModelConfig, **options: Any
) -> Iterator[Future[ServerCore]]:
    """Makes a tolerant core on a thread of its own."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit(store.core, *models, requires_all_models=False, **options)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_failed_version_does_not_end_the_wait_for_another(num_threads: int) -> None:
    """Whether they load at the same time or one after the other."""
    store, clock = FakeStore("a/1", "a/2"), FakeClock()
    store.failing = {"/a/2"}
    gate = store.gates["/a/1"] = threading.Event()
    options: dict[str, Any] = {"clock": clock, "num_initial_load_threads": num_threads}

    with _starting(store, model("a", 1, 2), **options) as starting:
        store.block_until_loading("/a/1")
        # The failed load has set the alarm of its next attempt, and somebody still waits.
        clock.block_until_waiters(2)
        gate.set()
        with starting.result(PATIENCE_SECS) as core:
            assert available(core) == ["a/1"]
            states = [each.state for each in core.statuses()[0].versions]

    assert states == [ManagerState.END, ManagerState.AVAILABLE]


def test_a_missing_version_does_not_end_the_wait_for_another() -> None:
    """The policy asks for a version that is not there: the one that is there is waited for."""
    store, clock = FakeStore("a/1"), FakeClock()
    gate = store.gates["/a/1"] = threading.Event()

    with _starting(store, model("a", 1, 9), clock=clock) as starting:
        store.block_until_loading("/a/1")
        clock.block_until_waiters(1)
        gate.set()
        with starting.result(PATIENCE_SECS) as core:
            assert available(core) == ["a/1"]
            assert "version 9 not found" in str(core.statuses()[0].error)


def test_every_model_is_waited_for() -> None:
    """Those that are missing or broken do not end the wait for the others."""
    store, clock = FakeStore("broken/1", "slow/1", "slow/2"), FakeClock()
    store.failing = {"/broken/1", "/slow/1"}
    gate = store.gates["/slow/2"] = threading.Event()
    models = model("gone"), model("broken"), model("slow", 1, 2)

    with _starting(store, *models, clock=clock) as starting:
        store.block_until_loading("/slow/2")
        clock.block_until_waiters(2)
        gate.set()
        with starting.result(PATIENCE_SECS) as core:
            assert available(core) == ["slow/2"]
            assert [each.is_available for each in core.statuses()] == [False, False, True]


def test_the_deadline_holds_beside_a_failed_version() -> None:
    """A load that hangs is left behind; it follows when it ends."""
    store, clock = FakeStore("a/1", "a/2"), FakeClock()
    store.failing = {"/a/1"}
    gate = store.gates["/a/2"] = threading.Event()

    with _starting(store, model("a", 1, 2), clock=clock, load_timeout_secs=5.0) as starting:
        store.block_until_loading("/a/2")
        clock.block_until_waiters(2)
        clock.advance(5)
        with starting.result(PATIENCE_SECS) as core:
            assert available(core) == []
            gate.set()


class _HangingFileSystem(FakeFileSystem):
    """Does not answer below `/hangs` until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def list_files(self, directory: str) -> list[FileInfo]:
        if directory == "/hangs":
            assert self.released.wait(PATIENCE_SECS)
        return super().list_files(directory)


def test_a_store_that_hangs_does_not_outlast_the_deadline() -> None:
    """What is on another store is served; of what hangs nothing is known."""
    store, clock = FakeStore(), FakeClock()
    store.files = files = _HangingFileSystem()
    store.write("a/1")
    options: dict[str, Any] = {"clock": clock, "load_timeout_secs": 5.0, "poll_interval_secs": 0.0}

    with _starting(store, model("hangs"), model("a"), **options) as starting:
        store.block_until_loading("/a/1")
        while wait([starting], timeout=0.01).not_done:  # the source has waits of its own
            clock.advance(5)
        with starting.result(PATIENCE_SECS) as core:
            core._manager.wait_until_available([ServableId("a", 1)])
            hangs = core.statuses()[0]
            files.released.set()

    assert (hangs.versions, hangs.error, hangs.is_available) == ((), None, False)


@pytest.mark.parametrize("requires_all_models", [True, False])
def test_a_load_that_nobody_waits_for_any_more_keeps_nobody_back(requires_all_models: bool) -> None:
    """A newer version comes while the older one hangs: the constructor waits for the newer one."""
    store, clock = FakeStore("a/1"), FakeClock()
    gate = store.gates["/a/1"] = threading.Event()
    options: dict[str, Any] = {"clock": clock, "poll_interval_secs": 1.0, "num_load_threads": 1}
    options["requires_all_models"] = requires_all_models

    with ThreadPoolExecutor() as pool:
        starting = pool.submit(store.core, model("a"), **options)
        store.block_until_loading("/a/1")
        store.write("a/2")
        while wait([starting], timeout=0.01).not_done and not gate.is_set():
            clock.advance(1)
        with starting.result(PATIENCE_SECS) as core:
            assert core.num_load_threads == 1
            assert available(core) == ["a/2"]
            states = [each.state for each in core.statuses()[0].versions]
            assert states == [ManagerState.AVAILABLE, ManagerState.LOADING]
            gate.set()


def test_where_all_models_are_required_the_first_error_is_raised_at_once() -> None:
    """Though another version still loads."""
    store = FakeStore("a/1", "a/2")
    store.failing = {"/a/1"}
    gate = store.gates["/a/2"] = threading.Event()

    with ThreadPoolExecutor() as pool:
        starting = pool.submit(store.core, model("a", 1, 2), close_timeout_secs=0.0)
        with pytest.raises((UnavailableError, DeadlineExceededError)) as raised:
            starting.result(PATIENCE_SECS)
        gate.set()

    assert isinstance(raised.value, UnavailableError)
