"""Threads for calls of a store, some of which may hang."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from servable_core.runtime.clock import Clock
from servable_core.runtime.executor import start_thread

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreCall:
    """A call that may hang.

    Attributes:
        description: What it does, for the log.
        run: Does it; must not raise.
    """

    description: str
    run: Callable[[], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """A call that a thread is in, and the time at which it began."""

    call: StoreCall
    since_secs: float


class ListingThreads:
    """Runs calls, first come, first served, a few at a time; thread-safe.

    A call that takes longer than `patience_secs` is left to a thread of its own and does not count
    any more, so it keeps no other waiting. Threads end when no call waits.

    Args:
        max_num_threads: Calls at a time, but for those that take too long.
        patience_secs: How long a call may take before another may begin in its stead.
        clock: Times the calls.
        name: Of the threads.
    """

    def __init__(
        self, *, max_num_threads: int, patience_secs: float, clock: Clock, name: str
    ) -> None:
        self._max_num_threads = max_num_threads
        self._patience_secs = patience_secs
        self._clock = clock
        self._name = name
        self._lock = threading.Lock()
        self._waiting: deque[StoreCall] = deque()  # Guarded by _lock.
        self._running: set[_Running] = set()  # Those that count. Guarded by _lock.

    def submit(self, calls: Iterable[StoreCall]) -> None:
        """Has `calls` run; returns at once."""
        with self._lock:
            self._waiting.extend(calls)
        self._start_threads()

    def pass_over_hung(self) -> float | None:
        """Counts calls that take too long no more, and begins others in their stead.

        Returns:
            When to call this again, in terms of the clock; None while no call is running.
        """
        for running in self._pop_hung():
            _logger.warning(
                "%s takes longer than %g seconds; it goes on, and others do not wait for it",
                running.call.description,
                self._patience_secs,
            )
        self._start_threads()
        with self._lock:
            since_secs = min((each.since_secs for each in self._running), default=None)
        return None if since_secs is None else since_secs + self._patience_secs

    def close(self) -> None:
        """Drops the calls that have not begun; returns at once, whatever hangs."""
        with self._lock:
            self._waiting.clear()

    def _pop_hung(self) -> list[_Running]:
        now = self._clock.now()
        with self._lock:
            hung = [each for each in self._running if each.since_secs + self._patience_secs <= now]
            self._running.difference_update(hung)
        return hung

    def _start_threads(self) -> None:
        while (running := self._begin_next()) is not None:
            try:
                start_thread(self._run, running, name=self._name)
            except RuntimeError:  # the system has no thread left
                with self._lock:
                    self._running.discard(running)
                    self._waiting.appendleft(running.call)
                raise

    def _run(self, running: _Running) -> None:
        ended: _Running | None = running
        while ended is not None:
            ended.call.run()
            ended = self._begin_next(ended)

    def _begin_next(self, ended: _Running | None = None) -> _Running | None:
        """Takes the next call for a thread; None if the thread is not needed."""
        now = self._clock.now()
        with self._lock:
            if ended is not None:
                self._running.discard(ended)
            if not self._waiting or len(self._running) >= self._max_num_threads:
                return None
            begun = _Running(self._waiting.popleft(), now)
            self._running.add(begun)
            return begun
