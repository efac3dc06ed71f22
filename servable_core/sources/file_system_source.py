"""The source that watches base paths for versions that appear and vanish.

For versions that never change use `StaticStoragePathSource`.
"""

import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from typing_extensions import override

from servable_core.errors import (
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    ServableCoreError,
    UnavailableError,
)
from servable_core.lifecycle.servable_data import ServableData
from servable_core.lifecycle.source import Source, Target
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.file_system import FileSystem, LocalFileSystem, directory_exists
from servable_core.runtime.periodic_function import PeriodicFunction
from servable_core.sources.base_path_watch import ListingTime
from servable_core.sources.storage_path_versions import VersionDirectory, storage_path_versions
from servable_core.sources.watched_servable import (
    ServableWatch,
    StoragePathStatus,
    WatchedServable,
)

_logger = logging.getLogger(__name__)
_RETRY_SECS = 5.0  # after a target failed, where polls have no interval


def _do_nothing() -> None:
    """Stands for a callback that nobody gave."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSystemStoragePathSourceOptions:
    """What a `FileSystemStoragePathSource` watches, and how often.

    Attributes:
        servables: What to watch, by servable name.
        poll_interval_secs: Time from poll to poll; 0 polls once, None never by itself: then
            `step` does. A version that has yet to come to rest is looked at sooner, and with 0
            again.
        settle_secs: How long a new version must look the same before it is believed complete; 0
            believes the first look.
        servable_versions_always_present: Never unload the last version of a servable because its
            directory is gone.
    """

    servables: Mapping[str, WatchedServable] = field(default_factory=dict)
    poll_interval_secs: float | None = 30.0  # as the server; its binary's flag says 1
    settle_secs: float = 5.0  # longer than the pauses between two files of a copy
    servable_versions_always_present: bool = False

    def __post_init__(self) -> None:
        if self.poll_interval_secs is not None and self.poll_interval_secs < 0:
            raise InvalidArgumentError(
                f"poll_interval_secs must be 0 or more, or None, got {self.poll_interval_secs}"
            )
        if self.settle_secs < 0:
            raise InvalidArgumentError(f"settle_secs must be 0 or more, got {self.settle_secs}")


class FileSystemStoragePathSource(Source[str]):
    """Aspires to the complete versions below each servable's base path; thread-safe.

    Every poll tells the target the full list of every servable. A base path that is missing or
    cannot be listed concerns its own servable alone: what is loaded stays, and `statuses` shows the
    error. A base path without versions unloads them all. Where the store knows no directories, an
    empty base path is a missing one. A version that is overwritten in place is not noticed: give it
    a new number. Polling starts with `set_target`; close the source before its target.

        options = FileSystemStoragePathSourceOptions(
            servables={"ranker": WatchedServable(base_path="/models/ranker")}
        )
        with FileSystemStoragePathSource(options) as source, connect(source, adapter):
            ...

    Args:
        options: What to watch; `update_options` changes it.
        file_system: Lists the base paths.
        on_poll: Called when a base path was polled and the target told, without a lock.
        clock: Times polls, and tells how old files are.
    """

    def __init__(
        self,
        options: FileSystemStoragePathSourceOptions,
        *,
        file_system: FileSystem | None = None,
        on_poll: Callable[[], None] = _do_nothing,
        clock: Clock | None = None,
    ) -> None:
        self._file_system = file_system or LocalFileSystem()
        self._on_poll = on_poll
        self._clock = clock or SystemClock()
        self._listing_numbers = itertools.count()
        self._lock = threading.Lock()
        self._emitted = threading.Condition(self._lock)
        self._options = options  # Guarded by _lock.
        self._watches = {  # Guarded by _lock.
            name: ServableWatch(name=name, servable=servable)
            for name, servable in options.servables.items()
        }
        # Servables of which the target is being told; one call for each at a time.
        self._emitting: set[str] = set()  # Guarded by _lock.
        self._target: Target[str] | None = None  # Guarded by _lock.
        self._poller: PeriodicFunction | None = None  # Guarded by _lock.

    @override
    def set_target(self, target: Target[str]) -> None:
        with self._lock:
            if self._target is not None:
                raise FailedPreconditionError("the source has a target already")
            self._target = target
            interval_secs = self._options.poll_interval_secs
            if interval_secs is not None:
                self._poller = PeriodicFunction(
                    self._poll,
                    name="file-system-source",
                    clock=self._clock,
                    retry_secs=interval_secs or _RETRY_SECS,
                )

    def step(self) -> None:
        """Polls every base path once and tells the target.

        Raises:
            FailedPreconditionError: If there is no target yet.
            Exception: What the target raised first, after all servables were polled.
        """
        target = self._connected_target()
        with self._lock:
            names = list(self._watches)
        _raise_first([self._poll_servable(name, target) for name in names])

    def update_options(self, options: FileSystemStoragePathSourceOptions) -> None:
        """Watches what `options` say from now on.

        Servables left out are unloaded before this returns; new and changed ones follow with the
        next poll, which the polling thread, if there is one, makes at once. Not to be called from
        inside the target.

        Raises:
            InvalidArgumentError: If the poll interval would change; nothing changes then.
            Exception: What the target raised first, after all removed servables had their turn.
        """
        with self._lock:
            old_secs, new_secs = self._options.poll_interval_secs, options.poll_interval_secs
            if new_secs != old_secs:
                raise InvalidArgumentError(
                    f"poll_interval_secs cannot change from {old_secs} to {new_secs} while the source runs: make a new source"
                )
            removed = [name for name in self._watches if name not in options.servables]
            self._options = options
            self._watches = {
                name: self._updated_watch_locked(name, servable)
                for name, servable in options.servables.items()
            }
            target, poller = self._target, self._poller
        if poller is not None:
            poller.wake()
        if target is not None:
            _raise_first([self._emit_removal(name, target) for name in removed])

    def statuses(self) -> dict[str, StoragePathStatus]:
        """Returns what is known of each servable; never waits for a poll."""
        with self._lock:
            watches = dict(self._watches)
        return {name: watch.status for name, watch in watches.items()}

    def close(self) -> None:
        """Ends polling, after a poll that is under way; further calls do nothing.

        The target keeps what it was told last.
        """
        with self._lock:
            poller = self._poller
        if poller is not None:
            poller.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _connected_target(self) -> Target[str]:
        with self._lock:
            if self._target is None:
                raise FailedPreconditionError("the source has no target yet: connect it first")
            return self._target

    def _updated_watch_locked(self, name: str, servable: WatchedServable) -> ServableWatch:
        watch = self._watches.get(name)
        if watch is None:
            return ServableWatch(name=name, servable=servable)
        return watch.updated(servable)

    def _poll(self) -> float | None:
        """Polls; returns when to poll next."""
        start = self._clock.now()
        self.step()
        with self._lock:
            interval_secs = self._options.poll_interval_secs
            times = [start + interval_secs] if interval_secs else []
            for watch in self._watches.values():
                settled = watch.base_path_watch.settled_secs(self._options.settle_secs)
                times.extend([] if settled is None else [settled])
        return min(times, default=None)

    def _poll_servable(self, name: str, target: Target[str]) -> Exception | None:
        """Polls one base path; returns what the target raised."""
        with self._lock:
            polled = self._watches.get(name)
            number = next(self._listing_numbers)
        if polled is None:
            return None
        time = ListingTime(now=self._clock.now(), wall_time=self._clock.wall_time())
        outcome = self._list(name, polled.servable.base_path)
        with self._turn(name):
            versions = self._apply(polled, outcome, time, number)
            error = None if versions is None else _tell(target, name, versions)
        self._on_poll()
        return error

    def _list(self, name: str, base_path: str) -> dict[int, VersionDirectory] | Exception:
        """Lists a base path; without the lock, since storage may be slow."""
        try:
            files = self._file_system.list_files(base_path)
            if not files and not directory_exists(self._file_system, base_path):
                return NotFoundError(
                    f"base path {base_path} of servable {name!r} does not exist, or holds no files; expected directories like {base_path}/1 in it"
                )
            return storage_path_versions(base_path, files)
        except ServableCoreError as error:
            return error
        except Exception as error:  # noqa: BLE001 - of any storage; it concerns this servable only
            return UnavailableError(
                f"base path {base_path} of servable {name!r} cannot be listed: {error}"
            )

    def _apply(
        self,
        polled: ServableWatch,
        outcome: dict[int, VersionDirectory] | Exception,
        time: ListingTime,
        number: int,
    ) -> Sequence[ServableData[str]] | None:
        """Stores what a listing says; returns what to tell the target, or None for nothing."""
        with self._lock:
            watch, options = self._watches.get(polled.name), self._options
        if watch is None or watch.servable != polled.servable or number < watch.listing_number:
            return None  # the listing is stale: a newer one is in, or another is wanted
        updated = _updated_watch(watch, outcome, time, number, options)
        with self._lock:
            if self._watches.get(polled.name) is not watch:
                return None  # other options came meanwhile
            self._watches[polled.name] = updated
        if updated.error is not None and str(updated.error) != str(watch.error):
            _logger.warning("%s", updated.error)
        return None if updated.is_failed else updated.aspired_versions()

    def _emit_removal(self, name: str, target: Target[str]) -> Exception | None:
        with self._turn(name):
            with self._lock:
                is_back = name in self._watches
            return None if is_back else _tell(target, name, [])

    @contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        """Keeps calls of the target for one servable apart, so that the last word is the newest."""
        with self._lock:
            while name in self._emitting:
                self._emitted.wait()
            self._emitting.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._emitting.discard(name)
                self._emitted.notify_all()


def _tell(
    target: Target[str], name: str, versions: Sequence[ServableData[str]]
) -> Exception | None:
    """Tells the target; returns what it raised, for later, so that no other servable misses out."""
    try:
        target.set_aspired_versions(name, versions)
    except Exception as error:  # noqa: BLE001 - raised when all servables have had their turn
        return error
    return None


def _raise_first(errors: Sequence[Exception | None]) -> None:
    for error in errors:
        if error is not None:
            raise error


def _updated_watch(
    watch: ServableWatch,
    outcome: dict[int, VersionDirectory] | Exception,
    time: ListingTime,
    number: int,
    options: FileSystemStoragePathSourceOptions,
) -> ServableWatch:
    if isinstance(outcome, Exception):
        return watch.failed(outcome, number)
    try:
        return watch.listed(
            outcome,
            time,
            number,
            settle_secs=options.settle_secs,
            always_present=options.servable_versions_always_present,
        )
    except Exception as error:  # noqa: BLE001 - find_missing is not ours
        message = f"versions of servable {watch.name!r} cannot be checked: {error!r}"
        return watch.failed(InternalError(message), number)
