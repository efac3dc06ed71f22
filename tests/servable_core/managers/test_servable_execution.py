"""What goes wrong while a manager's work is carried out harms one servable only."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from typing_extensions import override

from servable_core.errors import CancelledError, InternalError, UnavailableError
from servable_core.lifecycle import (
    ManagerState,
    ServableData,
    ServableId,
    ServableRequest,
    ServableState,
)
from servable_core.managers import AspiredVersionsManager, BasicManager, BasicManagerOptions
from servable_core.resources import ResourceAllocation, host_ram
from servable_core.runtime.event_bus import EventAndTime, EventBus
from servable_core.runtime.retry import RetryOptions
from servable_core.testing import FakeClock, FakeLoader, FakeServable

BAD, GOOD = ServableId("bad", 1), ServableId("good", 1)


class _EstimatingLoader(FakeLoader):
    """Calls a function wherever it is asked for an estimate: before the load, or after it."""

    def __init__(self, act: Callable[[], object], *, is_after_load: bool = False) -> None:
        super().__init__(resources=host_ram(10))
        self._act = act
        self._is_after_load = is_after_load

    @override
    def estimate_resources(self) -> ResourceAllocation:
        if self.is_loaded is self._is_after_load:
            self._act()
        return super().estimate_resources()


def _manager(
    *,
    hook: Callable[[ServableId], object] = lambda _id: None,
    event_bus: EventBus[ServableState] | None = None,
) -> BasicManager:
    def pre_load_hook(servable_id: ServableId) -> None:
        hook(servable_id)

    options = BasicManagerOptions(
        load_retry=RetryOptions(max_num_retries=0),
        total_resources=host_ram(10),
        has_manage_thread=False,
        pre_load_hook=pre_load_hook,
    )
    return BasicManager(options=options, event_bus=event_bus, clock=FakeClock())


@pytest.mark.parametrize("place", ["estimate", "hook"])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_tries_to_end_the_process_ends_the_load(place: str, error: BaseException) -> None:
    """In error; its resources go to the next servable, which takes all there is."""

    def fail_for(at: str, servable_id: ServableId) -> None:
        if (at, servable_id) == (place, BAD):
            raise error

    bad = _EstimatingLoader(lambda: fail_for("estimate", BAD))
    with _manager(hook=lambda servable_id: fail_for("hook", servable_id)) as manager:
        manager.manage_servable(ServableData.of(BAD, bad))
        failing = manager.load_servable(BAD)
        manager.manage_servable(ServableData.of(GOOD, FakeLoader(resources=host_ram(10))))
        loading = manager.load_servable(GOOD)
        manager.step()

        loading.result(0)
        is_interruption = isinstance(error, KeyboardInterrupt)
        assert isinstance(failing.exception(0), KeyboardInterrupt if is_interruption else Exception)
        (state,) = manager.states("bad")
        assert state.manager_state is ManagerState.END
        assert isinstance(state.error, InternalError)
        assert state.error.__cause__ is error
        manager.stop_managing_servable(BAD)


def test_an_estimator_that_tries_to_end_the_process_after_the_load_is_not_asked_again() -> None:
    """What it said before the load counts on; the servable is there, and can be unloaded."""
    loader = _EstimatingLoader(lambda: sys.exit(3), is_after_load=True)
    with _manager() as manager:
        manager.manage_servable(ServableData.of(BAD, loader))
        loading = manager.load_servable(BAD)
        manager.step()

        loading.result(0)
        manager.get_servable_handle(ServableRequest.from_id(BAD), FakeServable).close()
        assert manager.statistics().used_resources == host_ram(10)
    assert not loader.is_loaded


@pytest.mark.parametrize("told", list(ManagerState))
def test_a_subscriber_that_tries_to_end_the_process_is_only_logged(told: ManagerState) -> None:
    """At whatever step: the servable is loaded and unloaded all the same."""
    bus: EventBus[ServableState] = EventBus()

    def subscriber(stamped: EventAndTime[ServableState]) -> None:
        if stamped.event.manager_state is told:
            sys.exit(3)

    loader = FakeLoader()
    with bus.subscribe(subscriber), _manager(event_bus=bus) as manager:
        manager.manage_servable(ServableData.of(GOOD, loader))
        loading = manager.load_servable(GOOD)
        manager.step()
        loading.result(0)
        manager.unload_servable(GOOD)
        manager.step()
        assert manager.states()[0].manager_state is ManagerState.END

    assert len(loader.unload_threads) == 1


@pytest.mark.parametrize("place", ["estimate", "hook"])
def test_a_load_that_fails_after_its_cancellation_was_cancelled(place: str) -> None:
    """Whoever waits for any version must not take it for failed."""
    error = UnavailableError("too late")

    def cancel_and_fail(at: str) -> None:
        if at == place:
            manager.cancel_load(BAD)
            raise error

    loader: FakeLoader = _EstimatingLoader(lambda: cancel_and_fail("estimate"))
    with _manager(hook=lambda _id: cancel_and_fail("hook")) as manager:
        manager.manage_servable(ServableData.of(BAD, loader))
        loading = manager.load_servable(BAD)
        manager.step()

        cancelled = loading.exception(0)
        assert isinstance(cancelled, CancelledError)
        assert cancelled.__cause__ is error
        assert manager.states()[0].error is cancelled


def test_what_is_no_loader_is_not_managed() -> None:
    """It is refused where it arrives, and leaves nothing behind."""
    path: ServableData[Any] = ServableData.of(BAD, "/models/bad/1")
    with _manager() as manager:
        with pytest.raises(ValueError, match="bad/1 must come with a Loader, got str"):
            manager.manage_servable(path)
        assert manager.states() == []


def test_what_is_no_loader_is_not_aspired() -> None:
    """As of a source without an adapter: the source is told, and its former list holds on."""
    path: ServableData[Any] = ServableData.of(BAD, "/models/bad/1")
    with AspiredVersionsManager() as manager:
        good = ServableData.of(ServableId("bad", 2), FakeLoader())
        manager.set_aspired_versions("bad", [good])
        manager.wait_until_available([good.servable_id], timeout_secs=10)
        with pytest.raises(ValueError, match="bad/1 must come with a Loader, got str"):
            manager.set_aspired_versions("bad", [path])
        manager.step()
        assert manager.list_available_servable_ids() == [good.servable_id]
