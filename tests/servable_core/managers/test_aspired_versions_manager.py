"""The manager, stepped by hand: no threads, a clock that stands still."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servable_core.errors import (
    AbortedError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from servable_core.lifecycle import (
    AspiredServableStateSnapshot,
    ManagerState,
    ServableData,
    ServableHandle,
    ServableId,
    ServableRequest,
    ServableState,
)
from servable_core.managers import (
    AspiredVersionsManager,
    AspiredVersionsManagerOptions,
    VersionOutcomes,
)
from servable_core.policies import (
    Action,
    AspiredVersionPolicy,
    AvailabilityPreservingPolicy,
    ResourcePreservingPolicy,
    ServableAction,
)
from servable_core.resources import InsufficientResourcesError, host_ram
from servable_core.runtime.event_bus import EventBus
from servable_core.runtime.retry import RetryOptions
from servable_core.testing import FakeClock, FakeLoader, FakeServable

NO_RETRIES = RetryOptions(max_num_retries=0)
M1, M2 = ServableId("m", 1), ServableId("m", 2)


def _manager(clock: FakeClock | None = None, num_load_threads: int = 0) -> AspiredVersionsManager:
    options = AspiredVersionsManagerOptions(
        num_load_threads=num_load_threads, load_retry=NO_RETRIES, has_manage_thread=False
    )
    return AspiredVersionsManager(options=options, clock=clock or FakeClock())


def _aspire(
    manager: AspiredVersionsManager,
    name: str,
    loaders: Mapping[int, FakeLoader],
    *,
    step: bool = True,
) -> None:
    versions = [ServableData.of(ServableId(name, v), loader) for v, loader in loaders.items()]
    manager.set_aspired_versions(name, versions)
    if step:
        manager.step()


def _get(manager: AspiredVersionsManager, name: str = "m") -> ServableHandle[FakeServable]:
    return manager.get_servable_handle(ServableRequest.latest(name), FakeServable)


def _states(manager: AspiredVersionsManager, name: str = "m") -> dict[int, ManagerState]:
    return {s.servable_id.version: s.manager_state for s in manager.states(name)}


def test_step_does_all_that_is_possible_and_then_nothing() -> None:
    """One step loads every version; the next has nothing to do."""
    with _manager() as manager:
        _aspire(manager, "m", {1: FakeLoader(), 2: FakeLoader()}, step=False)
        _aspire(manager, "n", {7: FakeLoader()}, step=False)
        assert manager.list_available_servable_ids() == []

        assert manager.step()
        assert not manager.step()

        assert manager.list_available_servable_ids() == [M1, M2, ServableId("n", 7)]


def test_a_version_left_out_is_unloaded() -> None:
    """Each list is the whole truth about one servable, and no other is touched."""
    kept, dropped, other = FakeLoader(), FakeLoader(), FakeLoader()
    with _manager() as manager:
        _aspire(manager, "n", {1: other})
        _aspire(manager, "m", {1: dropped, 2: kept})
        _aspire(manager, "m", {2: FakeLoader()})

        assert (dropped.is_loaded, kept.is_loaded, other.is_loaded) == (False, True, True)
        assert _states(manager) == {2: ManagerState.AVAILABLE}


def test_an_empty_list_unloads_everything() -> None:
    """Nothing aspired means nothing kept."""
    loaders = {1: FakeLoader(), 2: FakeLoader()}
    with _manager() as manager:
        _aspire(manager, "m", loaders)
        _aspire(manager, "m", {})

        assert [loader.is_loaded for loader in loaders.values()] == [False, False]
        assert manager.states("m") == []


def test_a_second_loader_of_a_managed_version_is_never_used() -> None:
    """Load and unload of a version are called on the same loader."""
    first, second = FakeLoader(), FakeLoader()
    with _manager() as manager:
        _aspire(manager, "m", {1: first})
        _aspire(manager, "m", {1: second})
        _aspire(manager, "m", {})

    assert len(first.load_threads) == len(first.unload_threads) == 1
    assert second.load_threads == []


def test_the_latest_pending_list_wins() -> None:
    """What was superseded before the step is never loaded."""
    superseded, latest = FakeLoader(), FakeLoader()
    with _manager() as manager:
        _aspire(manager, "m", {1: superseded}, step=False)
        _aspire(manager, "m", {2: latest}, step=False)
        manager.step()

        assert superseded.load_threads == []
        assert latest.is_loaded


def test_the_old_version_serves_until_the_new_one_does() -> None:
    """While the new version loads, requests are answered by the old one."""
    gate = threading.Event()
    old, new = FakeLoader("old"), FakeLoader("new", load_gate=gate)
    with _manager(num_load_threads=1) as manager:
        _aspire(manager, "m", {1: old})
        old.load_started.wait(10)
        manager.wait_until_available([M1])
        _aspire(manager, "m", {2: new})
        new.load_started.wait(10)

        with _get(manager) as handle:
            assert handle.servable.use() == "old"
        assert _states(manager) == {1: ManagerState.AVAILABLE, 2: ManagerState.LOADING}
        gate.set()
        manager.wait_until_available([M2])
        manager.step()
        with _get(manager) as handle:
            assert handle.servable.use() == "new"
        assert not old.is_loaded


def test_the_old_version_stays_when_the_new_one_fails() -> None:
    """A bad release is visible as an error, and harms nobody."""
    error = UnavailableError("corrupt")
    with _manager() as manager:
        _aspire(manager, "m", {1: FakeLoader("old")})
        _aspire(manager, "m", {2: FakeLoader(num_failures=9, error=error)})

        with _get(manager) as handle:
            assert handle.servable.use() == "old"
        assert _states(manager) == {1: ManagerState.AVAILABLE, 2: ManagerState.END}
        assert manager.states("m")[1].error is error


def test_a_version_that_still_serves_is_taken_back_as_it_is() -> None:
    """After a bad release the rollback needs no reload, and later releases are not held up."""
    old, again, newest = FakeLoader("old"), FakeLoader(), FakeLoader("newest")
    with _manager() as manager:
        _aspire(manager, "m", {1: old})
        _aspire(manager, "m", {2: FakeLoader(num_failures=9)})
        _aspire(manager, "m", {1: again})
        assert _states(manager) == {1: ManagerState.AVAILABLE}
        assert again.load_threads == []

        _aspire(manager, "m", {3: newest})
        assert newest.is_loaded
        assert not old.is_loaded


def test_a_handle_never_dangles() -> None:
    """Unload waits for the last of the handles; nobody else gets one meanwhile."""
    loader = FakeLoader()
    with _manager() as manager:
        _aspire(manager, "m", {1: loader})
        first, second = _get(manager), _get(manager)

        _aspire(manager, "m", {})
        first.close()
        manager.step()
        assert second.servable.use() is None
        assert _states(manager) == {1: ManagerState.UNLOADING}
        with pytest.raises(NotFoundError):
            _get(manager)

        second.close()
        assert loader.unload_threads == []  # closing a handle does not unload
        manager.step()
        assert not loader.is_loaded


def test_a_slow_handle_on_one_model_does_not_block_another() -> None:
    """Model n goes through two versions while a handle holds up the unload of m."""
    slow, flipped = FakeLoader(), [FakeLoader(), FakeLoader()]
    with _manager() as manager:
        _aspire(manager, "m", {1: slow})
        with _get(manager) as handle:
            _aspire(manager, "m", {})
            _aspire(manager, "n", {1: flipped[0]})
            _aspire(manager, "n", {2: flipped[1]})

            assert [loader.is_loaded for loader in flipped] == [False, True]
            assert handle.servable.is_loaded


def test_re_aspiring_waits_for_the_old_incarnation() -> None:
    """The new loader starts only after the old one has been unloaded."""
    old, new = FakeLoader("old"), FakeLoader("new")
    with _manager() as manager:
        _aspire(manager, "m", {1: old})
        handle = _get(manager)
        _aspire(manager, "m", {})
        _aspire(manager, "m", {1: new})
        assert old.unload_threads == new.load_threads == []

        handle.close()
        manager.step()
        assert not old.is_loaded
        with _get(manager) as handle:
            assert handle.servable.use() == "new"


def test_a_lower_version_replaces_a_higher_one() -> None:
    """A source may go back: what counts is the list, not the number."""
    high, low = FakeLoader("high"), FakeLoader("low")
    with _manager() as manager:
        _aspire(manager, "m", {2: high})
        _aspire(manager, "m", {1: low})

        assert (high.is_loaded, low.is_loaded) == (False, True)
        with _get(manager) as handle:
            assert handle.servable_id == M1


def test_a_version_dropped_before_its_load_comes_back_with_its_new_loader() -> None:
    """As if it had never been aspired before."""
    never, new = FakeLoader(), FakeLoader()
    options = AspiredVersionsManagerOptions(has_manage_thread=False)
    policy = ResourcePreservingPolicy()
    with AspiredVersionsManager(options=options, policy=policy, clock=FakeClock()) as manager:
        _aspire(manager, "m", {1: FakeLoader()})
        with _get(manager):
            _aspire(manager, "m", {2: never})
            assert _states(manager)[2] is ManagerState.START
            _aspire(manager, "m", {})
            _aspire(manager, "m", {2: new})
        manager.step()

        assert new.is_loaded
        assert never.load_threads == []


def test_unloads_of_one_servable_come_before_loads_of_another() -> None:
    """They make room for them."""
    order: list[str] = []
    bus: EventBus[ServableState] = EventBus()
    bus.subscribe(lambda s: order.append(f"{s.event.servable_id} {s.event.manager_state.name}"))
    options = AspiredVersionsManagerOptions(has_manage_thread=False)
    with AspiredVersionsManager(options=options, event_bus=bus, clock=FakeClock()) as manager:
        _aspire(manager, "m", {1: FakeLoader()})
        order.clear()
        _aspire(manager, "a", {1: FakeLoader()}, step=False)
        _aspire(manager, "m", {}, step=False)
        manager.step()

    assert order.index("m/1 END") < order.index("a/1 LOADING")


def test_a_policy_sees_every_version_there_is() -> None:
    """Those in error and those that are unwanted too, each with its state."""
    seen: list[list[tuple[int, str, bool]]] = []

    class Recording(AvailabilityPreservingPolicy):
        def get_next_action(
            self, snapshots: Sequence[AspiredServableStateSnapshot]
        ) -> ServableAction | None:
            seen.append([(s.servable_id.version, s.state.value, s.is_aspired) for s in snapshots])
            return super().get_next_action(snapshots)

    options = AspiredVersionsManagerOptions(has_manage_thread=False, load_retry=NO_RETRIES)
    manager = AspiredVersionsManager(options=options, policy=Recording(), clock=FakeClock())
    with manager:
        _aspire(manager, "m", {1: FakeLoader()})
        _aspire(manager, "m", {2: FakeLoader(num_failures=9)})
        newest = seen[-1]

    assert newest == [(1, "ready", False), (2, "error", True)]


def test_a_postponed_list_gives_way_to_a_newer_one() -> None:
    """What counts when the old incarnation is gone is the latest wish."""
    never = FakeLoader()
    with _manager() as manager:
        _aspire(manager, "m", {1: FakeLoader()})
        with _get(manager):
            _aspire(manager, "m", {})
            _aspire(manager, "m", {1: never})
            _aspire(manager, "m", {2: FakeLoader()})
        manager.step()

        assert never.load_threads == []
        assert manager.list_available_servable_ids() == [M2]


def test_a_failed_version_is_tried_again_once_re_aspired() -> None:
    """It stays in error while it is aspired, whatever loader the source sends."""
    unused, good = FakeLoader(), FakeLoader()
    with _manager() as manager:
        _aspire(manager, "m", {1: FakeLoader(num_failures=9)})
        _aspire(manager, "m", {1: unused})
        assert _states(manager) == {1: ManagerState.END}
        assert unused.load_threads == []

        _aspire(manager, "m", {})
        _aspire(manager, "m", {1: good})
        assert good.is_loaded


def test_a_load_cancelled_midway_never_becomes_available() -> None:
    """It ends, is undone, and is forgotten."""
    gate = threading.Event()
    loader = FakeLoader(load_gate=gate)
    with _manager(num_load_threads=1) as manager:
        _aspire(manager, "m", {1: loader})
        loader.load_started.wait(10)
        _aspire(manager, "m", {})
        gate.set()
        loader.unload_started.wait(10)
        assert manager.list_available_servable_ids() == []

    assert not loader.is_loaded
    assert manager.states("m") == []


def test_a_failed_version_is_tried_again_while_it_is_aspired() -> None:
    """With growing back-off, and the newest loader that the source has sent."""
    clock, first, newer = FakeClock(), FakeLoader(num_failures=2), FakeLoader("newer")
    with _manager(clock) as manager:
        _aspire(manager, "m", {1: first})
        num_loads = []
        for secs in (9, 1, 19):
            clock.advance(secs)
            manager.step()
            num_loads.append(len(first.load_threads))
        _aspire(manager, "m", {1: newer})
        assert newer.load_threads == []
        clock.advance(1)
        manager.step()

        assert num_loads == [1, 2, 2]
        with _get(manager) as handle:
            assert handle.servable.use() == "newer"


def test_the_manage_thread_tries_a_failed_version_again_by_itself() -> None:
    """Nobody steps, only time passes."""
    clock, loader = FakeClock(), FakeLoader(num_failures=1)
    options = AspiredVersionsManagerOptions(load_retry=NO_RETRIES)
    with AspiredVersionsManager(options=options, clock=clock) as manager:
        _aspire(manager, "m", {1: loader}, step=False)
        clock.block_until_waiters(1)
        clock.advance(10)
        with ThreadPoolExecutor() as pool:
            pool.submit(_wait_for_success, manager).result(10)


def _wait_for_success(manager: AspiredVersionsManager) -> None:
    while True:
        try:
            manager.wait_until_available([M1], 10)
        except UnavailableError:  # the failure before
            continue
        return


def test_a_failed_version_is_left_alone_where_that_is_wanted() -> None:
    """No retries means none."""
    clock, loader = FakeClock(), FakeLoader(num_failures=1)
    options = AspiredVersionsManagerOptions(
        load_retry=NO_RETRIES, reload_retry=NO_RETRIES, has_manage_thread=False
    )
    with AspiredVersionsManager(options=options, clock=clock) as manager:
        _aspire(manager, "m", {1: loader})
        clock.advance(100_000)
        manager.step()

        assert len(loader.load_threads) == 1


def test_what_the_source_could_not_give_is_loaded_as_soon_as_it_can() -> None:
    """Without a back-off, for nothing has failed here."""
    with _manager() as manager:
        manager.set_aspired_versions("m", [ServableData.failed(M1, OSError("unreadable"))])
        manager.step()
        _aspire(manager, "m", {1: FakeLoader()})

        assert manager.list_available_servable_ids() == [M1]


def test_an_error_from_the_source_does_not_unload_what_is_loaded() -> None:
    """It is aspired, after all."""
    loader = FakeLoader()
    with _manager() as manager:
        _aspire(manager, "m", {1: loader})
        manager.set_aspired_versions("m", [ServableData.failed(M1, OSError("unreadable"))])
        manager.step()

        assert loader.is_loaded
        assert _states(manager) == {1: ManagerState.AVAILABLE}


def test_each_servable_may_have_its_own_policy() -> None:
    """One keeps serving while it changes, the other one never has two versions in memory."""
    both, peak = {"kept": AvailabilityPreservingPolicy(), "lean": ResourcePreservingPolicy()}, {}
    manager = AspiredVersionsManager(
        options=AspiredVersionsManagerOptions(has_manage_thread=False), policy_for=both.__getitem__
    )
    with manager:
        for name in both:
            old, new = FakeLoader(), FakeLoader(num_failures=99, error=InvalidArgumentError("bad"))
            _aspire(manager, name, {1: old})
            _aspire(manager, name, {2: new})
            peak[name] = old.is_loaded

    assert peak == {"kept": True, "lean": False}


def test_a_servable_without_a_working_policy_keeps_no_other_from_loading() -> None:
    """Its own versions wait."""
    policies = {"m": AvailabilityPreservingPolicy()}
    manager = AspiredVersionsManager(
        options=AspiredVersionsManagerOptions(has_manage_thread=False),
        policy_for=policies.__getitem__,
    )
    with manager:
        _aspire(manager, "a", {1: FakeLoader()})
        _aspire(manager, "m", {1: FakeLoader()})
        assert manager.list_available_servable_ids() == [M1]
        assert _states(manager, "a") == {1: ManagerState.START}


class _CountingPolicies:
    """Knows for which servables a policy was asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str) -> AspiredVersionPolicy:
        self.names.append(name)
        return AvailabilityPreservingPolicy()


def test_a_change_of_one_servable_costs_nothing_for_the_others() -> None:
    """Their policies are not asked; so many servables come up in a time that grows with them."""
    policies, names = _CountingPolicies(), [f"m{i}" for i in range(50)]
    options = AspiredVersionsManagerOptions(has_manage_thread=False)
    with AspiredVersionsManager(options=options, policy_for=policies) as manager:
        for name in names:
            _aspire(manager, name, {1: FakeLoader()})
        assert max(map(policies.names.count, names)) <= 5  # to load, then until nothing is left
        policies.names.clear()
        _aspire(manager, "m7", {2: FakeLoader()})

        assert set(policies.names) == {"m7"}
        assert _states(manager, "m7") == {2: ManagerState.AVAILABLE}


def test_a_wait_for_many_asks_only_about_those_that_change() -> None:
    """Once about each, and again about the one that something has happened to."""
    asked: list[str] = []

    def is_available(name: str, versions: VersionOutcomes) -> bool:
        asked.append(name)
        return versions.is_available(ServableId(name, 1))

    names = [f"m{i}" for i in range(50)]
    clock = FakeClock()
    with _manager(clock) as manager, ThreadPoolExecutor() as pool:
        for name in names[1:]:
            _aspire(manager, name, {1: FakeLoader()})
        waiting = pool.submit(manager.wait_until, names, is_available)
        clock.block_until_waiters(1)
        assert asked == names
        manager.recheck("other")
        _aspire(manager, "m0", {1: FakeLoader()})

        assert waiting.result(10)
        assert set(asked[len(names) :]) == {"m0"}


class _Impossible(AspiredVersionPolicy):
    def get_next_action(
        self, snapshots: Sequence[AspiredServableStateSnapshot]
    ) -> ServableAction | None:
        return ServableAction(Action.UNLOAD, snapshots[0].servable_id)


def test_a_policy_that_asks_for_the_impossible_keeps_no_other_from_loading() -> None:
    """Not even in the same step; its own versions wait."""
    policies = {"a": _Impossible(), "m": AvailabilityPreservingPolicy()}
    manager = AspiredVersionsManager(
        options=AspiredVersionsManagerOptions(has_manage_thread=False),
        policy_for=policies.__getitem__,
    )
    with manager:
        _aspire(manager, "a", {1: FakeLoader()}, step=False)
        _aspire(manager, "m", {1: FakeLoader()})
        assert manager.list_available_servable_ids() == [M1]


def test_a_failed_version_that_is_renewed_is_loaded_with_the_next_list() -> None:
    """Without its back-off; until then nobody is told of its old error."""
    errors: list[Exception | None] = []

    def look(_name: str, versions: VersionOutcomes) -> bool:
        errors.append(versions.find_error(M1))
        return True

    with _manager() as manager:
        _aspire(manager, "m", {1: FakeLoader(num_failures=99)})
        assert not manager.renew_failed(["other"])
        manager.wait_until(["m"], look)
        assert manager.renew_failed(["m"])
        manager.wait_until(["m"], look)
        manager.step()
        assert manager.list_available_servable_ids() == []
        _aspire(manager, "m", {1: FakeLoader()})
        assert manager.list_available_servable_ids() == [M1]

    assert [type(error) for error in errors] == [UnavailableError, type(None)]


def test_an_error_from_the_source_is_renewed_too() -> None:
    """The newest one counts."""
    with _manager() as manager:
        for message in ("old", "new"):
            manager.renew_failed(["m"])
            manager.set_aspired_versions("m", [ServableData.failed(M1, OSError(message))])
            manager.step()

        with pytest.raises(OSError, match="new"):
            manager.wait_until_available([M1])


def test_versions_beyond_the_total_are_in_error_and_harm_nobody() -> None:
    """What is aspired and loaded is not unloaded to make room."""
    options = AspiredVersionsManagerOptions(has_manage_thread=False, total_resources=host_ram(10))
    with AspiredVersionsManager(options=options, clock=FakeClock()) as manager:
        _aspire(manager, "m", {1: FakeLoader(resources=host_ram(6))})
        _aspire(manager, "n", {1: FakeLoader(resources=host_ram(6))})

        with pytest.raises(InsufficientResourcesError):
            manager.wait_until_available([ServableId("n", 1)])
        assert manager.list_available_servable_ids() == [M1]
        assert manager.statistics().used_resources == host_ram(6)
        _aspire(manager, "m", {})
        manager._clock.advance(10)  # type: ignore[attr-defined]  # it is the fake one
        manager.step()
        assert manager.list_available_servable_ids() == [ServableId("n", 1)]


def test_a_version_dropped_before_its_load_is_told_to_have_ended() -> None:
    """So nobody believes it to be on its way."""
    bus, told = EventBus[ServableState](), list[ServableState]()
    bus.subscribe(lambda stamped: told.append(stamped.event))
    never = FakeLoader()
    manager = AspiredVersionsManager(
        options=AspiredVersionsManagerOptions(has_manage_thread=False),
        policy=ResourcePreservingPolicy(),
        event_bus=bus,
    )
    with manager:
        _aspire(manager, "m", {1: FakeLoader()})
        with _get(manager):
            _aspire(manager, "m", {2: never})
            _aspire(manager, "m", {})
        manager.step()

    newest = [s for s in told if s.servable_id == M2]
    assert [s.manager_state for s in newest] == [ManagerState.START, ManagerState.END]
    assert never.load_threads == []


def test_an_error_from_the_source_is_a_version_in_error() -> None:
    """Others of the same list load."""
    error = OSError("unreadable")
    with _manager() as manager:
        manager.set_aspired_versions(
            "m", [ServableData.failed(M1, error), ServableData.of(M2, FakeLoader())]
        )
        manager.step()

        assert manager.states("m")[0].error is error
        assert manager.list_available_servable_ids() == [M2]


@pytest.mark.parametrize(
    ("ids", "message"),
    [([ServableId("n", 1)], "n/1 is no version of servable 'm'"), ([M1, M1], "distinct")],
)
def test_a_wrong_list_is_refused(ids: list[ServableId], message: str) -> None:
    """Mistakes of a source show where they are made."""
    with _manager() as manager, pytest.raises(InvalidArgumentError, match=message):
        manager.set_aspired_versions("m", [ServableData.of(i, FakeLoader()) for i in ids])


def test_waiting_raises_a_load_error_at_once() -> None:
    """A version that has failed for good is not waited for."""
    with _manager() as manager:
        _aspire(manager, "m", {1: FakeLoader(), 2: FakeLoader(num_failures=9)})

        manager.wait_until_available([M1])
        with pytest.raises(UnavailableError):
            manager.wait_until_available([M1, M2])


def test_waiting_ends_when_time_runs_out() -> None:
    """The message tells how far each version has come."""
    clock = FakeClock()
    with _manager(clock) as manager, ThreadPoolExecutor() as pool:
        waiting = pool.submit(manager.wait_until_available, [M1], 5.0)
        clock.block_until_waiters(1)
        clock.advance(5)
        with pytest.raises(DeadlineExceededError, match=r"after 5.0 seconds: m/1 \(not managed\)"):
            waiting.result(10)


def test_waiting_ends_when_the_manager_closes() -> None:
    """Nobody waits for a manager that will load nothing more."""
    clock, manager = FakeClock(), _manager()
    with manager, ThreadPoolExecutor() as pool:
        manager._clock = clock
        waiting = pool.submit(manager.wait_until_available, [M1])
        clock.block_until_waiters(1)
        manager.close()
        with pytest.raises(AbortedError):
            waiting.result(10)


def test_close_unloads_everything_and_is_idempotent() -> None:
    """Afterwards nothing is found, and new wishes are ignored."""
    loaders = {1: FakeLoader(), 2: FakeLoader()}
    manager = _manager()
    _aspire(manager, "m", loaders)

    manager.close()
    manager.close()
    late = FakeLoader()
    _aspire(manager, "m", {3: late})

    assert [loader.is_loaded for loader in loaders.values()] == [False, False]
    assert late.load_threads == []
    with pytest.raises(NotFoundError, match="available: none"):
        _get(manager)


def test_close_gives_up_on_a_handle_but_never_unloads_under_it() -> None:
    """The one who holds it may go on; the servable goes when the handle does."""
    clock, loader = FakeClock(), FakeLoader()
    manager = _manager(clock)
    _aspire(manager, "m", {1: loader})

    with ThreadPoolExecutor() as pool:
        with _get(manager) as handle:
            closing = pool.submit(manager.close)
            clock.block_until_waiters(1)
            clock.advance(60)
            with pytest.raises(DeadlineExceededError, match=r"still open after 60\.0 seconds: m/1"):
                closing.result(10)
            assert handle.servable.is_loaded
        manager.close()

    assert not loader.is_loaded


def test_close_interrupts_a_back_off() -> None:
    """An hour of waiting for the next attempt does not delay the end."""
    clock, loader = FakeClock(), FakeLoader(num_failures=9)
    options = AspiredVersionsManagerOptions(
        num_load_threads=1,
        load_retry=RetryOptions(initial_backoff_secs=3600, max_backoff_secs=3600),
    )
    with AspiredVersionsManager(options=options, clock=clock) as manager:
        _aspire(manager, "m", {1: loader}, step=False)
        clock.block_until_waiters(1)

    assert len(loader.load_threads) == 1


_VERSIONS = st.sets(st.integers(1, 4))


@settings(deadline=None)  # each example starts a thread, which a busy machine may delay
@given(st.lists(st.tuples(_VERSIONS, _VERSIONS, st.booleans()), max_size=8))
def test_whatever_is_aspired_no_handle_dangles_and_no_stream_goes_dark(
    changes: list[tuple[set[int], set[int], bool]],
) -> None:
    """Random lists, some with failing loaders, some while a handle is held."""
    manager, loaders, handles = _manager(), list[FakeLoader](), list[ServableHandle[FakeServable]]()
    for aspired, failing, hold in changes:
        was_available = bool(manager.list_available_servable_ids())
        new = {v: FakeLoader(num_failures=9 if v in failing else 0) for v in sorted(aspired)}
        loaders += new.values()
        _aspire(manager, "m", new)
        is_available = bool(manager.list_available_servable_ids())
        assert is_available or not (was_available and aspired)
        if hold and is_available:
            handles.append(_get(manager))
        for handle in handles:
            handle.servable.use()
    for handle in handles:
        handle.close()
    manager.close()

    assert not any(loader.is_loaded for loader in loaders)
