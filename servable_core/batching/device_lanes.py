"""Which of several equal devices runs the next call: the one with the fewest calls in flight."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from servable_core.errors import FailedPreconditionError, InvalidArgumentError


class DeviceLanes:
    """Counts the calls in flight on each device. A state machine: its owner guards it.

    Among the least loaded devices they take turns, so that all are used when calls never overlap.

    Args:
        num_lanes: Number of devices; lanes are numbered from 0.
    """

    def __init__(self, num_lanes: int) -> None:
        if num_lanes < 1:
            raise InvalidArgumentError(f"num_lanes must be 1 or more, got {num_lanes}")
        self._in_flight = [0] * num_lanes
        self._next = 0  # who comes first among equals

    @property
    def in_flight(self) -> tuple[int, ...]:
        """Calls in flight, by lane."""
        return tuple(self._in_flight)

    def acquire(self) -> int:
        """Returns the lane for a call that starts now."""
        num_lanes = len(self._in_flight)
        turns = ((self._next + i) % num_lanes for i in range(num_lanes))
        lane = min(turns, key=self._in_flight.__getitem__)  # the first of equals
        self._in_flight[lane] += 1
        self._next = (lane + 1) % num_lanes
        return lane

    def release(self, lane: int) -> None:
        """Counts the end of a call on `lane`.

        Raises:
            FailedPreconditionError: None is in flight there.
        """
        if not self._in_flight[lane]:
            raise FailedPreconditionError(
                f"no call is in flight on lane {lane}: release each lane once that was acquired"
            )
        self._in_flight[lane] -= 1


class SharedDeviceLanes:
    """`DeviceLanes` for many threads; never waits.

    Args:
        num_lanes: Number of devices.
    """

    def __init__(self, num_lanes: int) -> None:
        self._lock = threading.Lock()
        self._lanes = DeviceLanes(num_lanes)  # Guarded by _lock.

    @property
    def in_flight(self) -> tuple[int, ...]:
        """Calls in flight, by lane."""
        with self._lock:
            return self._lanes.in_flight

    @contextmanager
    def acquired(self) -> Iterator[int]:
        """Gives the body a lane, until it ends."""
        with self._lock:
            lane = self._lanes.acquire()
        try:
            yield lane
        finally:
            with self._lock:
                self._lanes.release(lane)
