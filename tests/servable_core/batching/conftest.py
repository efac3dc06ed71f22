"""A clock turned by hand, and schedulers over it."""

from collections.abc import Callable

import pytest

from servable_core.batching import SharedBatchScheduler, SharedBatchSchedulerOptions
from servable_core.testing import FakeClock


class WatchedClock(FakeClock):
    """Also shows what those who wait are waiting for."""

    def block_until(self, predicate: Callable[[list[float | None]], bool]) -> None:
        """Waits until `predicate` holds of the deadlines of the waiting threads."""
        with self._waiters_changed:
            assert self._waiters_changed.wait_for(
                lambda: predicate([deadline for deadline, _ in self._waiters.values()]), 10
            ), f"waiting: {self._waiters}"


@pytest.fixture
def clock():
    """A fresh fake clock."""
    return WatchedClock()


@pytest.fixture
def make_scheduler(clock):
    """Makes schedulers over the fake clock, and closes them in the end."""
    schedulers = []

    def make(num_batch_threads: int = 0) -> SharedBatchScheduler:
        options = SharedBatchSchedulerOptions(num_batch_threads=num_batch_threads)
        schedulers.append(SharedBatchScheduler(options, clock=clock))
        return schedulers[-1]

    yield make
    for scheduler in schedulers:
        scheduler.close()
