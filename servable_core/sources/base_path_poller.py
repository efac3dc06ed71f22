"""Polls base paths by itself, so that one that hangs delays its own servable alone."""

import logging
import queue
import threading
from collections.abc import Callable, Collection
from functools import partial

from servable_core.runtime.clock import Clock
from servable_core.runtime.periodic_function import PeriodicFunction
from servable_core.sources.base_path_listing import BasePathListing
from servable_core.sources.listing_threads import ListingThreads, StoreCall
from servable_core.sources.watched_servable import ServableWatch

_logger = logging.getLogger(__name__)
_MAX_NUM_THREADS = 8  # what one slow store answers at a time without harm
_PATIENCE_SECS = 1.0  # too short costs a thread, too long keeps the others waiting
_RETRY_SECS = 5.0  # after a target failed, where polls have no interval


class BasePathPoller:
    """Has every base path listed at once, then at each interval; thread-safe.

    A servable that is watched otherwise than before is looked at without waiting for the interval,
    and so is a version as soon as it may have come to rest. One thread decides and takes what
    comes in; others, which end when there is nothing to do, do the listing. A base path that is
    still being listed is not listed again.

    Args:
        watches: Returns what to poll, and what is known of it.
        list_versions: Looks at a base path; called on many threads, and may hang.
        take: Takes what was found, one listing at a time; returns the error of who was told of it.
        interval_secs: Time from poll to poll; 0 polls once.
        clock: Times all of it.
    """

    def __init__(
        self,
        *,
        watches: Callable[[], Collection[ServableWatch]],
        list_versions: Callable[[ServableWatch], BasePathListing],
        take: Callable[[BasePathListing], Exception | None],
        interval_secs: float,
        clock: Clock,
    ) -> None:
        self._watches = watches
        self._list_versions = list_versions
        self._take = take
        self._interval_secs = interval_secs
        self._clock = clock
        self._threads = ListingThreads(
            max_num_threads=_MAX_NUM_THREADS,
            patience_secs=_PATIENCE_SECS,
            clock=clock,
            name="base-path-listing",
        )
        self._arrived: queue.SimpleQueue[BasePathListing] = queue.SimpleQueue()
        # The next two belong to the deciding thread.
        self._listed: set[tuple[str, str]] = set()  # begun, and not taken yet
        self._poll_secs: float | None = None  # when to poll all next
        self._lock = threading.Lock()
        self._is_poll_wanted = True  # Guarded by _lock.
        # Begins at once, and needs the lock to see what is written here.
        with self._lock:
            self._loop = PeriodicFunction(  # Guarded by _lock.
                self._step, name="file-system-source", clock=clock, retry_secs=_RETRY_SECS
            )

    def poll(self) -> None:
        """Has all polled now; returns at once."""
        with self._lock:
            self._is_poll_wanted = True
        self._wake()

    def close(self) -> None:
        """Ends polling, after a call of `take` that is under way; further calls do nothing.

        A listing that hangs is not waited for; what it finds is dropped.
        """
        with self._lock:
            loop = self._loop
        loop.close()
        self._threads.close()

    def _wake(self) -> None:
        with self._lock:
            loop = self._loop
        loop.wake()

    def _step(self) -> float | None:
        """Does what is due; returns when something is due next."""
        self._take_arrived()
        times = [_look_secs(watch) for watch in self._begin_listings()]
        times += [self._poll_secs, self._threads.pass_over_hung()]
        return min((time for time in times if time is not None), default=None)

    def _take_arrived(self) -> None:
        while not self._arrived.empty():
            listing = self._arrived.get()
            self._listed.discard(_key(listing.polled))
            error = self._take(listing)
            if error is not None:
                _logger.error(
                    "the target failed for servable %r; it will be told again",
                    listing.polled.name,
                    exc_info=error,
                )
                self._poll_secs = self._poll_secs or self._clock.now() + _RETRY_SECS

    def _begin_listings(self) -> list[ServableWatch]:
        """Begins the listings that are due; returns what may be listed and is not due yet."""
        now = self._clock.now()
        is_poll = self._begin_poll(now)
        idle = [watch for watch in self._watches() if _key(watch) not in self._listed]
        due = [watch for watch in idle if is_poll or _is_due(_look_secs(watch), now)]
        self._listed.update(map(_key, due))
        self._threads.submit(
            StoreCall(
                description=f"listing base path {watch.servable.base_path} of servable {watch.name!r}",
                run=partial(self._list, watch),
            )
            for watch in due
        )
        return [watch for watch in idle if _key(watch) not in self._listed]

    def _begin_poll(self, now: float) -> bool:
        """Returns whether all are to be polled now; then the interval begins."""
        with self._lock:
            is_poll = self._is_poll_wanted or _is_due(self._poll_secs, now)
            self._is_poll_wanted = False
        if is_poll:
            self._poll_secs = now + self._interval_secs if self._interval_secs else None
        return is_poll

    def _list(self, watch: ServableWatch) -> None:
        self._arrived.put(self._list_versions(watch))
        self._wake()


def _key(watch: ServableWatch) -> tuple[str, str]:
    # Under a new base path a servable does not wait for the old one, which may hang.
    return watch.name, watch.servable.base_path


def _look_secs(watch: ServableWatch) -> float | None:
    """Returns when a servable wants to be looked at, whatever the interval."""
    return watch.base_path_watch.rest_secs if watch.is_listed else 0.0


def _is_due(secs: float | None, now: float) -> bool:
    return secs is not None and secs <= now
