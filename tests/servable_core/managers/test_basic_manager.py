"""The manager that does as it is told: stepped by hand where possible."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from servable_core.errors import (
    CancelledError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from servable_core.lifecycle import (
    HarnessState,
    ManagerState,
    ServableData,
    ServableHandle,
    ServableId,
    ServableRequest,
    ServableState,
    SimpleLoader,
)
from servable_core.managers import BasicManager, BasicManagerOptions
from servable_core.resources import (
    InsufficientResourcesError,
    Resource,
    ResourceAllocation,
    host_ram,
)
from servable_core.runtime.event_bus import EventBus
from servable_core.runtime.retry import RetryOptions
from servable_core.testing import FakeClock, FakeLoader, FakeServable

PATIENCE_SECS = 10.0
M1, M2, M3 = (ServableId("m", version) for version in (1, 2, 3))
NO_RETRIES = RetryOptions(max_num_retries=0)


def _manager(
    *,
    num_threads: int = 0,
    total: ResourceAllocation | None = None,
    retries: RetryOptions = NO_RETRIES,
    event_bus: EventBus[ServableState] | None = None,
    clock: FakeClock | None = None,
) -> BasicManager:
    options = BasicManagerOptions(
        num_load_threads=num_threads,
        num_unload_threads=num_threads,
        load_retry=retries,
        total_resources=total,
        has_manage_thread=num_threads > 0,
    )
    return BasicManager(options=options, event_bus=event_bus, clock=clock or FakeClock())


def _manage(manager: BasicManager, servable_id: ServableId, loader: FakeLoader) -> FakeLoader:
    manager.manage_servable(ServableData.of(servable_id, loader))
    return loader


def _load(manager: BasicManager, servable_id: ServableId, loader: FakeLoader) -> FakeLoader:
    _manage(manager, servable_id, loader)
    future = manager.load_servable(servable_id)
    manager.step()
    future.result(PATIENCE_SECS)
    return loader


def _get(manager: BasicManager, servable_id: ServableId = M1) -> ServableHandle[FakeServable]:
    return manager.get_servable_handle(ServableRequest.from_id(servable_id), FakeServable)


def test_a_whole_life() -> None:
    """Manage, load, use, unload, stop managing; and then it may begin anew."""
    with _manager() as manager:
        loader = _load(manager, M1, FakeLoader("value"))
        with _get(manager) as handle:
            assert handle.servable.use() == "value"
        unloading = manager.unload_servable(M1)
        manager.step()
        unloading.result(0)
        assert not loader.is_loaded
        assert manager.harness_states(M1.name) == {M1: HarnessState.DISABLED}
        manager.stop_managing_servable(M1)
        _load(manager, M1, FakeLoader())


def test_what_is_managed_already_is_refused() -> None:
    """The first loader stays; the second one is not touched."""
    with _manager() as manager:
        first = _load(manager, M1, FakeLoader())
        with pytest.raises(FailedPreconditionError, match="m/1 is being managed already"):
            _manage(manager, M1, FakeLoader())
        assert first.is_loaded


def test_what_is_not_managed_is_not_found() -> None:
    """Neither loaded nor unloaded nor forgotten."""
    with _manager() as manager:
        for ask in (manager.load_servable, manager.unload_servable, manager.stop_managing_servable):
            with pytest.raises(NotFoundError, match="m/1 is not being managed"):
                ask(M1)
        manager.cancel_load(M1)
        assert manager.unload_if_idle(M1) is None


def test_erroneous_data_is_managed_in_error() -> None:
    """The error answers a load, and the servable can be forgotten."""
    error = OSError("unreadable")
    with _manager() as manager:
        manager.manage_servable(ServableData.failed(M1, error))
        manager.step()

        with pytest.raises(OSError, match="unreadable"):
            manager.load_servable(M1)
        assert manager.states()[0].error is error
        manager.stop_managing_servable(M1)


def test_a_failed_load_stays_in_error() -> None:
    """The future has the error, and so do later calls, until it is managed anew."""
    with _manager() as manager:
        _manage(manager, M1, FakeLoader(num_failures=1))
        loading = manager.load_servable(M1)
        manager.step()

        for ask in (lambda: loading.result(0), lambda: manager.load_servable(M1)):
            with pytest.raises(UnavailableError):
                ask()
        manager.stop_managing_servable(M1)
        _load(manager, M1, FakeLoader())


@pytest.mark.parametrize("is_under_way", [False, True])
def test_after_a_cancelled_load_a_servable_is_managed_anew(*, is_under_way: bool) -> None:
    """The old loader is not asked again; both kinds of ends can be forgotten."""
    gate = threading.Event()
    loader = FakeLoader(load_gate=gate)
    with _manager(num_threads=1) as manager, ThreadPoolExecutor() as pool:
        _manage(manager, M1, loader)
        if not is_under_way:
            manager.cancel_load(M1)
        loading = manager.load_servable(M1)
        if is_under_way:
            assert loader.load_started.wait(PATIENCE_SECS)
            manager.cancel_load(M1)
        gate.set()

        with pytest.raises(CancelledError):
            loading.result(PATIENCE_SECS)
        with pytest.raises((CancelledError, FailedPreconditionError)):
            manager.load_servable(M1)
        manager.stop_managing_servable(M1)
        anew = FakeLoader()
        pool.submit(_load, manager, M1, anew).result(PATIENCE_SECS)
        assert anew.is_loaded
        assert not loader.is_loaded


def test_only_what_holds_nothing_can_be_forgotten() -> None:
    """New or ended; nothing in between."""
    with _manager() as manager:
        _manage(manager, M2, FakeLoader())
        manager.stop_managing_servable(M2)
        _load(manager, M1, FakeLoader())
        with pytest.raises(FailedPreconditionError, match="while it is 'ready'"):
            manager.stop_managing_servable(M1)


def test_unloading_needs_a_loaded_servable() -> None:
    """Neither before the load nor twice."""
    with _manager() as manager:
        _manage(manager, M1, FakeLoader())
        with pytest.raises(FailedPreconditionError, match="m/1 is 'new'"):
            manager.unload_servable(M1)
        manager.load_servable(M1)
        manager.step()
        manager.unload_servable(M1)
        with pytest.raises(FailedPreconditionError, match="m/1 is 'unload requested'"):
            manager.unload_servable(M1)


@pytest.mark.parametrize("request_name", ["load_servable", "unload_servable"])
def test_of_concurrent_requests_exactly_one_succeeds(request_name: str) -> None:
    """The others hear of it at once."""
    barrier = threading.Barrier(8)

    def ask() -> bool:
        barrier.wait(PATIENCE_SECS)
        try:
            getattr(manager, request_name)(M1).result(PATIENCE_SECS)
        except FailedPreconditionError:
            return False
        return True

    with _manager(num_threads=2) as manager:
        if request_name == "load_servable":
            _manage(manager, M1, FakeLoader())
        else:
            _load(manager, M1, FakeLoader())
        with ThreadPoolExecutor(8) as pool:
            wins = [pool.submit(ask) for _ in range(8)]

    assert sum(win.result() for win in wins) == 1


def test_handles_of_one_type_can_be_had_all_at_once() -> None:
    """Servables of other types are left out."""
    with _manager() as manager:
        _load(manager, M1, FakeLoader())
        _load(manager, M2, FakeLoader())

        handles = manager.get_available_servable_handles(FakeServable)
        assert sorted(handles) == [M1, M2]
        for handle in handles.values():
            handle.close()
        assert manager.get_available_servable_handles(int) == {}
        with pytest.raises(InvalidArgumentError):
            manager.get_servable_handle(ServableRequest.latest("m"), int)


def test_nobody_can_cancel_a_load_through_its_future() -> None:
    """That is what `cancel_load` is for."""
    with _manager() as manager:
        _manage(manager, M1, FakeLoader())
        loading = manager.load_servable(M1)
        assert not loading.cancel()
        manager.step()
        loading.result(0)


def test_an_idle_servable_can_be_unloaded_and_a_busy_one_is_left() -> None:
    """Idle means that no handle is open; it is unobtainable from then on."""
    with _manager() as manager:
        loader = _load(manager, M1, FakeLoader())
        with _get(manager):
            assert manager.unload_if_idle(M1) is None
            with _get(manager) as another:
                another.servable.use()
        unloading = manager.unload_if_idle(M1)
        assert unloading is not None
        with pytest.raises(NotFoundError):
            _get(manager)
        manager.step()
        unloading.result(0)
        assert not loader.is_loaded


def test_events_tell_the_whole_life_in_order() -> None:
    """AVAILABLE once it can be obtained, UNLOADING while it still can."""
    bus: EventBus[ServableState] = EventBus()
    told: list[tuple[ManagerState, bool]] = []
    manager = _manager(event_bus=bus)

    def tell(state: ServableState) -> None:
        told.append(
            (state.manager_state, state.servable_id in manager.list_available_servable_ids())
        )

    with bus.subscribe(lambda stamped: tell(stamped.event)), manager:
        _load(manager, M1, FakeLoader())

    assert told == [
        (ManagerState.START, False),
        (ManagerState.LOADING, False),
        (ManagerState.AVAILABLE, True),
        (ManagerState.UNLOADING, True),
        (ManagerState.END, False),
    ]


@pytest.mark.parametrize("cause", ["load", "estimate", "data", "resources", "hook"])
def test_an_error_is_told_once(cause: str) -> None:
    """Wherever it comes from."""
    bus, told = EventBus[ServableState](), list[ServableState]()
    error = UnavailableError("told to fail")

    def hook(_servable_id: ServableId) -> None:
        if cause == "hook":
            raise error

    options = BasicManagerOptions(
        load_retry=NO_RETRIES,
        total_resources=host_ram(1),
        has_manage_thread=False,
        pre_load_hook=hook,
    )
    loader = FakeLoader(
        num_failures=int(cause == "load"),
        num_estimate_failures=int(cause == "estimate"),
        resources=host_ram(2 if cause == "resources" else 1),
        error=error,
    )
    data = ServableData.failed(M1, error) if cause == "data" else ServableData.of(M1, loader)
    with (
        bus.subscribe(lambda s: told.append(s.event)),
        BasicManager(options=options, event_bus=bus) as manager,
    ):
        manager.manage_servable(data)
        if cause != "data":
            manager.load_servable(M1)
        manager.step()

    ends = [state for state in told if state.manager_state is ManagerState.END]
    assert len(ends) == 1
    assert isinstance(
        ends[0].error, InsufficientResourcesError if cause == "resources" else UnavailableError
    )
    assert told[-1] is ends[0]


def test_a_failing_subscriber_harms_nobody_else() -> None:
    """The servable is loaded and unloaded all the same."""
    bus: EventBus[ServableState] = EventBus()
    bus.subscribe(lambda _: 1 // 0)
    with _manager(event_bus=bus) as manager:
        loader = _load(manager, M1, FakeLoader())

    assert not loader.is_loaded


def test_the_pre_load_hook_runs_just_before_the_load_on_its_thread() -> None:
    """It knows which servable."""
    told: list[tuple[ServableId, str, bool]] = []
    loader = FakeLoader()
    options = BasicManagerOptions(
        num_load_threads=1,
        pre_load_hook=lambda i: told.append(
            (i, threading.current_thread().name, bool(loader.load_threads))
        ),
    )
    with BasicManager(options=options) as manager:
        _load(manager, M1, loader)

    assert told == [(M1, loader.load_threads[0], False)]


def test_a_load_waits_while_another_one_might_give_way() -> None:
    """When that fails, its room is free, and the waiting one is loaded."""
    gate = threading.Event()
    first = FakeLoader(load_gate=gate, num_failures=1, resources=host_ram(6))
    with _manager(num_threads=2, total=host_ram(10)) as manager:
        _manage(manager, M1, first)
        failing = manager.load_servable(M1)
        assert first.load_started.wait(PATIENCE_SECS)
        second = _manage(manager, M2, FakeLoader(resources=host_ram(6)))
        waiting = manager.load_servable(M2)
        assert not waiting.done()
        assert second.load_threads == []
        gate.set()
        waiting.result(PATIENCE_SECS)
        with pytest.raises(UnavailableError):
            failing.result(PATIENCE_SECS)


def test_without_anything_in_flight_a_load_is_refused() -> None:
    """The message has all the numbers; the loader is not touched."""
    with _manager(total=host_ram(10)) as manager:
        _load(manager, M1, FakeLoader(resources=host_ram(6)))
        loader = _manage(manager, M2, FakeLoader(resources=host_ram(6)))
        refused = manager.load_servable(M2)
        manager.step()

        with pytest.raises(InsufficientResourcesError, match=r"it needs 6 of .*; 6 of .* of 10"):
            refused.result(0)
        assert loader.load_threads == []


def test_later_small_loads_do_not_starve_a_large_one() -> None:
    """They queue up behind it, even where they would fit."""
    with _manager(total=host_ram(10)) as manager:
        _load(manager, M1, FakeLoader(resources=host_ram(6)))
        handle = _get(manager)
        manager.unload_servable(M1)
        large = _manage(manager, M2, FakeLoader(resources=host_ram(8)))
        manager.load_servable(M2)
        small = _manage(manager, M3, FakeLoader(resources=host_ram(2)))
        manager.load_servable(M3)
        manager.step()
        assert large.load_threads == small.load_threads == []
        assert manager.statistics().num_waiting_for_resources == 2

        handle.close()
        manager.step()
        assert large.is_loaded
        assert small.is_loaded
        assert manager.statistics().used_resources == host_ram(10)


def test_what_could_never_fit_does_not_hold_up_the_queue() -> None:
    """It is refused at once, though something is in flight."""
    with _manager(total=host_ram(10)) as manager:
        _load(manager, M1, FakeLoader(resources=host_ram(1)))
        with _get(manager):
            manager.unload_servable(M1)
            _manage(manager, M2, FakeLoader(resources=host_ram(11)))
            refused = manager.load_servable(M2)
            small = _manage(manager, M3, FakeLoader(resources=host_ram(9)))
            manager.load_servable(M3)
            manager.step()
            assert isinstance(refused.exception(0), InsufficientResourcesError)
            assert small.is_loaded


def test_a_load_that_waits_for_resources_can_be_cancelled() -> None:
    """It ends at once, untouched, and lets the next one through."""
    with _manager(total=host_ram(10)) as manager:
        _load(manager, M1, FakeLoader(resources=host_ram(6)))
        with _get(manager):
            manager.unload_servable(M1)
            waiting = _manage(manager, M2, FakeLoader(resources=host_ram(8)))
            cancelled = manager.load_servable(M2)
            small = _manage(manager, M3, FakeLoader(resources=host_ram(2)))
            manager.load_servable(M3)
            manager.step()
            manager.cancel_load(M2)
            manager.step()

            assert isinstance(cancelled.exception(0), CancelledError)
            assert waiting.load_threads == []
            assert small.is_loaded


def test_resources_that_a_load_no_longer_needs_are_given_back() -> None:
    """Its peak was higher than what it needs from then on."""
    with _manager(total=host_ram(10)) as manager:
        _load(manager, M1, FakeLoader(resources=host_ram(9), loaded_resources=host_ram(4)))
        _load(manager, M2, FakeLoader(resources=host_ram(6)))

        assert manager.statistics().used_resources == host_ram(10)


def test_an_estimate_that_grows_after_the_load_is_not_believed() -> None:
    """The total could be exceeded otherwise."""
    with _manager(total=host_ram(10)) as manager:
        _load(manager, M1, FakeLoader(resources=host_ram(4), loaded_resources=host_ram(40)))

        assert manager.statistics().used_resources == host_ram(4)


def test_an_unbound_servable_makes_room_once_it_is_bound() -> None:
    """Before, it might have been on either GPU."""
    ram = Resource("gpu", "ram_bytes")
    total = ResourceAllocation({ram.bind(0): 10, ram.bind(1): 10})
    unbound, bound = ResourceAllocation({ram: 8}), ResourceAllocation({ram.bind(1): 8})
    with _manager(total=total) as manager:
        _load(manager, M1, FakeLoader(resources=unbound, loaded_resources=bound))
        _load(manager, M2, FakeLoader(resources=unbound))


def test_an_estimate_is_tried_again() -> None:
    """As often as a load would be."""
    retries = RetryOptions(max_num_retries=1, initial_backoff_secs=0)
    with _manager(total=host_ram(1), retries=retries) as manager:
        _load(manager, M1, FakeLoader(num_estimate_failures=1))


@pytest.mark.parametrize(
    ("error", "num_asked"), [(UnavailableError("later"), 3), (InvalidArgumentError("never"), 1)]
)
def test_an_estimate_that_fails_for_good_fails_the_load(error: Exception, num_asked: int) -> None:
    """Its error is told once; one that says that it cannot pass is not asked again."""
    bus, told, asked = EventBus[ServableState](), list[ServableState](), list[None]()
    bus.subscribe(lambda stamped: told.append(stamped.event))

    def estimate() -> ResourceAllocation:
        asked.append(None)
        raise error

    retries = RetryOptions(max_num_retries=2, initial_backoff_secs=0)
    with _manager(total=host_ram(1), retries=retries, event_bus=bus) as manager:
        manager.manage_servable(ServableData.of(M1, SimpleLoader(object, estimate=estimate)))
        loading = manager.load_servable(M1)
        manager.step()

        with pytest.raises(type(error), match=str(error)):
            loading.result(0)
        assert [state.manager_state for state in told] == [ManagerState.START, ManagerState.END]
        assert told[-1].error is error
        assert len(asked) == num_asked


def test_a_pre_load_hook_that_fails_fails_the_load() -> None:
    """The loader is not touched."""

    def refuse(servable_id: ServableId) -> None:
        raise UnavailableError(f"not now: {servable_id}")

    options = BasicManagerOptions(pre_load_hook=refuse, has_manage_thread=False)
    with BasicManager(options=options) as manager:
        loader = _manage(manager, M1, FakeLoader())
        loading = manager.load_servable(M1)
        manager.step()

        with pytest.raises(UnavailableError, match="not now: m/1"):
            loading.result(0)
        assert loader.load_threads == []


def test_loads_run_on_the_new_threads_after_a_change_of_their_number() -> None:
    """From inline to two at a time."""
    barrier = threading.Barrier(2)
    with _manager(num_threads=1) as manager:
        manager.set_num_load_threads(2)
        assert manager.num_load_threads == 2
        options = [FakeLoader(load_gate=_Meeting(barrier)) for _ in range(2)]
        for servable_id, loader in zip((M1, M2), options, strict=True):
            _manage(manager, servable_id, loader)
        loads = [manager.load_servable(servable_id) for servable_id in (M1, M2)]
        for load in loads:
            load.result(PATIENCE_SECS)


class _Meeting(threading.Event):
    """A gate that opens when all have come."""

    def __init__(self, barrier: threading.Barrier) -> None:
        super().__init__()
        self._barrier = barrier

    def wait(self, timeout: float | None = None) -> bool:
        self._barrier.wait(timeout)
        return True


def test_an_open_handle_and_an_inline_unload_on_one_thread_do_not_deadlock() -> None:
    """The unload waits for a later step; look-ups and other servables go on."""
    with _manager() as manager:
        loader = _load(manager, M1, FakeLoader())
        with _get(manager) as handle:
            manager.unload_servable(M1)
            manager.step()
            _load(manager, M2, FakeLoader())
            assert handle.servable.is_loaded
        manager.step()
        assert not loader.is_loaded


def test_closing_is_final() -> None:
    """What was new or failed is gone, what was loaded is unloaded, and nothing can be added."""
    manager = _manager()
    loader = _load(manager, M1, FakeLoader())
    new = _manage(manager, M2, FakeLoader())
    manager.manage_servable(ServableData.failed(M3, OSError("unreadable")))
    manager.close()
    manager.close()

    assert not loader.is_loaded
    assert new.load_threads == []
    assert manager.states() == []
    with pytest.raises(FailedPreconditionError, match="closed"):
        _manage(manager, M2, FakeLoader())


def test_closing_gives_up_on_a_handle_after_a_while() -> None:
    """Its servable goes when the handle does."""
    clock = FakeClock()
    manager = _manager(clock=clock)
    loader = _load(manager, M1, FakeLoader())
    with ThreadPoolExecutor() as pool, _get(manager) as handle:
        closing = pool.submit(manager.close)
        clock.block_until_waiters(1)
        clock.advance(60)
        with pytest.raises(DeadlineExceededError, match=r"m/1 \(quiescing\)"):
            closing.result(PATIENCE_SECS)
        handle.servable.use()
    manager.close()
    assert not loader.is_loaded


def test_statistics_and_repr_show_what_goes_on() -> None:
    """Counts by state."""
    with _manager() as manager:
        _load(manager, M1, FakeLoader())
        manager.manage_servable(ServableData.failed(M2, OSError("unreadable")))
        manager.step()
        with _get(manager):
            statistics = manager.statistics()

        assert (statistics.num_managed, statistics.num_available) == (2, 1)
        assert (statistics.num_failed, statistics.num_open_handles) == (1, 1)
        assert "num_available=1" in repr(manager)
