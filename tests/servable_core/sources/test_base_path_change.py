"""What a source does when a servable gets another base path: nothing goes dark on the way."""

from dataclasses import replace

import pytest

from servable_core.sources import (
    FileSystemStoragePathSource,
    FileSystemStoragePathSourceOptions,
    LatestVersions,
    SpecificVersions,
    VersionPolicy,
    WatchedServable,
)
from servable_core.testing import FakeClock, FakeFileSystem, RecordingTarget

SETTLE_SECS = 5.0


class _Fixture:
    """A source of the servable `a`, over a store that tells no times of change."""

    def __init__(self, *paths: str, always_present: bool = False) -> None:
        self.files = FakeFileSystem(mtime_secs=0)
        self.clock = FakeClock()
        self.target = RecordingTarget[str]()
        self._options = FileSystemStoragePathSourceOptions(
            poll_interval_secs=None,
            settle_secs=SETTLE_SECS,
            servable_versions_always_present=always_present,
        )
        for path in paths:
            self.files.write(path)
        self.source = FileSystemStoragePathSource(
            self._options, file_system=self.files, clock=self.clock
        )
        self.source.set_target(self.target)

    def watch(self, base_path: str, policy: VersionPolicy | None = None) -> None:
        """Watches another base path; a version in it needs a `graph`."""
        servable = WatchedServable(
            base_path=base_path,
            version_policy=policy or LatestVersions(),
            find_missing=_find_missing,
        )
        self.source.update_options(replace(self._options, servables={"a": servable}))

    def serve(self, base_path: str) -> None:
        """Watches a base path until what is in it has come to rest; forgets the calls."""
        self.watch(base_path)
        self.settle()
        self.target.clear()

    def step(self) -> dict[int, str]:
        self.source.step()
        return self.target.aspired["a"]

    def settle(self) -> dict[int, str]:
        self.source.step()
        self.clock.advance(SETTLE_SECS)
        return self.step()

    def has_gone_dark(self) -> bool:
        return any(not versions for _, versions in self.target.calls)


def _find_missing(files: object) -> str | None:
    return None if isinstance(files, dict) and "graph" in files else "no graph"


def test_a_former_base_path_stays_until_a_version_of_the_new_one_has_come_to_rest() -> None:
    """Its versions are told as before, and the status tells them from those of the new one."""
    fixture = _Fixture("/a/1/graph", "/b/2/graph")
    fixture.serve("/a")
    fixture.watch("/b")

    assert fixture.step() == {1: "/a/1"}
    waiting = fixture.source.statuses()["a"]
    assert (waiting.base_path, waiting.aspired, waiting.kept) == ("/b", (), (1,))
    assert "version 2 is not complete yet" in str(waiting.error)

    fixture.clock.advance(SETTLE_SECS)
    assert fixture.step() == {2: "/b/2"}
    arrived = fixture.source.statuses()["a"]
    assert (arrived.aspired, arrived.kept, arrived.error) == ((2,), (), None)
    assert not fixture.has_gone_dark()


@pytest.mark.parametrize(
    ("path", "policy"),
    [("/b/2/data", LatestVersions()), ("/b/2/graph", SpecificVersions((3,)))],
)
def test_a_former_base_path_stays_while_no_version_of_the_new_one_will_do(
    path: str, policy: VersionPolicy
) -> None:
    """Be it incomplete, or not the one that is asked for; the error is one to see."""
    fixture = _Fixture("/a/1/graph", path)
    fixture.serve("/a")
    fixture.watch("/b", policy)

    assert fixture.settle() == {1: "/a/1"}
    assert not fixture.has_gone_dark()
    assert fixture.source.statuses()["a"].error is not None

    fixture.files.write("/b/3/graph")
    assert fixture.settle() == {3: "/b/3"}


@pytest.mark.parametrize(("always_present", "expected"), [(False, {}), (True, {1: "/a/1"})])
def test_a_new_base_path_without_any_version_takes_over(
    always_present: bool, expected: dict[int, str]
) -> None:
    """It says that nothing is wanted, unless versions must always be present."""
    fixture = _Fixture("/a/1/graph", always_present=always_present)
    fixture.files.make_directory("/b")
    fixture.serve("/a")
    fixture.watch("/b")

    assert fixture.step() == expected


def test_a_new_base_path_that_has_taken_over_is_believed_when_it_is_empty() -> None:
    """Nothing of the former one is left then."""
    fixture = _Fixture("/a/1/graph", "/b/2/graph", "/b/README")
    fixture.serve("/a")
    fixture.serve("/b")
    fixture.files.remove_tree("/b/2")
    fixture.files.write("/b/3/data")

    assert fixture.step() == {}


@pytest.mark.parametrize("has_taken_over", [False, True])
def test_the_way_back_needs_no_time_to_settle(has_taken_over: bool) -> None:
    """What was complete before is so still; a reload that fails ends like this."""
    fixture = _Fixture("/a/1/graph", "/b/2/graph")
    fixture.serve("/a")
    fixture.watch("/b")
    if has_taken_over:
        fixture.settle()
    else:
        fixture.step()

    fixture.watch("/a")

    assert fixture.step() == {1: "/a/1"}
    assert fixture.source.statuses()["a"].kept == ()
    assert not fixture.has_gone_dark()


def test_a_version_that_has_changed_meanwhile_must_come_to_rest_again() -> None:
    """It may be half a copy: nobody looked. What served meanwhile serves on."""
    fixture = _Fixture("/a/1/graph", "/b/2/graph")
    fixture.serve("/a")
    fixture.serve("/b")
    fixture.files.write("/a/1/graph", b"another")

    fixture.watch("/a")

    assert fixture.step() == {2: "/b/2"}
    fixture.clock.advance(SETTLE_SECS)
    assert fixture.step() == {1: "/a/1"}
    assert not fixture.has_gone_dark()


def test_a_version_that_came_meanwhile_must_come_to_rest() -> None:
    """The others need not wait for it."""
    fixture = _Fixture("/a/1/graph", "/b/2/graph")
    fixture.serve("/a")
    fixture.serve("/b")
    fixture.files.write("/a/3/graph")

    fixture.watch("/a")

    assert fixture.step() == {1: "/a/1"}
    fixture.clock.advance(SETTLE_SECS)
    assert fixture.step() == {3: "/a/3"}


def test_only_the_last_few_base_paths_are_remembered() -> None:
    """The way back to another takes time, but is not dark."""
    paths = [f"/{name}" for name in "abcdef"]
    fixture = _Fixture(*(f"{path}/1/graph" for path in paths))
    for path in paths:
        fixture.serve(path)

    fixture.watch("/b")
    assert fixture.step() == {1: "/b/1"}
    fixture.serve("/f")
    fixture.watch("/a")
    assert fixture.step() == {1: "/f/1"}
    fixture.clock.advance(SETTLE_SECS)
    assert fixture.step() == {1: "/a/1"}


def test_several_changes_in_a_row_keep_what_served_first() -> None:
    """Also where one of the base paths is never looked at."""
    fixture = _Fixture("/a/1/graph", "/b/2/graph", "/c/3/graph")
    fixture.serve("/a")

    fixture.watch("/b")
    fixture.watch("/nowhere")
    fixture.source.step()
    fixture.watch("/c")

    assert fixture.step() == {1: "/a/1"}
    fixture.clock.advance(SETTLE_SECS)
    assert fixture.step() == {3: "/c/3"}
    assert not fixture.has_gone_dark()
