"""Tells whoever has subscribed what has happened, on the thread on which it happened."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from typing_extensions import override

from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.closeable import Closeable

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class EventAndTime(Generic[E]):
    """What subscribers receive.

    Attributes:
        event: What was published.
        wall_time_secs: When, in Unix seconds.
    """

    event: E
    wall_time_secs: float


class Subscription(Closeable, Generic[E]):
    """One subscriber's hold on a bus, ended by `close`; thread-safe.

    When `close` returns, the callback is not running any more and will not run again. Called
    from inside its own callback, `close` waits for no call under way: two of them might wait for
    each other.
    """

    def __init__(
        self, callback: Callable[[EventAndTime[E]], None], on_close: Callable[[], None]
    ) -> None:
        self._callback = callback
        self._on_close = on_close
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._is_closed = False  # Guarded by _lock.
        # The thread of each call under way. Guarded by _lock.
        self._calling_threads: list[int] = []

    def deliver(self, event: EventAndTime[E]) -> None:
        """Calls the subscriber, unless the subscription is closed; holds no lock meanwhile."""
        thread = threading.get_ident()
        with self._lock:
            if self._is_closed:
                return
            self._calling_threads.append(thread)
        try:
            self._callback(event)
        finally:
            with self._lock:
                self._calling_threads.remove(thread)
                self._idle.notify_all()

    @override
    def close(self) -> None:
        """Ends the subscription; further calls only wait for a call that is still under way."""
        self._on_close()
        own = threading.get_ident()
        with self._lock:
            self._is_closed = True
            if own in self._calling_threads:
                return
            while self._calling_threads:
                self._idle.wait()


class EventBus(Generic[E]):
    """Passes each event to every subscriber, in the order of subscription; thread-safe.

    Unlike a bus that calls back under one mutex, this one holds no lock while a callback runs:
    a slow callback delays its own publisher only, and callbacks may use the bus. Events that
    are published one after the other arrive in that order; concurrent ones in any order and at
    the same time, so callbacks must be thread-safe. A callback's exception reaches the
    publisher, after all others were told.

    Args:
        clock: Stamps the events.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        # Written under _lock, read without; replaced as a whole.
        self._subscriptions: tuple[Subscription[E], ...] = ()

    def subscribe(self, callback: Callable[[EventAndTime[E]], None]) -> Subscription[E]:
        """Has `callback` told of everything published from now on, until the result is closed."""
        subscription: Subscription[E] = Subscription(callback, lambda: self._remove(subscription))
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)
        return subscription

    def publish(self, event: E) -> None:
        """Stamps `event` with the time and returns when every subscriber was told."""
        subscriptions = self._subscriptions
        if not subscriptions:
            return
        stamped = EventAndTime(event, self._clock.wall_time())
        errors: list[Exception] = []
        for subscription in subscriptions:
            try:
                subscription.deliver(stamped)
            except Exception as error:  # noqa: BLE001 - raised below, when all were told
                errors.append(error)
        if errors:
            raise errors[0]

    def _remove(self, subscription: Subscription[E]) -> None:
        with self._lock:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)
