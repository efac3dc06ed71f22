"""Another configuration at run time: what it brings, and that a failure costs nothing."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from servable_core.config.server_config import ServerConfig
from servable_core.errors import (
    AbortedError,
    AlreadyExistsError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from servable_core.lifecycle import ManagerState, ServableId
from servable_core.server_core import ModelSpec, PinnedModels, ServerCore
from servable_core.testing import FakeClock, FakeLoader, FakeServable
from tests.servable_core.server_core.fakes import (
    PATIENCE_SECS,
    FakeStore,
    available,
    config,
    model,
    use,
)


def _state(core: ServerCore, name: str, version: int) -> ManagerState | None:
    (status,) = [each for each in core.statuses() if each.name == name]
    return next(each.state for each in status.versions if each.version == version)


def test_a_reload_returns_when_its_models_are_available() -> None:
    """Also those that were there before."""
    store = FakeStore("a/1", "b/1")
    with store.core(model("a")) as core:
        core.reload(config(model("a"), model("b")))
        assert available(core) == ["a/1", "b/1"]
        assert core.config == config(model("a"), model("b"))


def test_a_reload_waits_for_the_loads() -> None:
    """Nothing of it is in force before they are done, but the former models serve."""
    store = FakeStore("a/1", "b/1")
    store.gates["/b/1"] = threading.Event()
    with store.core(model("a")) as core, ThreadPoolExecutor() as pool:
        reloading = pool.submit(core.reload, config(model("b")))
        store.block_until_loading("/b/1")
        assert use(core, "a") == "/a/1"
        assert [each.name for each in core.statuses()] == ["b", "a"]  # not blocked, and both
        assert core.config == config(model("a"))
        store.gates["/b/1"].set()
        reloading.result(PATIENCE_SECS)
        assert core.config == config(model("b"))


def test_models_left_out_are_unloaded() -> None:
    """And can be brought back."""
    store = FakeStore("a/1", "b/1")
    with store.core(model("a"), model("b")) as core:
        core.reload(config(model("a")))
        assert store.loaders["/b/1"][0].unload_started.wait(PATIENCE_SECS)
        core.reload(config(model("a"), model("b")))
        assert use(core, "b") == "/b/1"


def test_the_same_configuration_changes_nothing() -> None:
    """No version is loaded a second time."""
    store = FakeStore("a/1")
    with store.core(model("a")) as core:
        core.reload(core.config)
        assert sum(len(each.load_threads) for each in store.loaders["/a/1"]) == 1


def test_a_changed_version_policy_is_waited_for() -> None:
    """The versions that it asks for are there when the reload returns."""
    store = FakeStore("a/1", "a/2", "a/3")
    with store.core(model("a")) as core:
        core.reload(config(model("a", 1, 2)))
        assert use(core, "a", 1) == "/a/1"
        assert use(core, "a", 2) == "/a/2"


def test_a_changed_base_path_is_waited_for() -> None:
    """The version found there is loaded from there."""
    store = FakeStore("a/1", "new/2")
    with store.core(model("a")) as core:
        core.reload(config(model("a", base_path="/new")))
        assert use(core, "a") == "/new/2"


def test_models_of_several_platforms_serve_side_by_side() -> None:
    """And a removed one may come back on another platform."""
    store = FakeStore("a/1", "b/1")
    with store.core(model("a"), model("b", platform="other")) as core:
        assert available(core) == ["a/1", "b/1"]
        core.remove_model("b")
        core.add_model(model("b"))
        assert use(core, "b") == "/b/1"


REFUSED = [
    (config(model("a"), model("b", base_path="relative")), InvalidArgumentError, "absolute"),
    (config(model("a", platform="other")), FailedPreconditionError, "change its platform"),
    (config(model("a"), model("b", platform="odd")), InvalidArgumentError, "unknown platform"),
]


@pytest.mark.parametrize(("new", "error", "match"), REFUSED)
def test_a_configuration_that_makes_no_sense_changes_nothing(
    new: ServerConfig, error: type[Exception], match: str
) -> None:
    """It is refused before anything is loaded or unloaded."""
    store = FakeStore("a/1", "b/1")
    with store.core(model("a")) as core:
        with pytest.raises(error, match=match):
            core.reload(new)
        assert core.config == config(model("a"))
        assert [each.name for each in core.statuses()] == ["a"]
        assert "/b/1" not in store.loaders


def _missing(store: FakeStore) -> None:
    store.files.remove_tree("/b")


def _broken(store: FakeStore) -> None:
    store.failing.add("/b/1")


def _unlistable(store: FakeStore) -> None:
    store.files.fail_listing("/b", OSError("no permission"))


@pytest.mark.parametrize(
    ("spoil", "error"),
    [(_missing, NotFoundError), (_broken, UnavailableError), (_unlistable, UnavailableError)],
)
def test_a_reload_that_fails_is_rolled_back(
    spoil: Callable[[FakeStore], None], error: type[Exception]
) -> None:
    """What served before serves on without a gap, and what was new is gone."""
    store = FakeStore("a/1", "old/1", "b/1", "c/1")
    spoil(store)
    with store.core(model("a"), model("old")) as core:
        before = core.config
        with pytest.raises(error):
            core.reload(config(model("a"), model("b"), model("c")))
        assert core.config == before
        assert (use(core, "a"), use(core, "old")) == ("/a/1", "/old/1")
        assert [each.name for each in core.statuses()] == ["a", "old"]
        assert all(
            len(store.loaders[path]) >= 1 and not store.loaders[path][0].unload_threads
            for path in ("/a/1", "/old/1")
        )
    assert store.num_loaded == 0


def test_a_changed_policy_is_rolled_back() -> None:
    """The version that the former policy picks stays when the other one is broken."""
    store = FakeStore("a/1", "a/2")
    store.failing = {"/a/1"}
    with store.core(model("a")) as core:
        with pytest.raises(UnavailableError):
            core.reload(config(model("a", 1)))
        assert use(core, "a") == "/a/2"
        assert core.statuses()[0].error is None


def test_versions_of_a_former_policy_serve_until_the_reload_is_over() -> None:
    """A roll-back has none of them to load again, though others were available meanwhile."""
    store = FakeStore("a/1", "a/2", "a/3", "b/1")
    store.failing = {"/b/1"}
    with store.core(model("a", 1, 2)) as core:
        with pytest.raises(UnavailableError):
            core.reload(config(model("a", 1, 3), model("b")))
        assert {"a/1", "a/2"} <= set(available(core))
        assert not store.loaders["/a/2"][0].unload_threads


def test_a_broken_version_of_a_former_policy_is_no_obstacle() -> None:
    """A reload that no longer asks for it succeeds."""
    store = FakeStore("a/1", "a/2")
    store.failing = {"/a/2"}
    with store.core(model("a", 1, 2), requires_all_models=False) as core:
        core.reload(config(model("a", 1)), PATIENCE_SECS)
        assert available(core) == ["a/1"]


def test_a_missing_specific_version_is_rolled_back() -> None:
    """Also where the others that are asked for are there."""
    store = FakeStore("a/1", "a/2")
    with store.core(model("a")) as core:
        with pytest.raises(NotFoundError, match="version 9 not found"):
            core.reload(config(model("a", 2, 9)))
        assert use(core, "a") == "/a/2"


def test_a_reload_that_takes_too_long_is_rolled_back() -> None:
    """The late load is undone."""
    store, clock = FakeStore("a/1", "b/1"), FakeClock()
    store.gates["/b/1"] = threading.Event()
    with store.core(model("a"), clock=clock) as core, ThreadPoolExecutor() as pool:
        reloading = pool.submit(core.reload, config(model("b")), 5.0)
        store.block_until_loading("/b/1")
        clock.block_until_waiters(1)
        clock.advance(5)
        with pytest.raises(DeadlineExceededError, match=r"b/1 \(loading\)"):
            reloading.result(PATIENCE_SECS)
        assert core.config == config(model("a"))
        store.gates["/b/1"].set()
        assert store.loaders["/b/1"][0].unload_started.wait(PATIENCE_SECS)
        assert use(core, "a") == "/a/1"


def test_a_model_mended_after_a_failed_reload_comes_up() -> None:
    """A failure of the past does not fail the next attempt."""
    store = FakeStore("a/1", "b/1")
    store.failing = {"/b/1"}
    with store.core(model("a")) as core:
        for _ in range(3):
            with pytest.raises(UnavailableError):
                core.add_model(model("b"))
        store.failing.clear()
        core.add_model(model("b"), PATIENCE_SECS)
        assert use(core, "b") == "/b/1"


def test_a_version_that_had_failed_has_a_fresh_chance_in_a_reload() -> None:
    """It is loaded at once, and only what comes of that counts."""
    store = FakeStore("a/1", "a/2")
    store.failing = {"/a/2"}
    with store.core(model("a", 1, 2), requires_all_models=False) as core:
        store.failing.clear()
        core.reload(config(model("a", 2)), PATIENCE_SECS)
        assert use(core, "a") == "/a/2"


def test_a_version_that_had_failed_may_be_at_another_base_path() -> None:
    """What is loaded comes from there."""
    store = FakeStore("a/1", "new/1")
    store.failing = {"/a/1"}
    with store.core(model("a"), requires_all_models=False, poll_interval_secs=3600.0) as core:
        core.reload(config(model("a", base_path="/new")), PATIENCE_SECS)
        assert use(core, "a") == "/new/1"


def test_a_reload_tries_what_had_failed_though_nothing_about_it_has_changed() -> None:
    """Without its back-off; nobody waits for it."""
    store = FakeStore("a/1")
    store.failing = {"/a/1"}
    with store.core(model("a"), requires_all_models=False) as core:
        store.failing.clear()
        core.reload(core.config)
        core._manager.wait_until_available([ServableId("a", 1)], PATIENCE_SECS)


def test_a_version_that_fails_again_fails_the_reload() -> None:
    """With the new error."""
    store = FakeStore("a/1", "a/2")
    store.failing = {"/a/2"}
    with store.core(model("a", 1, 2), requires_all_models=False) as core:
        with pytest.raises(UnavailableError):
            core.reload(config(model("a", 2)), PATIENCE_SECS)
        assert sum(len(each.load_threads) for each in store.loaders["/a/2"]) >= 2
        assert use(core, "a") == "/a/1"


def test_status_forgets_what_is_gone() -> None:
    """A model that comes back begins anew: its former versions and errors are not listed."""
    store = FakeStore("a/1", "b/1", "new/2")
    store.failing = {"/b/1"}
    with store.core(model("a"), model("b"), requires_all_models=False) as core:
        core.remove_model("b")
        core.add_model(model("b", base_path="/new"))
        b = core.statuses()[1]

    assert [(each.version, each.error) for each in b.versions] == [(2, None)]


def test_a_model_that_is_wrong_all_along_is_no_obstacle() -> None:
    """Missing, broken or of an unknown platform: the others can be changed."""
    store = FakeStore("a/1", "broken/1", "odd/1")
    store.failing = {"/broken/1"}
    wrong = model("gone"), model("broken"), model("odd", platform="odd")
    with store.core(*wrong, requires_all_models=False) as core:
        core.add_model(model("a"))
        assert available(core) == ["a/1"]
        for each in wrong:
            core.remove_model(each.name)
        assert core.config == config(model("a"))


def test_one_model_is_added_and_removed() -> None:
    """The others are not touched; names are checked."""
    store = FakeStore("a/1", "b/1")
    with store.core(model("a")) as core:
        core.add_model(model("b"))
        assert use(core, "b") == "/b/1"
        with pytest.raises(AlreadyExistsError):
            core.add_model(model("b"))
        core.remove_model("b")
        assert store.loaders["/b/1"][0].unload_started.wait(PATIENCE_SECS)
        assert core.config == config(model("a"))
        with pytest.raises(NotFoundError):
            core.remove_model("b")


def test_a_model_that_was_removed_can_be_added_again() -> None:
    """It waits for the last handle of its former life, and gets a loader of its own."""
    store = FakeStore("a/1", "b/1")
    with store.core(model("a"), model("b")) as core, ThreadPoolExecutor() as pool:
        with core.get_servable_handle(ModelSpec("b"), FakeServable) as handle:
            core.remove_model("b")
            adding = pool.submit(core.add_model, model("b"), PATIENCE_SECS)
            assert handle.servable.use() == "/b/1"
            assert not adding.done()
        adding.result(PATIENCE_SECS)

        assert use(core, "b") == "/b/1"
        assert not store.loaders["/b/1"][0].is_loaded


def test_reloads_run_one_at_a_time() -> None:
    """The second waits for the first, and starts from what that has made."""
    store = FakeStore("a/1", "b/1")
    store.gates["/a/1"] = threading.Event()
    clock = FakeClock()
    with store.core(clock=clock) as core, ThreadPoolExecutor() as pool:
        first = pool.submit(core.add_model, model("a"))
        clock.block_until_waiters(1)
        second = pool.submit(core.add_model, model("b"))
        late = pool.submit(core.add_model, model("c"), 5.0)
        clock.block_until_waiters(3)
        clock.advance(5)
        with pytest.raises(DeadlineExceededError, match="another reload"):
            late.result(PATIENCE_SECS)
        store.gates["/a/1"].set()
        first.result(PATIENCE_SECS)
        second.result(PATIENCE_SECS)
        assert available(core) == ["a/1", "b/1"]


def test_closing_ends_a_reload() -> None:
    """It raises instead of waiting for a load that will never count."""
    store, clock = FakeStore("a/1"), FakeClock()
    store.gates["/a/1"] = threading.Event()
    with ThreadPoolExecutor() as pool:
        core = store.core(clock=clock)
        reloading = pool.submit(core.add_model, model("a"))
        clock.block_until_waiters(1)
        closing = pool.submit(core.close)
        with pytest.raises(AbortedError):
            reloading.result(PATIENCE_SECS)
        store.gates["/a/1"].set()
        closing.result(PATIENCE_SECS)
    assert store.num_loaded == 0


def test_pinned_models_cannot_be_changed() -> None:
    """They are what a job was planned with."""
    with ServerCore(PinnedModels({"a": {1: "/a/1"}}, lambda *_: FakeLoader())) as core:
        for change in (
            lambda: core.reload(config()),
            lambda: core.add_model(model("b")),
            lambda: core.remove_model("a"),
        ):
            with pytest.raises(FailedPreconditionError, match="pinned"):
                change()
        assert _state(core, "a", 1) is ManagerState.AVAILABLE
