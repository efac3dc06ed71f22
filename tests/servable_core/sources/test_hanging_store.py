"""What a source does when a store does not answer: all but the servables in it go on."""

import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from typing_extensions import override

from servable_core.runtime.file_system import FileInfo
from servable_core.sources import (
    FileSystemStoragePathSource,
    FileSystemStoragePathSourceOptions,
    WatchedServable,
)
from servable_core.testing import FakeClock, FakeFileSystem, RecordingTarget

_POLL_SECS = 30.0
_MORE_THAN_THREADS = 20


class _HangingStore(FakeFileSystem):
    """Does not answer below `/hung` until it is mended."""

    def __init__(self) -> None:
        super().__init__()
        self.hung, self.mended = threading.Event(), threading.Event()
        self._counter_lock = threading.Lock()
        self._counts: Counter[str] = Counter()  # Guarded by _counter_lock.

    def count(self, directory: str) -> int:
        """Returns how often a directory was listed."""
        with self._counter_lock:
            return self._counts[directory]

    @override
    def list_files(self, directory: str) -> list[FileInfo]:
        with self._counter_lock:
            self._counts[directory] += 1
        if directory.startswith("/hung"):
            self.hung.set()
            try:
                assert self.mended.wait(10)
            finally:
                self.hung.clear()
        return super().list_files(directory)


@pytest.fixture
def store() -> Iterator[_HangingStore]:
    """Mended in the end, so that no thread is left behind."""
    store = _HangingStore()
    yield store
    store.mended.set()


def _options(
    base_paths: dict[str, str], poll_interval_secs: float = _POLL_SECS
) -> FileSystemStoragePathSourceOptions:
    return FileSystemStoragePathSourceOptions(
        servables={name: WatchedServable(base_path=path) for name, path in base_paths.items()},
        poll_interval_secs=poll_interval_secs,
        settle_secs=0,
    )


def _follow(
    store: _HangingStore,
    clock: FakeClock,
    target: RecordingTarget[str],
    options: FileSystemStoragePathSourceOptions,
) -> FileSystemStoragePathSource:
    """Returns a connected source; each of its servables has one version."""
    for servable in options.servables.values():
        store.write(f"{servable.base_path}/1/x")
    source = FileSystemStoragePathSource(options, file_system=store, clock=clock)
    source.set_target(target)
    return source


def test_a_base_path_that_hangs_delays_no_other(store: _HangingStore) -> None:
    """Poll after poll; the one that hangs is not asked again."""
    clock, target = FakeClock(), RecordingTarget[str]()
    options = _options({"a": "/hung", "b": "/b"})

    with _follow(store, clock, target, options) as source:
        for num_polls in range(1, 4):
            target.block_until_calls(num_polls)
            clock.advance(_POLL_SECS)
        target.block_until_calls(4)
        assert not source.statuses()["a"].is_listed

    assert target.aspired == {"b": {1: "/b/1"}}
    assert store.count("/hung") == 1


def test_close_does_not_wait_for_a_listing_and_drops_what_it_finds(store: _HangingStore) -> None:
    """Nothing reaches the target once the source is closed."""
    target = RecordingTarget[str]()
    source = _follow(store, FakeClock(), target, _options({"a": "/hung"}))
    assert store.hung.wait(10)

    source.close()
    assert store.hung.is_set()
    store.mended.set()
    for thread in threading.enumerate():
        if thread.name == "base-path-listing":
            thread.join(10)

    assert target.calls == []


@pytest.mark.parametrize("poll_interval_secs", [0.0, _POLL_SECS])
def test_a_listing_that_comes_late_counts(store: _HangingStore, poll_interval_secs: float) -> None:
    """At once, and without another poll."""
    clock, target = FakeClock(), RecordingTarget[str]()
    options = _options({"a": "/hung", "b": "/b"}, poll_interval_secs)

    with _follow(store, clock, target, options):
        target.block_until_calls(1)
        store.mended.set()
        target.block_until_calls(2)

    assert target.aspired == {"a": {1: "/hung/1"}, "b": {1: "/b/1"}}


def test_many_that_hang_delay_the_others_by_moments_and_once(
    store: _HangingStore, caplog: pytest.LogCaptureFixture
) -> None:
    """More than there are threads: those that hang are given up, and told of."""
    clock, target = FakeClock(), RecordingTarget[str]()
    hung = {f"hung{number}": f"/hung{number}" for number in range(_MORE_THAN_THREADS)}
    options = _options({**hung, "z": "/z"})

    with _follow(store, clock, target, options):
        for _ in range(3):  # as often as those that hang fill all the threads, and once more
            clock.block_until_waiters(1)
            clock.advance(1.0)
        target.block_until_calls(1)
        clock.advance(_POLL_SECS)
        target.block_until_calls(2)

    assert target.aspired == {"z": {1: "/z/1"}}
    assert all(store.count(path) == 1 for path in hung.values())
    assert "listing base path /hung0 of servable 'hung0' takes longer than" in caplog.text


def test_another_base_path_frees_a_servable_from_one_that_hangs(store: _HangingStore) -> None:
    """What comes from the old one is dropped."""
    clock, target = FakeClock(), RecordingTarget[str]()
    store.write("/b/2/x")

    with _follow(store, clock, target, _options({"a": "/hung"})) as source:
        assert store.hung.wait(10)
        source.update_options(_options({"a": "/b"}))
        target.block_until_calls(1)
        store.mended.set()
        clock.advance(_POLL_SECS)
        target.block_until_calls(2)

    assert all(versions[0].unwrap() == "/b/2" for _, versions in target.calls)


def test_a_listing_that_began_before_a_change_is_repeated(store: _HangingStore) -> None:
    """Its servable is watched otherwise by now, and what it saw may be out of date."""
    clock, target = FakeClock(), RecordingTarget[str]()

    with _follow(store, clock, target, _options({"a": "/hung"}, 0.0)) as source:
        assert store.hung.wait(10)
        source.update_options(_options({}, 0.0))
        source.update_options(_options({"a": "/hung"}, 0.0))
        store.mended.set()
        target.block_until_calls(2)

    assert target.aspired == {"a": {1: "/hung/1"}}
    assert store.count("/hung") == 2
