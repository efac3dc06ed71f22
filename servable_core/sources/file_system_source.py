"""The source that watches base paths for versions that appear and vanish.

For versions that never change use `StaticStoragePathSource`.
"""

import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from typing_extensions import override

from servable_core.errors import FailedPreconditionError, InvalidArgumentError
from servable_core.lifecycle.servable_data import ServableData
from servable_core.lifecycle.source import Source, Target
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.closeable import Closeable
from servable_core.runtime.file_system import FileSystem, LocalFileSystem
from servable_core.sources.base_path_listing import BasePathListing, list_base_path
from servable_core.sources.base_path_poller import BasePathPoller
from servable_core.sources.watched_servable import (
    ServableWatch,
    StoragePathStatus,
    WatchedServable,
)

_logger = logging.getLogger(__name__)


def _do_nothing(_servable_name: str) -> None:
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


class FileSystemStoragePathSource(Source[str], Closeable):
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
        on_poll: Called with a servable's name when its base path was polled and the target told,
            without a lock.
        clock: Times polls, and tells how old files are.
    """

    def __init__(
        self,
        options: FileSystemStoragePathSourceOptions,
        *,
        file_system: FileSystem | None = None,
        on_poll: Callable[[str], None] = _do_nothing,
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
        self._poller: BasePathPoller | None = None  # Guarded by _lock.

    @override
    def set_target(self, target: Target[str]) -> None:
        with self._lock:
            if self._target is not None:
                raise FailedPreconditionError("the source has a target already")
            self._target = target
            interval_secs = self._options.poll_interval_secs
            if interval_secs is not None:
                self._poller = BasePathPoller(
                    watches=self._current_watches,
                    list_versions=self._list,
                    take=partial(self._take, target),
                    interval_secs=interval_secs,
                    clock=self._clock,
                )

    def step(self) -> None:
        """Polls every base path once, on this thread, and tells the target.

        It takes as long as the stores do: here one that hangs delays what comes after it.

        Raises:
            FailedPreconditionError: If there is no target yet.
            Exception: What the target raised first, after all servables were polled.
        """
        target = self._connected_target()
        watches = self._current_watches()
        _raise_first([self._take(target, self._list(watch)) for watch in watches])

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
            number = next(self._listing_numbers)
            self._watches = {
                name: self._updated_watch_locked(name, servable, number)
                for name, servable in options.servables.items()
            }
            target, poller = self._target, self._poller
        if poller is not None:
            poller.poll()
        if target is not None:
            _raise_first([self._emit_removal(name, target) for name in removed])

    def statuses(self) -> dict[str, StoragePathStatus]:
        """Returns what is known of each servable; never waits for a poll."""
        return {watch.name: watch.status for watch in self._current_watches()}

    def status(self, servable_name: str) -> StoragePathStatus | None:
        """Returns what is known of one servable; None if it is not watched. Never waits."""
        with self._lock:
            watch = self._watches.get(servable_name)
        return None if watch is None else watch.status

    @property
    def rest_secs(self) -> float | None:
        """The monotonic time at which a poll may find a version at rest; None if none is settling."""
        times = (watch.base_path_watch.rest_secs for watch in self._current_watches())
        return min((secs for secs in times if secs is not None), default=None)

    @override
    def close(self) -> None:
        """Ends polling, after a call of the target that is under way; further calls do nothing.

        The target keeps what it was told last. What a listing under way finds is dropped.
        """
        with self._lock:
            poller = self._poller
        if poller is not None:
            poller.close()

    def _connected_target(self) -> Target[str]:
        with self._lock:
            if self._target is None:
                raise FailedPreconditionError("the source has no target yet: connect it first")
            return self._target

    def _current_watches(self) -> list[ServableWatch]:
        with self._lock:
            return list(self._watches.values())

    def _updated_watch_locked(
        self, name: str, servable: WatchedServable, number: int
    ) -> ServableWatch:
        watch = self._watches.get(name)
        if watch is None:
            return ServableWatch(name=name, servable=servable, listing_number=number)
        return watch.updated(servable, number)

    def _list(self, polled: ServableWatch) -> BasePathListing:
        with self._lock:
            number = next(self._listing_numbers)
        return list_base_path(polled, number, self._file_system, self._clock)

    def _take(self, target: Target[str], listing: BasePathListing) -> Exception | None:
        """Tells the target what a listing means; returns what the target raised."""
        name = listing.polled.name
        with self._turn(name):
            versions = self._apply(listing)
            error = None if versions is None else _tell(target, name, versions)
        self._on_poll(name)
        return error

    def _apply(self, listing: BasePathListing) -> Sequence[ServableData[str]] | None:
        """Stores what a listing says; returns what to tell the target, or None for nothing."""
        name = listing.polled.name
        with self._lock:
            watch, options = self._watches.get(name), self._options
        if watch is None or listing.is_stale(watch):
            return None
        updated = listing.apply(
            watch,
            settle_secs=options.settle_secs,
            always_present=options.servable_versions_always_present,
        )
        with self._lock:
            if self._watches.get(name) is not watch:
                return None  # other options came meanwhile
            self._watches[name] = updated
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
