"""The source that watches base paths, over a file system in memory and a clock that stands still."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from typing_extensions import override

from servable_core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from servable_core.lifecycle import ServableData, ServableId, connect
from servable_core.runtime.file_system import FileInfo
from servable_core.sources import (
    AllVersions,
    FileSystemStoragePathSource,
    FileSystemStoragePathSourceOptions,
    LatestVersions,
    SpecificVersions,
    VersionPolicy,
    WatchedServable,
)
from servable_core.testing import FakeClock, FakeFileSystem, RecordingTarget

SETTLE_SECS = 5.0


def _options(
    *,
    policy: VersionPolicy | None = None,
    always_present: bool = False,
    poll_interval_secs: float | None = None,
    **base_paths: str,
) -> FileSystemStoragePathSourceOptions:
    return FileSystemStoragePathSourceOptions(
        servables={
            name: WatchedServable(base_path=path, version_policy=policy or LatestVersions())
            for name, path in (base_paths or {"a": "/a"}).items()
        },
        poll_interval_secs=poll_interval_secs,
        settle_secs=SETTLE_SECS,
        servable_versions_always_present=always_present,
    )


class _Fixture:
    """A source that polls only in `step`, with all that is around it."""

    def __init__(
        self,
        options: FileSystemStoragePathSourceOptions,
        *paths: str,
        files: FakeFileSystem | None = None,
    ) -> None:
        self.files = files or FakeFileSystem()
        self.clock = FakeClock()
        self.target = RecordingTarget[str]()
        for path in paths:
            self.files.write(path)
        self.source = FileSystemStoragePathSource(options, file_system=self.files, clock=self.clock)
        self.source.set_target(self.target)

    def step(self) -> dict[str, dict[int, str]]:
        self.source.step()
        return self.target.aspired

    def settle(self) -> dict[str, dict[int, str]]:
        self.source.step()
        self.clock.advance(SETTLE_SECS)
        return self.step()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, {10: "/a/10"}),
        (LatestVersions(2), {9: "/a/9", 10: "/a/10"}),
        (LatestVersions(7), {1: "/a/1", 9: "/a/9", 10: "/a/10"}),
        (AllVersions(), {1: "/a/1", 9: "/a/9", 10: "/a/10"}),
        (SpecificVersions((9, 1)), {1: "/a/1", 9: "/a/9"}),
    ],
)
def test_the_policy_picks_among_the_versions_present(
    policy: VersionPolicy | None, expected: dict[int, str]
) -> None:
    """Compared as numbers, one full list, ascending; the default is the latest version."""
    fixture = _Fixture(_options(policy=policy), "/a/1/x", "/a/10/x", "/a/9/x", "/a/README")

    assert fixture.step() == {"a": expected}
    assert len(fixture.target.calls) == 1


@pytest.mark.parametrize("name", ["20170111173521", "9223372036854775807"])
def test_time_stamps_are_versions(name: str) -> None:
    """Up to the largest number that a version may have."""
    fixture = _Fixture(_options(), f"/a/{name}/x", "/a/7/x")

    assert fixture.step() == {"a": {int(name): f"/a/{name}"}}


def test_leading_zeros_are_understood_also_for_specific_versions() -> None:
    """The directory keeps its spelling."""
    fixture = _Fixture(_options(policy=SpecificVersions((42,))), "/a/00000042/x")

    assert fixture.step() == {"a": {42: "/a/00000042"}}


def test_two_spellings_of_a_version_are_emitted_once() -> None:
    """A target never gets the same id twice in a list."""
    fixture = _Fixture(_options(policy=AllVersions()), "/a/001/x", "/a/1/x")

    assert fixture.step() == {"a": {1: "/a/1"}}


def test_a_base_path_without_versions_is_an_empty_list_and_an_error_to_see() -> None:
    """The message says how version directories are named."""
    fixture = _Fixture(_options(), "/a/latest/x")

    assert fixture.step() == {"a": {}}
    error = fixture.source.statuses()["a"].error
    assert isinstance(error, NotFoundError)
    assert "as a number, as in '1/'" in str(error)


def test_an_empty_directory_has_no_versions() -> None:
    """Where directories exist by themselves, that is told from a missing one."""
    files = FakeFileSystem()
    files.make_directory("/a")

    assert _Fixture(_options(), files=files).step() == {"a": {}}


def test_versions_that_appear_are_aspired_once_they_have_come_to_rest() -> None:
    """Until then the older version stays."""
    fixture = _Fixture(_options(), "/a/1/x")
    fixture.step()
    fixture.files.write("/a/2/x")

    assert fixture.step() == {"a": {1: "/a/1"}}
    assert list(fixture.source.statuses()["a"].pending) == [2]
    fixture.clock.advance(SETTLE_SECS)
    assert fixture.step() == {"a": {2: "/a/2"}}
    assert fixture.source.statuses()["a"].pending == {}


def test_a_half_copied_version_is_never_aspired() -> None:
    """Neither for what it lacks nor while it changes; the status says why."""
    servable = WatchedServable(
        base_path="/a", find_missing=lambda files: None if "graph" in files else "no graph"
    )
    fixture = _Fixture(replace(_options(), servables={"a": servable}), "/a/1/graph")
    fixture.step()

    fixture.files.write("/a/2/data")
    assert fixture.settle() == {"a": {1: "/a/1"}}
    assert fixture.source.statuses()["a"].pending == {2: "no graph"}
    fixture.files.write("/a/2/graph.tmp")
    assert fixture.settle() == {"a": {1: "/a/1"}}
    fixture.files.rename("/a/2/graph.tmp", "/a/2/graph")
    assert fixture.settle() == {"a": {2: "/a/2"}}


@pytest.mark.parametrize("policy", [LatestVersions(), SpecificVersions((2,))])
def test_the_error_of_a_servable_says_what_its_versions_lack(policy: VersionPolicy) -> None:
    """Whoever waits for it sees nothing else."""
    servable = WatchedServable(
        base_path="/a", version_policy=policy, find_missing=lambda _files: "no graph"
    )
    fixture = _Fixture(replace(_options(), servables={"a": servable}), "/a/2/data")
    fixture.step()

    assert "version 2 is not complete yet: no graph" in str(fixture.source.statuses()["a"].error)


def test_a_renamed_version_directory_is_no_version() -> None:
    """Operators take a version back by renaming its directory."""
    fixture = _Fixture(_options(), "/a/1/x", "/a/2/x")
    fixture.step()

    fixture.files.rename("/a/2", "/a/2.denied")

    assert fixture.step() == {"a": {1: "/a/1"}}


def test_an_overwritten_version_is_not_noticed() -> None:
    """It stays aspired, and so loaded."""
    fixture = _Fixture(_options(), "/a/1/x")
    fixture.step()

    fixture.files.write("/a/1/x", b"another", mtime_secs=fixture.clock.wall_time())

    assert fixture.step() == {"a": {1: "/a/1"}}


@pytest.mark.parametrize(("always_present", "expected"), [(True, {2: "/a/2"}), (False, {})])
def test_the_last_version_is_kept_on_request(
    always_present: bool, expected: dict[int, str]
) -> None:
    """Other versions still come and go, and the refusal is an error to see."""
    fixture = _Fixture(_options(always_present=always_present), "/a/1/x", "/a/2/x")
    fixture.step()
    fixture.files.remove_tree("/a/1")
    fixture.files.remove_tree("/a/2")
    fixture.files.make_directory("/a")

    assert fixture.step() == {"a": expected}
    error = fixture.source.statuses()["a"].error
    assert ("refusing to unload version 2" in str(error)) == always_present


def test_specific_versions_that_are_missing_are_named_and_the_others_served() -> None:
    """They follow when they appear."""
    fixture = _Fixture(_options(policy=SpecificVersions((1, 2, 3))), "/a/1/x", "/a/9/x")

    assert fixture.step() == {"a": {1: "/a/1"}}
    message = str(fixture.source.statuses()["a"].error)
    assert "servable 'a' below /a: version 2, 3 not found; versions present: 1, 9" in message

    fixture.files.write("/a/2/x")
    fixture.files.write("/a/3/x")
    assert fixture.settle() == {"a": {1: "/a/1", 2: "/a/2", 3: "/a/3"}}
    assert fixture.source.statuses()["a"].error is None


def test_a_missing_base_path_concerns_its_own_servable_only() -> None:
    """Nothing is emitted for it, the others are served, and the status names the path."""
    fixture = _Fixture(_options(a="/a", b="/nowhere", c="/c"), "/a/1/x", "/c/1/x")

    assert fixture.step() == {"a": {1: "/a/1"}, "c": {1: "/c/1"}}
    statuses = fixture.source.statuses()
    assert statuses["a"].error is None
    assert "base path /nowhere of servable 'b' does not exist" in str(statuses["b"].error)
    assert statuses["b"].aspired == ()


def test_what_is_loaded_stays_when_its_base_path_goes_or_fails() -> None:
    """An outage of the storage is no order to unload; the error passes when it does."""
    fixture = _Fixture(_options(), "/a/1/x")
    fixture.step()
    fixture.target.clear()

    fixture.files.rename("/a", "/b")
    fixture.step()
    missing = fixture.source.statuses()["a"]
    fixture.files.rename("/b", "/a")
    fixture.files.fail_listing("/a", OSError("stale handle"))
    fixture.step()
    failing = fixture.source.statuses()["a"]
    assert fixture.target.calls == []
    fixture.files.fail_listing("/a", None)

    assert fixture.step() == {"a": {1: "/a/1"}}
    assert missing.aspired == failing.aspired == (1,)
    assert "does not exist" in str(missing.error)
    assert "cannot be listed: stale handle" in str(failing.error)
    assert fixture.source.statuses()["a"].error is None


def test_a_check_that_fails_concerns_its_own_servable_only() -> None:
    """A custom platform's mistake does not stop the others."""

    def find_missing(files: object) -> str | None:
        raise KeyError("graph")

    options = _options(a="/a", b="/b")
    broken = WatchedServable(base_path="/a", find_missing=find_missing)
    options = replace(options, servables={**options.servables, "a": broken})
    fixture = _Fixture(options, "/a/1/x", "/b/1/x")

    assert fixture.step() == {"b": {1: "/b/1"}}
    assert "KeyError('graph')" in str(fixture.source.statuses()["a"].error)


def test_an_error_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Not with every poll."""
    fixture = _Fixture(_options(a="/nowhere"))

    fixture.step()
    fixture.step()

    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_servables_left_out_of_new_options_are_unloaded_at_once() -> None:
    """Without a poll; new ones follow with the next, and those that stay are not touched."""
    fixture = _Fixture(_options(a="/a", b="/b"), "/a/1/x", "/b/1/x", "/c/1/x")
    fixture.step()
    fixture.target.clear()

    fixture.source.update_options(_options(b="/b", c="/c"))
    assert fixture.target.calls == [("a", [])]

    assert fixture.step() == {"a": {}, "b": {1: "/b/1"}, "c": {1: "/c/1"}}
    assert list(fixture.source.statuses()) == ["b", "c"]


def test_a_new_policy_takes_effect_with_the_next_poll() -> None:
    """What was complete need not come to rest again."""
    fixture = _Fixture(_options(), "/a/1/x", "/a/2/x")
    fixture.step()

    fixture.source.update_options(_options(policy=AllVersions()))
    assert len(fixture.target.calls) == 1

    assert fixture.step() == {"a": {1: "/a/1", 2: "/a/2"}}


@pytest.mark.parametrize("always_present", [False, True])
def test_a_new_base_path_that_is_missing_keeps_what_is_loaded(always_present: bool) -> None:
    """And replaces it once there is something."""
    fixture = _Fixture(_options(always_present=always_present), "/a/1/x")
    fixture.step()

    fixture.source.update_options(_options(a="/b", always_present=always_present))
    assert fixture.step() == {"a": {1: "/a/1"}}
    fixture.files.write("/b/2/x")

    assert fixture.settle() == {"a": {2: "/b/2"}}


def test_the_poll_interval_cannot_change() -> None:
    """Nothing else changes either then."""
    fixture = _Fixture(_options(), "/a/1/x")

    with pytest.raises(InvalidArgumentError, match="cannot change from None to 1"):
        fixture.source.update_options(_options(b="/b", poll_interval_secs=1))

    assert list(fixture.source.statuses()) == ["a"]


def test_a_target_that_fails_for_one_servable_is_told_of_the_others() -> None:
    """And its error reaches the one who polls."""

    class BrokenTarget(RecordingTarget[str]):
        @override
        def set_aspired_versions(
            self, servable_name: str, versions: Sequence[ServableData[str]]
        ) -> None:
            super().set_aspired_versions(servable_name, versions)
            if servable_name == "a":
                raise KeyError(servable_name)

    fixture, target = _Fixture(_options(a="/a", b="/b"), "/a/1/x", "/b/1/x"), BrokenTarget()
    source = FileSystemStoragePathSource(_options(a="/a", b="/b"), file_system=fixture.files)
    source.set_target(target)

    with pytest.raises(KeyError):
        source.step()
    with pytest.raises(KeyError):
        source.update_options(_options(c="/c"))

    assert target.aspired == {"a": {}, "b": {}}


class _SlowTarget(RecordingTarget[str]):
    """Holds its first call until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.leave = threading.Event(), threading.Event()

    @override
    def set_aspired_versions(
        self, servable_name: str, versions: Sequence[ServableData[str]]
    ) -> None:
        if not self.entered.is_set():
            self.entered.set()
            assert self.leave.wait(10)
        super().set_aspired_versions(servable_name, versions)


def test_a_removal_waits_for_the_call_about_the_same_servable() -> None:
    """The target hears of the removal last, and `statuses` never waits."""
    files, target = FakeFileSystem(), _SlowTarget()
    files.write("/a/1/x")
    source = FileSystemStoragePathSource(_options(), file_system=files)
    source.set_target(target)

    with ThreadPoolExecutor() as pool:
        polling = pool.submit(source.step)
        assert target.entered.wait(10)
        removing = pool.submit(source.update_options, _options(b="/b"))
        source.statuses()
        target.leave.set()
        polling.result(10)
        removing.result(10)

    assert target.calls == [("a", [ServableData.of(ServableId("a", 1), "/a/1")]), ("a", [])]


def test_what_comes_back_before_its_removal_is_told_is_not_removed() -> None:
    """The newest options count, not those that began to be told first."""
    target = _SlowTarget()
    source = FileSystemStoragePathSource(_options(a="/a", b="/b"), file_system=FakeFileSystem())
    source.set_target(target)

    with ThreadPoolExecutor() as pool:
        removing = pool.submit(source.update_options, _options(c="/c"))
        assert target.entered.wait(10)
        source.update_options(_options(b="/b"))
        target.leave.set()
        removing.result(10)

    assert ("b", []) not in target.calls


def test_options_that_change_while_versions_are_checked_are_in_force() -> None:
    """What was found under the former ones is dropped."""

    def find_missing(_files: object) -> None:
        fixture.source.update_options(_options(a="/b"))

    servable = WatchedServable(base_path="/a", find_missing=find_missing)
    options = replace(_options(), servables={"a": servable}, settle_secs=0.0)
    fixture = _Fixture(options, "/a/1/x", "/b/2/x")
    fixture.step()

    assert fixture.source.statuses()["a"].base_path == "/b"
    assert fixture.target.calls == []
    assert fixture.settle() == {"a": {2: "/b/2"}}


class _SlowListing(FakeFileSystem):
    """Holds a listing of `/slow` until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.leave = threading.Event(), threading.Event()

    @override
    def list_files(self, directory: str) -> list[FileInfo]:
        listing = super().list_files(directory)
        if directory == "/slow":
            self.entered.set()
            assert self.leave.wait(10)
        return listing


def test_options_change_while_a_listing_hangs() -> None:
    """The listing that comes in late is dropped: nobody wants it any more."""
    files, target = _SlowListing(), RecordingTarget[str]()
    files.write("/slow/1/x")
    source = FileSystemStoragePathSource(_options(a="/slow"), file_system=files)
    source.set_target(target)

    with ThreadPoolExecutor() as pool:
        polling = pool.submit(source.step)
        assert files.entered.wait(10)
        source.update_options(_options(b="/b"))
        assert list(source.statuses()) == ["b"]
        files.leave.set()
        polling.result(10)

    assert target.calls == [("a", [])]


def test_a_listing_that_is_overtaken_is_dropped() -> None:
    """Of two polls at a time the one that began last has the last word."""
    files, target = _SlowListing(), RecordingTarget[str]()
    files.write("/slow/1/x")
    source = FileSystemStoragePathSource(
        replace(_options(a="/slow"), settle_secs=0), file_system=files
    )
    source.set_target(target)

    with ThreadPoolExecutor() as pool:
        polling = pool.submit(source.step)
        assert files.entered.wait(10)
        overtaking = FakeFileSystem.list_files
        files.write("/slow/2/x")
        files.list_files = lambda directory: overtaking(files, directory)  # type: ignore[method-assign]
        source.step()
        files.leave.set()
        polling.result(10)

    assert target.aspired == {"a": {2: "/slow/2"}}
    assert len(target.calls) == 1


def test_it_polls_by_itself_at_every_interval_from_the_first_connection() -> None:
    """And no more once it is closed."""
    files, clock, target = FakeFileSystem(), FakeClock(), RecordingTarget[str]()
    files.write("/a/1/x")
    options = _options(poll_interval_secs=30)

    with (
        FileSystemStoragePathSource(options, file_system=files, clock=clock) as source,
        connect(source, target),
    ):
        target.block_until_calls(1)
        clock.advance(29)
        assert len(target.calls) == 1
        clock.advance(1)
        target.block_until_calls(2)
        assert files.num_listings == 2
    clock.advance(30)

    assert len(target.calls) == 2


def test_it_looks_sooner_at_what_has_yet_to_come_to_rest() -> None:
    """Up to date after the settle time, not only after the interval."""
    files, clock, target = FakeFileSystem(mtime_secs=0), FakeClock(), RecordingTarget[str]()
    files.write("/a/1/x")
    options = _options(poll_interval_secs=300)

    with FileSystemStoragePathSource(options, file_system=files, clock=clock) as source:
        source.set_target(target)
        target.block_until_calls(1)
        clock.advance(SETTLE_SECS)
        target.block_until_calls(2)

    assert target.aspired == {"a": {1: "/a/1"}}


def test_interval_zero_polls_once() -> None:
    """Then only when the options change, or to see a version come to rest."""
    files, clock, target = FakeFileSystem(), FakeClock(), RecordingTarget[str]()
    files.write("/a/1/x")
    files.write("/b/1/x", mtime_secs=0)

    with FileSystemStoragePathSource(
        _options(poll_interval_secs=0), file_system=files, clock=clock
    ) as source:
        source.set_target(target)
        target.block_until_calls(1)
        clock.advance(1000)
        assert len(target.calls) == 1

        source.update_options(_options(b="/b", poll_interval_secs=0))
        target.block_until_calls(3)
        clock.advance(SETTLE_SECS)
        target.block_until_calls(4)

    assert target.aspired == {"a": {}, "b": {1: "/b/1"}}


def test_a_failing_target_does_not_end_the_polling(caplog: pytest.LogCaptureFixture) -> None:
    """It is tried again after the interval."""
    files, clock = FakeFileSystem(), FakeClock()
    files.write("/a/1/x")

    class FailingOnce(RecordingTarget[str]):
        @override
        def set_aspired_versions(
            self, servable_name: str, versions: Sequence[ServableData[str]]
        ) -> None:
            super().set_aspired_versions(servable_name, versions)
            if len(self.calls) == 1:
                raise OSError("broken")

    target = FailingOnce()
    with FileSystemStoragePathSource(
        _options(poll_interval_secs=30), file_system=files, clock=clock
    ) as source:
        source.set_target(target)
        target.block_until_calls(1)
        clock.advance(30)
        target.block_until_calls(2)

    assert "the target failed for servable 'a'; it will be told again" in caplog.text


def test_it_takes_one_target_and_needs_it() -> None:
    """A poll without anybody to tell is a mistake."""
    source = FileSystemStoragePathSource(_options())
    with pytest.raises(FailedPreconditionError, match="connect it first"):
        source.step()
    source.set_target(RecordingTarget())

    with pytest.raises(FailedPreconditionError, match="already"):
        source.set_target(RecordingTarget())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"poll_interval_secs": -1}, "poll_interval_secs must be 0 or more, or None, got -1"),
        ({"settle_secs": -1}, "settle_secs must be 0 or more, got -1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, float], message: str) -> None:
    """With the value."""
    with pytest.raises(InvalidArgumentError, match=message):
        FileSystemStoragePathSourceOptions(**options)
    with pytest.raises(InvalidArgumentError, match="base_path must be a directory or a URI"):
        WatchedServable(base_path="")


def test_local_directories_are_watched(tmp_path: Path) -> None:
    """Real files, real times."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "x").write_bytes(b"x")
    options = replace(_options(a=str(tmp_path)), settle_secs=0)
    source, target = FileSystemStoragePathSource(options), RecordingTarget[str]()
    source.set_target(target)

    source.step()

    assert target.aspired == {"a": {1: f"{tmp_path}/1"}}
