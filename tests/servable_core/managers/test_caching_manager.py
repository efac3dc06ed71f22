"""Loading on demand, within a capacity."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from typing_extensions import override

from servable_core.errors import (
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from servable_core.lifecycle import (
    AutoVersionPolicy,
    ManagerState,
    ServableData,
    ServableHandle,
    ServableId,
    ServableRequest,
    ServableState,
    SimpleLoader,
)
from servable_core.managers import CachingManager, CachingManagerOptions
from servable_core.resources import ResourceAllocation, host_ram
from servable_core.runtime.event_bus import EventBus
from servable_core.runtime.retry import RetryOptions
from servable_core.testing import FakeClock, FakeLoader, FakeServable

PATIENCE_SECS = 10.0


class Factory:
    """Versions 1 to 3 of every servable but 'missing'; remembers the loaders it made."""

    def __init__(self, *, size: int = 0, gate: threading.Event | None = None) -> None:
        self.num_failures = 0
        self.error: Exception | None = None
        self.created = threading.Semaphore(0)
        self.loaders: list[tuple[ServableId, FakeLoader]] = []
        self._size = size
        self._gate = gate

    def create_loader(self, servable_id: ServableId) -> ServableData[FakeLoader]:
        if servable_id.name == "missing":
            return ServableData.failed(servable_id, NotFoundError("no such model"))
        loader = FakeLoader(
            str(servable_id),
            num_failures=self.num_failures,
            error=self.error,
            load_gate=self._gate,
            resources=host_ram(self._size),
        )
        self.loaders.append((servable_id, loader))
        self.created.release()
        return ServableData.of(servable_id, loader)

    def resolve_version(self, servable_name: str, policy: AutoVersionPolicy) -> int:
        if servable_name == "missing":
            raise NotFoundError("no such model")
        return 3 if policy is AutoVersionPolicy.LATEST else 1

    def loaded(self) -> list[str]:
        return [str(servable_id) for servable_id, loader in self.loaders if loader.is_loaded]


def _manager(
    factory: Factory,
    *,
    max_num: int | None = None,
    total: int | None = None,
    num_threads: int = 0,
    clock: FakeClock | None = None,
    event_bus: EventBus[ServableState] | None = None,
) -> CachingManager:
    options = CachingManagerOptions(
        num_load_threads=num_threads,
        load_retry=RetryOptions(max_num_retries=0),
        max_num_servables=max_num,
        total_resources=None if total is None else host_ram(total),
        has_manage_thread=num_threads > 0,
        failure_backoff=RetryOptions(initial_backoff_secs=10, max_backoff_secs=100),
    )
    return CachingManager(factory, options=options, clock=clock or FakeClock(), event_bus=event_bus)


def _get(manager: CachingManager, name: str, version: int = 1) -> ServableHandle[FakeServable]:
    return manager.get_servable_handle(ServableRequest.specific(name, version), FakeServable)


def _use(manager: CachingManager, *names: str) -> None:
    for name in names:
        with _get(manager, name) as handle:
            assert handle.servable.use() == f"{name}/1"


def test_a_servable_is_loaded_by_its_first_request_only() -> None:
    """The second one finds it."""
    factory = Factory()
    with _manager(factory) as manager:
        assert manager.list_available_servable_ids() == []
        _use(manager, "a", "a", "b")
        assert manager.list_available_servable_ids() == [ServableId("a", 1), ServableId("b", 1)]
        assert len(factory.loaders) == 2

    assert factory.loaded() == []


@pytest.mark.parametrize(
    ("request_", "version"),
    [(ServableRequest.latest("a"), 3), (ServableRequest.earliest("a"), 1)],
)
def test_the_factory_says_which_version_is_meant(request_: ServableRequest, version: int) -> None:
    """Also where another version is loaded already."""
    with _manager(Factory()) as manager:
        _get(manager, "a", 2).close()
        with manager.get_servable_handle(request_, FakeServable) as handle:
            assert handle.servable_id == ServableId("a", version)


def test_what_the_factory_does_not_know_is_not_found() -> None:
    """By version or without."""
    with _manager(Factory()) as manager:
        for request in (ServableRequest.latest("missing"), ServableRequest.specific("missing", 1)):
            with pytest.raises(NotFoundError, match="no such model"):
                manager.get_servable_handle(request, FakeServable)


def test_a_wrong_type_is_refused() -> None:
    """After the load, for nobody knows before."""
    with _manager(Factory()) as manager, pytest.raises(InvalidArgumentError):
        manager.get_servable_handle(ServableRequest.specific("a", 1), int)


def test_handles_of_all_that_is_loaded_load_nothing_more() -> None:
    """What is of another type, or has failed, is left out."""
    factory = Factory()
    with _manager(factory) as manager:
        assert manager.get_available_servable_handles(FakeServable) == {}
        _use(manager, "a", "b")
        factory.num_failures = 1
        with pytest.raises(UnavailableError):
            _get(manager, "c")

        handles = manager.get_available_servable_handles(FakeServable)
        assert {str(i): handle.servable.use() for i, handle in handles.items()} == {
            "a/1": "a/1",
            "b/1": "b/1",
        }
        assert manager.get_available_servable_handles(int) == {}
        for handle in handles.values():
            handle.close()


def test_concurrent_requests_for_one_servable_load_it_once() -> None:
    """All of them get it."""
    gate, factory = threading.Event(), Factory()
    factory._gate = gate
    with _manager(factory, num_threads=2) as manager, ThreadPoolExecutor(8) as pool:
        uses = [pool.submit(_use, manager, "a") for _ in range(8)]
        gate.set()
        for use in uses:
            use.result(PATIENCE_SECS)
        assert manager._loads == manager._num_waiting == {}

    assert len(factory.loaders) == 1


def test_different_servables_load_side_by_side() -> None:
    """The second load begins while the first one is under way."""
    gate = threading.Event()
    factory = Factory(gate=gate)
    with _manager(factory, num_threads=2) as manager, ThreadPoolExecutor(2) as pool:
        uses = [pool.submit(_use, manager, name) for name in "ab"]
        assert all(factory.created.acquire(timeout=PATIENCE_SECS) for _ in range(2))
        assert all(loader.load_started.wait(PATIENCE_SECS) for _, loader in factory.loaders)
        gate.set()
        for use in uses:
            use.result(PATIENCE_SECS)


def test_beyond_its_number_the_least_recently_used_goes() -> None:
    """Use counts, not the order of loading."""
    factory = Factory()
    with _manager(factory, max_num=2) as manager:
        _use(manager, "a", "b", "a", "c")
        assert factory.loaded() == ["a/1", "c/1"]
        _use(manager, "b")
        assert factory.loaded() == ["c/1", "b/1"]


def test_what_is_in_use_stays() -> None:
    """Though it was used least recently; and where everything is in use there is no room."""
    factory = Factory()
    with _manager(factory, max_num=2) as manager, _get(manager, "a"):
        _use(manager, "b", "c")
        assert factory.loaded() == ["a/1", "c/1"]
        no_room = pytest.raises(ResourceExhaustedError, match="no room for d/1: all 2 servables")
        with _get(manager, "c"), no_room:
            _use(manager, "d")
        _use(manager, "d")


def test_beyond_its_resources_as_many_go_as_must() -> None:
    """One after the other, until there is room."""
    factory = Factory(size=4)
    with _manager(factory, total=10) as manager:
        _use(manager, "a", "b")
        factory._size = 7
        _use(manager, "c")
        assert factory.loaded() == ["c/1"]
        with _get(manager, "c"), pytest.raises(ResourceExhaustedError, match="no room for d/1"):
            _use(manager, "d")
        _use(manager, "d")


def test_what_could_never_fit_evicts_nothing() -> None:
    """The error names both sizes, and is remembered: it passes with no handle that is closed."""
    clock, factory = FakeClock(), Factory(size=4)
    with _manager(factory, total=10, max_num=2, clock=clock) as manager:
        _use(manager, "a", "b")
        factory._size = 11
        for _ in range(2):
            with pytest.raises(ResourceExhaustedError, match=r"c/1 can never .* 11 .* 10 of"):
                _use(manager, "c")
        assert [str(servable_id) for servable_id, _ in factory.loaders] == ["a/1", "b/1", "c/1"]
        assert factory.loaded() == ["a/1", "b/1"]
        factory._size = 4
        clock.advance(10)
        _use(manager, "c")


def test_want_of_room_is_not_remembered_but_a_load_that_runs_out_of_memory_is() -> None:
    """The one passes with the next closed handle, the other one would be repeated in vain."""
    factory = Factory()
    factory.num_failures = 9
    factory.error = ResourceExhaustedError("the GPU is full")
    with _manager(factory) as manager:
        for _ in range(2):
            with pytest.raises(ResourceExhaustedError, match="the GPU is full"):
                _use(manager, "a")

    assert len(factory.loaders) == 1


class _Answering(Factory):
    """Answers each request for a loader with the same data."""

    def __init__(self, data: ServableData[Any]) -> None:
        super().__init__()
        self._data = data

    @override
    def create_loader(self, servable_id: ServableId) -> ServableData[Any]:
        return self._data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ServableData.of(ServableId("a", 1), "/a/1"), "a/1 must come with a Loader, got str"),
        (ServableData.of(ServableId("b", 1), FakeLoader()), "asked for a/1 and answered with b/1"),
    ],
)
def test_a_factory_that_answers_with_something_else_is_told(
    data: ServableData[Any], message: str
) -> None:
    """Nothing stays behind that nobody asked for."""
    with _manager(_Answering(data)) as manager:
        with pytest.raises(InvalidArgumentError, match=message):
            _use(manager, "a")
        assert manager.states() == []


@pytest.mark.parametrize("total", [None, 10])
def test_a_loader_that_tries_to_end_the_process_is_a_failed_load(total: int | None) -> None:
    """In its estimate or in its load; whoever asked goes on."""

    def create() -> FakeServable:
        sys.exit(3)

    def estimate() -> ResourceAllocation:
        sys.exit(3)

    loader = SimpleLoader(create, estimate=estimate)
    data = ServableData.of(ServableId("a", 1), loader)
    with _manager(_Answering(data), total=total) as manager:
        with pytest.raises(InternalError, match=r"a/1 was ended by SystemExit\(3\)"):
            _use(manager, "a")
        assert manager.states() == []


@pytest.fixture(name="interrupt")
def _interrupt() -> Iterator[Callable[[], None]]:
    """Gives what interrupts the thread of the test, once however often it is called."""
    interrupted = threading.Event()

    def handle(*_args: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    def interrupt() -> None:
        # Sent to the thread itself, or it would not wake from its wait.
        signal.pthread_kill(cast(int, threading.main_thread().ident), signal.SIGINT)

    former = signal.signal(signal.SIGINT, handle)
    yield interrupt
    signal.signal(signal.SIGINT, former)


def test_an_interrupted_request_leaves_nothing_behind(interrupt: Callable[[], None]) -> None:
    """Its load is cancelled, and the servable can be asked for again."""

    class Interrupting(threading.Event):
        """A gate that interrupts the thread of this test while it is closed."""

        @override
        def wait(self, timeout: float | None = None) -> bool:
            for _ in range(1000):  # one that comes right before the thread begins to wait is lost
                if self.is_set():
                    break
                interrupt()
                super().wait(0.02)
            return super().wait(timeout)

    gate = Interrupting()
    factory = Factory(gate=gate)
    # Without a manage thread, so that the load begins when the request waits for it.
    options = CachingManagerOptions(num_load_threads=1, has_manage_thread=False)
    with CachingManager(factory, options=options) as manager:
        gate.set()
        _use(manager, "b")  # starts the thread that loads
        gate.clear()
        with pytest.raises(KeyboardInterrupt):
            _use(manager, "a")
        gate.set()
        manager._basic.set_num_load_threads(2)  # returns when the load has ended

        assert manager.states("a") == []
        assert factory.loaded() == ["b/1"]
        _use(manager, "a")


def test_an_evicted_servable_can_come_back() -> None:
    """With a new loader, as often as needed."""
    factory = Factory()
    with _manager(factory, max_num=1) as manager:
        _use(manager, *"abababab")

    assert len(factory.loaders) == 8


def test_a_failure_is_remembered_for_a_while_and_then_forgotten() -> None:
    """The next one in a row for longer; a success ends it."""
    clock, factory = FakeClock(), Factory()
    factory.num_failures = 9
    with _manager(factory, clock=clock) as manager:
        num_loaders = []
        for secs in (0, 9, 1, 19, 1):
            clock.advance(secs)
            if len(factory.loaders) == 2:
                factory.num_failures = 0
            if secs == 1 and factory.num_failures == 0:
                _use(manager, "a")
            else:
                with pytest.raises(UnavailableError):
                    _use(manager, "a")
            num_loaders.append(len(factory.loaders))

    assert num_loaders == [1, 1, 2, 2, 3]


def test_a_remembered_failure_does_not_grow_with_each_answer() -> None:
    """Its traceback and its context stay as short as they were."""
    factory, lengths = Factory(), []
    factory.num_failures = 9
    with _manager(factory) as manager:
        for _ in range(4):
            with pytest.raises(UnavailableError) as caught:
                _use(manager, "a")
            lengths.append(len(caught.traceback))
            assert caught.value.__context__ is None

    assert lengths[1] == lengths[3]


def test_a_failure_reaches_all_who_wait_and_takes_no_room() -> None:
    """Afterwards another servable has the place."""
    factory = Factory()
    with _manager(factory, max_num=1) as manager:
        factory.num_failures = 1
        with pytest.raises(UnavailableError):
            _use(manager, "a")
        factory.num_failures = 0
        _use(manager, "b")
        assert manager.states("a") == []
        assert manager.statistics().num_available == 1


def test_events_tell_of_loads_and_evictions() -> None:
    """In the order in which they happen."""
    bus, told = EventBus[ServableState](), list[ServableState]()
    bus.subscribe(lambda stamped: told.append(stamped.event))
    with _manager(Factory(), max_num=1, event_bus=bus) as manager:
        _use(manager, "a", "b")

    assert [s.manager_state for s in told if s.servable_id.name == "a"] == list(ManagerState)


def test_a_capacity_of_nothing_is_refused() -> None:
    """Nothing could be loaded."""
    with pytest.raises(InvalidArgumentError, match="max_num_servables must be 1 or more, got 0"):
        CachingManagerOptions(max_num_servables=0)
    with pytest.raises(InvalidArgumentError, match="num_load_threads"):
        CachingManagerOptions(num_load_threads=-1)


@pytest.mark.parametrize("num_threads", [0, 3])
def test_many_readers_of_more_servables_than_fit(num_threads: int) -> None:
    """Nobody uses an unloaded servable, no load is lost, and the capacity holds."""
    factory = Factory()

    def read(seed: int) -> None:
        for i in range(60):
            try:
                _use(manager, "abcdefgh"[(seed * 7 + i * (1 + seed % 3)) % 8])
            except ResourceExhaustedError:
                continue

    options = CachingManagerOptions(num_load_threads=num_threads, max_num_servables=5)
    with CachingManager(factory, options=options) as manager, ThreadPoolExecutor(8) as pool:
        for reading in [pool.submit(read, seed) for seed in range(8)]:
            reading.result(60)
        assert manager.statistics().num_available <= 5

    assert factory.loaded() == []
    assert all(len(lo.load_threads) == len(lo.unload_threads) for _, lo in factory.loaders)
