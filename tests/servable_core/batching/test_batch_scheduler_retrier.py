"""What is tried again, how often, and for how long."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from servable_core.batching.batch_scheduler_retrier import (
    BatchSchedulerRetrier,
    BatchSchedulerRetrierOptions,
)
from servable_core.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    UnavailableError,
)
from servable_core.testing import FakeClock
from servable_core.testing.batch_recorder import RowsTask
from servable_core.testing.puppet_batch_scheduler import PuppetBatchScheduler

TASK = RowsTask((0,))


def make(puppet, clock, max_time_secs=10.0, retry_delay_secs=2.0):
    options = BatchSchedulerRetrierOptions(
        max_time_secs=max_time_secs, retry_delay_secs=retry_delay_secs
    )
    return BatchSchedulerRetrier(puppet, options, clock=clock)


@pytest.fixture
def pool():
    """A thread for the caller."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_numbers_and_flush_are_those_of_the_wrapped_scheduler():
    """All but `schedule` is passed on."""
    puppet = PuppetBatchScheduler(num_enqueued_tasks=7, scheduling_capacity=8, max_task_size=9)
    retrier = make(puppet, FakeClock())
    numbers = (retrier.num_enqueued_tasks, retrier.scheduling_capacity, retrier.max_task_size)
    assert numbers == (7, 8, 9)
    retrier.flush()
    assert puppet.num_flushes == 1


@pytest.mark.parametrize(
    "error", [InvalidArgumentError("too large"), FailedPreconditionError("closed")]
)
def test_permanent_errors_pass_at_once(error):
    """Only UNAVAILABLE may pass by itself."""
    puppet = PuppetBatchScheduler([error])
    with pytest.raises(type(error)):
        make(puppet, FakeClock()).schedule(TASK)
    assert len(puppet.timeouts) == 1


def test_task_is_scheduled_once_there_is_room(pool):
    """Attempts are a delay apart, each with the caller's own timeout, and one success is enough."""
    clock, puppet = FakeClock(), PuppetBatchScheduler([UnavailableError("full")] * 2)
    call = pool.submit(make(puppet, clock).schedule, TASK, timeout_secs=0)
    for num_attempts in (1, 2):
        clock.block_until_waiters(1)
        assert len(puppet.timeouts) == num_attempts
        clock.advance(2.0)
    call.result(60)
    assert (puppet.tasks, puppet.timeouts) == ([TASK], [0, 0, 0])


class RestlessClock(FakeClock):
    """Ends each wait after half a second, as clocks may."""

    def wait(self, condition, timeout_secs):
        self.advance(0.5)


def test_nothing_is_tried_before_the_delay_is_over():
    """A wait that ends early goes on."""
    clock, puppet = RestlessClock(), PuppetBatchScheduler([UnavailableError("full")])
    make(puppet, clock).schedule(TASK)
    assert (clock.now(), len(puppet.timeouts)) == (1002.0, 2)


@pytest.mark.parametrize("max_time_secs", [4.0, 5.0])
def test_last_error_is_raised_when_the_time_is_over(pool, max_time_secs):
    """No attempt starts later than the longest time after the first one."""
    clock = FakeClock()
    puppet = PuppetBatchScheduler([UnavailableError(f"full {number}") for number in range(100)])
    call = pool.submit(make(puppet, clock, max_time_secs=max_time_secs).schedule, TASK)
    for _ in range(2):
        clock.block_until_waiters(1)
        clock.advance(2.0)
    with pytest.raises(UnavailableError, match="full 2"):
        call.result(60)
    assert (clock.now(), len(puppet.timeouts)) == (1004.0, 3)


def test_no_time_is_one_attempt():
    """A retrier may be switched off."""
    puppet = PuppetBatchScheduler([UnavailableError("full")])
    with pytest.raises(UnavailableError):
        make(puppet, FakeClock(), max_time_secs=0.0).schedule(TASK)
    assert len(puppet.timeouts) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_time_secs": -1.0}, "max_time_secs must be .* got -1.0"),
        ({"retry_delay_secs": 0.0}, "retry_delay_secs must be .* got 0.0"),
    ],
)
def test_options_out_of_range_are_errors(options, message):
    """The message names the option and its value."""
    with pytest.raises(InvalidArgumentError, match=message):
        BatchSchedulerRetrierOptions(**options)
