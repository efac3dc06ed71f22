"""A core made from a configuration: what it loads, and what it says of what it cannot load."""

import contextlib
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from typing_extensions import override

from servable_core.config.server_config import ServerConfig
from servable_core.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from servable_core.lifecycle import (
    Loader,
    ManagerState,
    ServableData,
    ServableId,
    ServableRequest,
    ServableState,
)
from servable_core.managers import ServableStateMonitor
from servable_core.policies import AvailabilityPreservingPolicy, ResourcePreservingPolicy
from servable_core.resources import RAM_BYTES, Resource, ResourceAllocation, host_ram
from servable_core.runtime.clock import SystemClock
from servable_core.runtime.event_bus import EventBus
from servable_core.servables.platform import Platform
from servable_core.servables.platform_registry import PlatformRegistry
from servable_core.server_core import (
    ModelSpec,
    ModelStatus,
    ServerCore,
    ServerCoreOptions,
    VersionStatus,
)
from servable_core.server_core.followed_models import FollowedFeed
from servable_core.sources.watched_servable import StoragePathStatus
from servable_core.testing import (
    FakeClock,
    FakeFileSystem,
    FakeLoader,
    FakeServable,
    RecordingTarget,
)
from tests.servable_core.server_core.fakes import PATIENCE_SECS, FakeStore, available, model, use


def test_the_models_of_a_configuration_are_available_when_the_constructor_returns() -> None:
    """Each with the versions that its policy picks; all are gone after the block."""
    store = FakeStore("a/1", "a/2", "b/1", "b/2")

    with store.core(model("a"), model("b", 1, 2)) as core:
        assert available(core) == ["a/2", "b/1", "b/2"]
        assert use(core, "b", 1) == "/b/1"
        assert use(core, "b") == "/b/2"

    assert store.num_loaded == 0
    with pytest.raises(NotFoundError):
        core.get_servable_handle(ServableRequest.latest("a"), FakeServable)


def test_a_new_version_replaces_the_old_one() -> None:
    """As soon as it is found and loaded."""
    store = FakeStore("a/1")
    with store.core(model("a")) as core:
        store.write("a/2")
        core.poll()
        core._manager.wait_until_available([ServableId("a", 2)], PATIENCE_SECS)
        assert use(core, "a") == "/a/2"


def test_the_polling_thread_finds_the_models_by_itself() -> None:
    """With a poll interval nobody has to call `poll`, not even for the first load."""
    store = FakeStore("a/1")
    with store.core(model("a"), poll_interval_secs=3600.0) as core:
        assert available(core) == ["a/1"]


def test_a_version_that_has_yet_to_come_to_rest_is_waited_for() -> None:
    """The constructor returns when it is loaded, not when it is first seen."""
    store, clock = FakeStore(), FakeClock()
    store.files.write("/a/1/model", mtime_secs=clock.wall_time())

    with ThreadPoolExecutor() as pool:
        starting = pool.submit(
            store.core, model("a"), clock=clock, poll_interval_secs=100.0, settle_secs=5.0
        )
        clock.block_until_waiters(2)  # the poller and the constructor
        assert not starting.done()
        clock.advance(5)
        with starting.result(PATIENCE_SECS) as core:
            assert available(core) == ["a/1"]


@pytest.mark.parametrize(
    ("failing", "error"), [("/b/1", UnavailableError), (None, NotFoundError)], ids=str
)
def test_the_first_error_is_raised_where_all_models_are_required(
    failing: str | None, error: type[Exception]
) -> None:
    """A load that fails or a base path that is missing; what was loaded is unloaded."""
    store = FakeStore("a/1", *(["b/1"] if failing else []))
    store.failing = {failing or ""}

    with pytest.raises(error):
        store.core(model("a"), model("b"))

    assert store.num_loaded == 0


def test_what_there_is_serves_where_not_all_models_are_required() -> None:
    """A missing and a broken model concern only themselves, and status says what is wrong."""
    store = FakeStore("a/1", "broken/1")
    store.failing = {"/broken/1"}

    with store.core(model("a"), model("gone"), model("broken"), requires_all_models=False) as core:
        assert use(core, "a") == "/a/1"
        a, gone, broken = core.statuses()

    assert (a.name, a.base_path, a.error, a.is_available) == ("a", "/a", None, True)
    assert "base path /gone of servable 'gone' does not exist" in str(gone.error)
    assert gone.versions == ()
    assert isinstance(broken.error, UnavailableError)
    assert [(each.version, each.state) for each in broken.versions] == [(1, ManagerState.END)]


def test_a_model_that_comes_later_is_served() -> None:
    """One that was missing when the core was made needs no reload."""
    store = FakeStore()
    with store.core(model("a"), requires_all_models=False) as core:
        store.write("a/1")
        core.poll()
        core._manager.wait_until_available([ServableId("a", 1)], PATIENCE_SECS)
        assert core.statuses()[0].error is None


def test_an_unknown_platform_is_an_error_of_its_model() -> None:
    """Status names it and those that are known; with all models required it is refused."""
    store = FakeStore("a/1", "b/1")
    odd = model("b", platform="odd")

    with store.core(model("a"), odd, requires_all_models=False) as core:
        assert available(core) == ["a/1"]
        message = str(core.statuses()[1].error)
    with pytest.raises(InvalidArgumentError, match="unknown platform 'odd'"):
        store.core(model("a"), odd)

    assert "unknown platform 'odd'; known are 'tensorflow', 'lookup_table', 'fake'" in message
    assert "to add one, pass platforms=" in message


def test_status_tells_what_is_present_wanted_or_not() -> None:
    """All versions that have a directory; those asked for are another matter."""
    store = FakeStore("a/1", "a/2", "a/10")
    with store.core(model("a", 2), model("gone"), requires_all_models=False) as core:
        a, gone = core.statuses()
    assert (a.present, gone.present) == ((1, 2, 10), ())
    assert [each.version for each in a.versions] == [2]


def test_status_tells_what_an_incomplete_version_lacks() -> None:
    """The reason comes from the platform; the version has no state yet."""
    platform = Platform(
        name="fake",
        create_loader=lambda *_: FakeLoader(),
        find_missing=lambda files: None if "model" in files else "it has no model",
    )
    files = FakeFileSystem()
    files.write("/a/1/model")
    files.write("/a/2/other")

    with ServerCore(
        ServerConfig(models=(model("a"),)),
        platforms=PlatformRegistry([platform]),
        file_system=files,
        options=ServerCoreOptions(poll_interval_secs=None, settle_secs=0.0),
    ) as core:
        (status,) = core.statuses()

    assert [(each.version, each.state, each.pending) for each in status.versions] == [
        (2, None, "it has no model"),
        (1, ManagerState.AVAILABLE, None),
    ]


def test_models_that_load_for_too_long_are_left_behind_where_not_all_are_required() -> None:
    """The constructor returns after its time with what there is; the rest follows."""
    store, clock = FakeStore("a/1", "b/1"), FakeClock()
    store.gates["/b/1"] = threading.Event()
    models = model("a"), model("b")

    with ThreadPoolExecutor() as pool:
        starting = pool.submit(
            store.core, *models, clock=clock, requires_all_models=False, load_timeout_secs=5.0
        )
        clock.block_until_waiters(1)
        clock.advance(5)
        with starting.result(PATIENCE_SECS) as core:
            core._manager.wait_until_available([ServableId("a", 1)])
            assert available(core) == ["a/1"]
            store.gates["/b/1"].set()
            core._manager.wait_until_available([ServableId("b", 1)])


def test_the_time_out_tells_how_far_each_model_has_come() -> None:
    """By version and state."""
    store, clock = FakeStore("a/1"), FakeClock()
    store.gates["/a/1"] = threading.Event()

    with ThreadPoolExecutor() as pool:
        starting = pool.submit(
            store.core, model("a"), clock=clock, load_timeout_secs=5.0, close_timeout_secs=1.0
        )
        store.block_until_loading("/a/1")
        clock.block_until_waiters(1)
        clock.advance(5)
        clock.block_until_waiters(1)
        clock.advance(1)
        with pytest.raises(DeadlineExceededError, match=r"a/1 \(loading\)"):
            starting.result(PATIENCE_SECS)
        store.gates["/a/1"].set()
        assert store.loaders["/a/1"][0].unload_started.wait(PATIENCE_SECS)


def test_the_first_load_has_many_threads_and_later_ones_few() -> None:
    """All models load at a time at first; the threads are given back."""
    names = [f"m{i}" for i in range(6)]
    store = FakeStore(*(f"{name}/1" for name in names))
    gate = threading.Event()
    store.gates = {f"/{name}/1": gate for name in names}

    with ThreadPoolExecutor() as pool:
        starting = pool.submit(
            store.core, *map(model, names), num_initial_load_threads=6, num_load_threads=1
        )
        for path in store.gates:
            store.block_until_loading(path)  # all at a time: none has passed the gate
        gate.set()
        with starting.result(PATIENCE_SECS) as core:
            assert core.num_load_threads == 1


def test_the_pre_load_hook_is_told_of_each_load() -> None:
    """Before it."""
    store, told = FakeStore("a/1"), []
    with store.core(model("a"), pre_load_hook=told.append):
        assert told == [ServableId("a", 1)]


def test_what_does_not_fit_into_memory_is_an_error_of_its_model() -> None:
    """The others serve; status names what is lacking."""
    platform = Platform(
        name="fake",
        create_loader=lambda servable_id, *_: FakeLoader(
            resources=host_ram(10 if servable_id.name == "small" else 1000)
        ),
    )
    files = FakeFileSystem()
    files.write("/small/1/model")
    files.write("/large/1/model")

    with ServerCore(
        ServerConfig(models=(model("small"), model("large"))),
        platforms=PlatformRegistry([platform]),
        file_system=files,
        options=ServerCoreOptions(
            poll_interval_secs=None,
            settle_secs=0.0,
            total_ram_bytes=100,
            requires_all_models=False,
        ),
    ) as core:
        assert available(core) == ["small/1"]
        assert isinstance(core.statuses()[1].error, ResourceExhaustedError)


def test_memory_is_limited_for_each_device() -> None:
    """What does not fit on the GPU is refused, though the host has room."""
    platform = Platform(
        name="fake",
        create_loader=lambda servable_id, *_: FakeLoader(
            resources=_on_gpu(10 if servable_id.name == "small" else 1000)
        ),
    )
    files = FakeFileSystem()
    files.write("/small/1/model")
    files.write("/large/1/model")

    with ServerCore(
        ServerConfig(models=(model("small"), model("large"))),
        platforms=PlatformRegistry([platform]),
        file_system=files,
        options=ServerCoreOptions(
            poll_interval_secs=None,
            settle_secs=0.0,
            total_resources=host_ram(10_000) + _on_gpu(100),
            requires_all_models=False,
        ),
    ) as core:
        assert available(core) == ["small/1"]
        assert "gpu" in str(core.statuses()[1].error)


def _on_gpu(num_bytes: int) -> ResourceAllocation:
    return ResourceAllocation({Resource("gpu", RAM_BYTES, 0): num_bytes})


def test_a_total_is_given_once_and_is_bound() -> None:
    """Otherwise nobody knows what is meant."""
    with pytest.raises(InvalidArgumentError, match="give one of them"):
        ServerCoreOptions(total_ram_bytes=1, total_resources=host_ram(1))
    with pytest.raises(InvalidArgumentError, match="must be bound, got 1 of gpu:"):
        ServerCoreOptions(total_resources=ResourceAllocation({Resource("gpu", RAM_BYTES): 1}))


@pytest.mark.parametrize(
    "name", ["num_initial_load_threads", "num_load_threads", "num_unload_threads"]
)
def test_numbers_of_threads_are_checked_before_anything_is_loaded(name: str) -> None:
    """Each under its own name."""
    with pytest.raises(InvalidArgumentError, match=f"^{name} must be 0 or more, got -1"):
        ServerCoreOptions(**{name: -1})


def test_a_platform_that_makes_no_loader_is_an_error_of_its_version() -> None:
    """Nobody waits for ever for a `create_loader` without a `return`."""
    platform = Platform(name="fake", create_loader=cast(Any, lambda *_: None))
    files = FakeFileSystem()
    files.write("/a/1/model")

    with pytest.raises(InvalidArgumentError, match="'fake' must return a Loader for a/1, got None"):
        ServerCore(
            ServerConfig(models=(model("a"),)),
            platforms=PlatformRegistry([platform]),
            file_system=files,
            options=ServerCoreOptions(settle_secs=0.0, load_timeout_secs=PATIENCE_SECS),
        )


def test_a_status_says_which_version_has_failed_and_why() -> None:
    """Each reason once, also while another version serves."""
    error, missing = UnavailableError("no memory"), NotFoundError("no such directory")
    failed = VersionStatus(version=2, state=ManagerState.END, error=error)
    serving = VersionStatus(version=1, state=ManagerState.AVAILABLE)

    def told(*versions: VersionStatus, error: Exception | None) -> str:
        return str(ModelStatus(name="a", base_path="", platform="", versions=versions, error=error))

    assert told(failed, serving, error=None) == "a/2 (failed: no memory), a/1 (available)"
    assert told(failed, error=error) == "a/2 (failed: no memory)"
    assert told(failed, error=missing) == "a/2 (failed: no memory): no such directory"


def test_each_model_may_have_its_own_policy() -> None:
    """One serves while it changes, the other is unloaded before its next version is loaded."""
    store = FakeStore("kept/1", "lean/1")
    store.failing = {"/kept/2", "/lean/2"}
    policies = {"kept": AvailabilityPreservingPolicy(), "lean": ResourcePreservingPolicy()}
    with store.core(model("kept"), model("lean"), policy_for=policies.__getitem__) as core:
        for version in ("kept/2", "lean/2"):
            store.write(version)
        core.poll()
        for name in policies:
            with pytest.raises(UnavailableError):
                core._manager.wait_until_available([ServableId(name, 2)], PATIENCE_SECS)
        assert available(core) == ["kept/1"]


def test_whoever_listens_is_told_of_every_state() -> None:
    """By the event bus; a monitor remembers what status forgets."""
    store, bus = FakeStore("a/1"), EventBus[ServableState]()
    with ServableStateMonitor(bus) as monitor:
        with ServerCore(
            ServerConfig(models=(model("a"),)),
            platforms=store.platforms(),
            file_system=store.files,
            options=ServerCoreOptions(poll_interval_secs=None, settle_secs=0.0),
            event_bus=bus,
        ):
            pass
        assert monitor.version_states("a")[1].manager_state is ManagerState.END


def test_looking_at_models_grows_with_their_number_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is looked at when something has happened to it, not when something has to another."""
    looked: list[str] = []
    status = FollowedFeed.status

    def count(feed: FollowedFeed, name: str) -> StoragePathStatus | None:
        looked.append(name)
        return status(feed, name)

    monkeypatch.setattr(FollowedFeed, "status", count)
    names = [f"m{i}" for i in range(60)]
    policies: list[str] = []

    def policy_for(name: str) -> AvailabilityPreservingPolicy:
        policies.append(name)
        return AvailabilityPreservingPolicy()

    store = FakeStore(*(f"{name}/1" for name in names))
    with store.core(*map(model, names), policy_for=policy_for) as core:
        assert len(available(core)) == len(names)

    assert max(map(looked.count, names)) <= 10
    assert max(map(policies.count, names)) <= 10


class _WaitingTarget(RecordingTarget[Loader[Any]]):
    """Takes no removal before it has been told of versions of another servable."""

    @override
    def set_aspired_versions(
        self, servable_name: str, versions: Sequence[ServableData[Loader[Any]]]
    ) -> None:
        if not versions:
            self.block_until_calls(2)
        super().set_aspired_versions(servable_name, versions)


def test_a_new_model_has_its_route_before_it_can_come() -> None:
    """The polling thread may find it while others are still being removed."""
    store, target = FakeStore("a/1", "b/1"), _WaitingTarget()
    feed = FollowedFeed(
        ServerConfig(models=(model("a"),)),
        platforms=store.platforms(),
        file_system=store.files,
        options=ServerCoreOptions(poll_interval_secs=3600.0, settle_secs=0.0),
        on_poll=lambda _name: None,
        clock=SystemClock(),
    )
    with contextlib.ExitStack() as closing:
        feed.connect(target, closing)
        target.block_until_calls(1)
        feed.update(ServerConfig(models=(model("b"),)))
        told = [(name, [version.error for version in v]) for name, v in target.calls]

    # It may have been looked at once more meanwhile.
    assert [told[0], told[1]] == [("a", [None]), ("b", [None])]
    assert ("a", []) in told


def test_a_core_without_models_serves_nothing() -> None:
    """And is no error."""
    with FakeStore().core() as core:
        assert (core.statuses(), available(core)) == ((), [])


def test_a_model_spec_is_by_version_or_by_label() -> None:
    """Not by both, and not without a name."""
    with pytest.raises(InvalidArgumentError, match="give one of them"):
        ModelSpec("a", version=1, version_label="stable")
    with pytest.raises(InvalidArgumentError, match="must have a name"):
        ModelSpec("")
