"""Queues that share batch threads: admission, turns, timeouts, draining."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from servable_core.batching import QueueOptions, SharedBatchScheduler, SharedBatchSchedulerOptions
from servable_core.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    UnavailableError,
)


def task(size, name=""):
    return SimpleNamespace(size=size, name=name)


def split(whole, sizes):
    return [task(size, whole.name) for size in sizes]


def queue_options(**options):
    return QueueOptions(**{"max_batch_size": 4, "batch_timeout_secs": 10.0} | options)


class Recorder:
    """A process_batch that keeps the batches."""

    def __init__(self):
        self.batches = []

    def __call__(self, batch):
        assert batch.is_closed
        self.batches.append([task.size for task in batch.tasks])


class Gate(Recorder):
    """A process_batch that waits until the test lets it go on."""

    def __init__(self):
        super().__init__()
        self._is_running = threading.Event()
        self._is_open = threading.Event()

    def wait_until_running(self):
        assert self._is_running.wait(60)

    def open(self):
        self._is_open.set()

    def __call__(self, batch):
        self._is_running.set()
        assert self._is_open.wait(60)
        super().__call__(batch)


@pytest.fixture
def gate(make_scheduler):
    """Holds batches back, and is open in the end."""
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def pool():
    """Threads for callers that block."""
    with ThreadPoolExecutor(4) as executor:
        yield executor


def test_step_processes_one_due_batch(make_scheduler, clock):
    """Without threads nothing happens but in `step`, and only when a batch is due."""
    scheduler, seen = make_scheduler(), Recorder()
    queue = scheduler.add_queue(queue_options(), seen, split)
    queue.schedule(task(5))
    assert (scheduler.step(), scheduler.step(), seen.batches) == (True, False, [[4]])
    clock.advance(10.0)
    assert (scheduler.step(), scheduler.step(), seen.batches) == (True, False, [[4], [1]])


def test_flush_runs_without_waiting(make_scheduler):
    """After flush an underfull batch runs at once."""
    scheduler, seen = make_scheduler(), Recorder()
    queue = scheduler.add_queue(queue_options(), seen, split)
    queue.schedule(task(1))
    assert not scheduler.step()
    queue.flush()
    assert scheduler.step()
    assert seen.batches == [[1]]


def test_queues_take_turns(make_scheduler):
    """A queue with many batches does not starve one with few."""
    scheduler, order = make_scheduler(), []
    busy = scheduler.add_queue(queue_options(), lambda _: order.append("busy"), split)
    calm = scheduler.add_queue(queue_options(), lambda _: order.append("calm"), split)
    busy.schedule(task(16))
    calm.schedule(task(8))
    assert [scheduler.step() for _ in range(7)] == [True] * 6 + [False]
    assert order == ["busy", "calm", "busy", "calm", "busy", "busy"]


def test_ranks_decide_who_is_served_first(make_scheduler):
    """A worse rank has the turns that the better one leaves."""
    scheduler, order = make_scheduler(), []
    bulk = scheduler.add_queue(queue_options(), lambda _: order.append("bulk"), split, rank=1)
    online = scheduler.add_queue(queue_options(), lambda _: order.append("online"), split)
    bulk.schedule(task(8))
    assert scheduler.step()
    online.schedule(task(8))
    assert [scheduler.step() for _ in range(4)] == [True] * 3 + [False]
    assert order == ["bulk", "online", "online", "bulk"]


def test_batch_of_better_rank_that_is_not_due_holds_nobody_up(make_scheduler, clock):
    """Ranks decide between due batches only."""
    scheduler, order = make_scheduler(), []
    bulk = scheduler.add_queue(queue_options(), lambda _: order.append("bulk"), split, rank=1)
    online = scheduler.add_queue(queue_options(), lambda _: order.append("online"), split)
    online.schedule(task(1))
    bulk.schedule(task(8))
    assert scheduler.step()
    clock.advance(10.0)
    assert [scheduler.step() for _ in range(3)] == [True, True, False]
    assert order == ["bulk", "online", "bulk"]


def test_worse_rank_does_not_starve():
    """The scheduler's options bound how often it is passed over."""
    options = SharedBatchSchedulerOptions(num_batch_threads=0, max_turns_passed_over=2)
    order = []
    with SharedBatchScheduler(options) as scheduler:
        bulk = scheduler.add_queue(queue_options(), lambda _: order.append("bulk"), split, rank=1)
        online = scheduler.add_queue(queue_options(), lambda _: order.append("online"), split)
        bulk.schedule(task(4))
        online.schedule(task(16))
        while scheduler.step():
            pass
    assert order == ["online", "online", "bulk", "online", "online"]


def test_rank_below_zero_is_an_error(make_scheduler):
    """0 is the most urgent."""
    with pytest.raises(InvalidArgumentError, match=r"rank must be 0 .* got -1"):
        make_scheduler().add_queue(queue_options(), Recorder(), split, rank=-1)


def test_numbers_tell_what_waits(make_scheduler):
    """Tasks, capacity and the largest possible task are as the options say."""
    queue = make_scheduler().add_queue(queue_options(max_enqueued_batches=3), Recorder(), split)
    queue.schedule(task(1))
    queue.schedule(task(2))
    assert (queue.num_enqueued_tasks, queue.scheduling_capacity, queue.max_task_size) == (2, 9, 12)
    assert repr(queue) == (
        "SharedBatchQueue(num_tasks=2, num_batches=1, num_running=0, num_waiting_callers=0, "
        "is_closed=False)"
    )


def test_full_queue_is_unavailable_and_does_not_block_another(make_scheduler):
    """Back-pressure is per queue, and a timeout of zero never waits."""
    scheduler = make_scheduler()
    full = scheduler.add_queue(queue_options(max_enqueued_batches=1), Recorder(), split)
    other = scheduler.add_queue(queue_options(max_enqueued_batches=1), Recorder(), split)
    full.schedule(task(4))
    with pytest.raises(UnavailableError, match="no room for a task of 1 rows: 1 batches"):
        full.schedule(task(1), timeout_secs=0)
    other.schedule(task(4), timeout_secs=0)
    assert (full.num_enqueued_tasks, other.num_enqueued_tasks) == (1, 1)


def test_zero_timeout_splits_into_the_room_there_is(make_scheduler):
    """A task that must be cut does not have to wait either."""
    scheduler, seen = make_scheduler(), Recorder()
    queue = scheduler.add_queue(queue_options(max_enqueued_batches=2), seen, split)
    queue.schedule(task(3), timeout_secs=0)
    queue.schedule(task(5), timeout_secs=0)
    scheduler.close()
    assert seen.batches == [[3, 1], [4]]


def test_blocked_caller_goes_on_when_a_batch_is_taken(make_scheduler, clock, pool):
    """A full queue blocks its caller, not the other queue, until there is room."""
    scheduler, seen = make_scheduler(), Recorder()
    queue = scheduler.add_queue(queue_options(max_enqueued_batches=1), seen, split)
    other = scheduler.add_queue(queue_options(), Recorder(), split)
    queue.schedule(task(4))
    blocked = pool.submit(queue.schedule, task(2))
    clock.block_until_waiters(1)
    other.schedule(task(1))
    assert not blocked.done()
    assert scheduler.step()
    blocked.result(60)
    assert queue.num_enqueued_tasks == 1


def test_blocked_callers_are_served_in_order(make_scheduler, clock, pool):
    """A small task does not overtake a large one that waits, unless it came with zero timeout."""
    scheduler, seen = make_scheduler(), Recorder()
    queue = scheduler.add_queue(queue_options(max_enqueued_batches=1), seen, split)
    queue.schedule(task(2))
    large = pool.submit(queue.schedule, task(4))
    clock.block_until_waiters(1)
    small = pool.submit(queue.schedule, task(1))
    clock.block_until_waiters(2)
    queue.schedule(task(1), timeout_secs=0)
    assert scheduler.step()
    large.result(60)
    assert not small.done()
    assert scheduler.step()
    small.result(60)
    queue.close()
    assert seen.batches == [[2, 1], [4], [1]]


def test_blocked_caller_flushes(make_scheduler, clock, pool):
    """An open batch that cannot take the next task does not wait for its timeout."""
    scheduler, seen = make_scheduler(), Recorder()
    options = queue_options(max_enqueued_batches=1, enable_large_batch_splitting=False)
    queue = scheduler.add_queue(options, seen)
    queue.schedule(task(3))
    assert not scheduler.step()
    blocked = pool.submit(queue.schedule, task(2))
    clock.block_until_waiters(1)
    assert scheduler.step()
    blocked.result(60)
    assert seen.batches == [[3]]


def test_blocked_caller_gives_up_in_time(make_scheduler, clock, pool):
    """The timeout is an error of its own, and leaves the line in order."""
    scheduler = make_scheduler()
    queue = scheduler.add_queue(queue_options(max_enqueued_batches=1), Recorder(), split)
    queue.schedule(task(4))
    impatient = pool.submit(queue.schedule, task(1), timeout_secs=5.0)
    clock.block_until_waiters(1)
    patient = pool.submit(queue.schedule, task(1))
    clock.block_until_waiters(2)
    clock.advance(5.0)
    with pytest.raises(DeadlineExceededError, match="no room for a task of 1 rows in time"):
        impatient.result(60)
    assert scheduler.step()
    patient.result(60)


def test_closing_tells_blocked_callers(make_scheduler, clock, pool):
    """Callers in line get an error, and what was enqueued is still processed."""
    scheduler, seen = make_scheduler(), Recorder()
    queue = scheduler.add_queue(queue_options(max_enqueued_batches=1), seen, split)
    queue.schedule(task(4))
    blocked = pool.submit(queue.schedule, task(1))
    clock.block_until_waiters(1)
    queue.close()
    with pytest.raises(FailedPreconditionError, match="before the queue is closed"):
        blocked.result(60)
    assert seen.batches == [[4]]


@pytest.mark.parametrize(
    ("options", "size", "timeout_secs", "message"),
    [
        ({"enable_large_batch_splitting": False}, 5, None, "at most 4 rows .* got 5"),
        ({"max_enqueued_batches": 2}, 9, 0, "at most 8 rows .* got 9"),
        ({}, 0, None, "1 or more rows, got 0"),
        ({"max_enqueued_batches": 1}, 5, -1.0, "timeout_secs must be .* got -1.0"),
    ],
)
def test_impossible_requests_are_errors(make_scheduler, options, size, timeout_secs, message):
    """What can never succeed is an InvalidArgumentError at once."""
    queue = make_scheduler().add_queue(queue_options(**options), Recorder(), split)
    with pytest.raises(InvalidArgumentError, match=message):
        queue.schedule(task(size), timeout_secs=timeout_secs)


def test_closed_things_take_nothing(make_scheduler):
    """After close, tasks and queues are refused; closing again does nothing."""
    scheduler = make_scheduler()
    queue = scheduler.add_queue(queue_options(), Recorder(), split)
    queue.close()
    queue.close()
    with pytest.raises(FailedPreconditionError):
        queue.schedule(task(1))
    scheduler.close()
    with pytest.raises(FailedPreconditionError):
        scheduler.add_queue(queue_options(), Recorder(), split)


def test_bad_options_are_errors(make_scheduler):
    """Splitting needs a function, and the number of threads is not negative."""
    with pytest.raises(InvalidArgumentError, match="split must be a function"):
        make_scheduler().add_queue(queue_options(), Recorder())
    with pytest.raises(InvalidArgumentError, match="num_batch_threads must be 0 or more, got -1"):
        SharedBatchSchedulerOptions(num_batch_threads=-1)


def test_error_of_split_reaches_the_caller_and_leaves_the_queue_usable(make_scheduler):
    """A task that cannot be split is its caller's problem alone."""

    def bad_split(whole, sizes):
        raise RuntimeError("no")

    scheduler, seen = make_scheduler(), Recorder()
    queue = scheduler.add_queue(queue_options(), seen, bad_split)
    with pytest.raises(RuntimeError, match="no"):
        queue.schedule(task(5))
    queue.schedule(task(4))
    queue.close()
    assert seen.batches == [[4]]


def test_threads_survive_errors_of_process_batch(make_scheduler, caplog):
    """The error is logged, the next batch is processed, and close does not hang."""

    def fail(batch):
        raise SystemExit(3)

    scheduler, seen = make_scheduler(1), Recorder()
    bad = scheduler.add_queue(queue_options(), fail, split)
    good = scheduler.add_queue(queue_options(), seen, split)
    bad.schedule(task(4))
    bad.close()
    good.schedule(task(4))
    good.close()
    assert seen.batches == [[4]]
    assert "process_batch must not raise; lost the results of Batch(closed, size=4" in caplog.text


def test_idle_threads_do_not_poll(make_scheduler, clock):
    """Without work nobody has a timeout; with work exactly one thread holds the alarm."""
    scheduler, seen = make_scheduler(3), Recorder()
    clock.block_until(lambda deadlines: deadlines == [None] * 3)
    queue = scheduler.add_queue(queue_options(), seen, split)
    queue.schedule(task(1))
    clock.block_until(lambda deadlines: sorted(map(str, deadlines)) == ["1010.0", "None", "None"])
    queue.schedule(task(1))
    clock.advance(10.0)
    clock.block_until(lambda deadlines: deadlines == [None] * 3)
    assert seen.batches == [[1, 1]]


def test_earlier_timeout_of_another_queue_moves_the_alarm(make_scheduler, clock):
    """Each queue's batch runs at its own time."""
    scheduler, slow, fast = make_scheduler(2), Recorder(), Recorder()
    slow_queue = scheduler.add_queue(queue_options(batch_timeout_secs=10.0), slow, split)
    fast_queue = scheduler.add_queue(queue_options(batch_timeout_secs=3.0), fast, split)
    slow_queue.schedule(task(1))
    clock.block_until(lambda deadlines: 1010.0 in deadlines and len(deadlines) == 2)
    fast_queue.schedule(task(2))
    clock.block_until(lambda deadlines: 1003.0 in deadlines and len(deadlines) == 2)
    clock.advance(3.0)
    clock.block_until(lambda d: 1003.0 not in d and 1010.0 in d and len(d) == 2)
    assert (slow.batches, fast.batches) == ([], [[2]])
    clock.advance(7.0)
    clock.block_until(lambda deadlines: deadlines == [None] * 2)
    assert (slow.batches, fast.batches) == ([[1]], [[2]])


def test_threads_process_at_the_same_time(make_scheduler, clock):
    """All threads are woken for work that comes at once, and no lock is held while they work."""
    num_threads = 3
    scheduler = make_scheduler(num_threads)
    clock.block_until_waiters(num_threads)
    everybody_is_here = threading.Barrier(num_threads, timeout=60)
    queue = scheduler.add_queue(queue_options(), lambda _: everybody_is_here.wait(), split)
    queue.schedule(task(4 * num_threads))
    queue.close()
    assert not everybody_is_here.broken


def test_close_waits_for_running_batches(make_scheduler, clock, pool, gate):
    """Closing returns after the last batch was processed, not when it was taken."""
    queue = make_scheduler(1).add_queue(queue_options(), gate, split)
    queue.schedule(task(4))
    gate.wait_until_running()
    closing = pool.submit(queue.close)
    clock.block_until_waiters(1)
    assert not closing.done()
    gate.open()
    closing.result(60)
    assert gate.batches == [[4]]


def test_closing_tells_blocked_callers_at_once(make_scheduler, clock, pool, gate):
    """They do not wait for the batches that are still to be processed."""
    queue = make_scheduler(1).add_queue(queue_options(max_enqueued_batches=1), gate, split)
    queue.schedule(task(4))
    gate.wait_until_running()
    queue.schedule(task(4))
    blocked = pool.submit(queue.schedule, task(1))
    clock.block_until_waiters(1)
    closing = pool.submit(queue.close)
    with pytest.raises(FailedPreconditionError):
        blocked.result(60)
    assert not closing.done()
    gate.open()
    closing.result(60)


def test_thread_that_was_busy_wakes_for_later_work(make_scheduler, clock, gate):
    """Work that comes while nobody is idle leaves the next wake-up intact."""
    queue = make_scheduler(1).add_queue(queue_options(), gate, split)
    queue.schedule(task(4))
    gate.wait_until_running()
    queue.schedule(task(4))
    gate.open()
    clock.block_until(lambda deadlines: deadlines == [None])
    queue.schedule(task(4))
    queue.close()
    assert gate.batches == [[4], [4], [4]]


def test_thread_that_becomes_idle_leaves_the_alarm_to_another(make_scheduler, clock, gate):
    """Two threads never sleep until the same batch is due."""
    scheduler = make_scheduler(2)
    busy = scheduler.add_queue(queue_options(), gate, split)
    calm = scheduler.add_queue(queue_options(), Recorder(), split)
    busy.schedule(task(4))
    gate.wait_until_running()
    calm.schedule(task(1))
    clock.block_until(lambda deadlines: deadlines == [1010.0])
    gate.open()
    clock.block_until(lambda deadlines: sorted(map(str, deadlines)) == ["1010.0", "None"])


def test_room_for_several_lets_several_in(make_scheduler, clock, pool):
    """One taken batch lets in as many callers as fit."""
    scheduler = make_scheduler()
    queue = scheduler.add_queue(queue_options(max_enqueued_batches=1), Recorder(), split)
    queue.schedule(task(4))
    blocked = [pool.submit(queue.schedule, task(1)) for _ in range(3)]
    clock.block_until_waiters(3)
    assert scheduler.step()
    assert [caller.result(60) for caller in blocked] == [None] * 3
    assert queue.num_enqueued_tasks == 3


def test_task_is_split_again_when_the_room_changes_meanwhile(make_scheduler):
    """The parts fit the batches as they are when they are added."""
    asked = []

    def slow_split(whole, sizes):
        if not asked:
            queue.schedule(task(1), timeout_secs=0)
        asked.append(sizes)
        return split(whole, sizes)

    scheduler, seen = make_scheduler(), Recorder()
    queue = scheduler.add_queue(queue_options(), seen, slow_split)
    queue.schedule(task(6))
    queue.close()
    assert asked == [[4, 2], [3, 3]]
    assert seen.batches == [[1, 3], [3]]


def test_closed_queue_is_forgotten(make_scheduler):
    """A scheduler that outlives many models does not keep their queues."""
    scheduler = make_scheduler()
    queue = scheduler.add_queue(queue_options(), Recorder(), split)
    queue.close()
    forgotten = weakref.ref(queue)
    del queue
    gc.collect()
    assert forgotten() is None


def test_idle_thread_keeps_nothing(make_scheduler, clock):
    """Neither the rows of its last batch, nor, through their queue, the model that it ran."""
    model = Recorder()
    queue = make_scheduler(1).add_queue(queue_options(max_batch_size=1), model, split)
    forgotten = weakref.ref(model), weakref.ref(queue)
    queue.schedule(task(1))
    queue.close()
    clock.block_until_waiters(1)
    del model, queue
    gc.collect()
    assert [each() for each in forgotten] == [None, None]


def test_scheduler_closes_its_queues_and_threads():
    """Leaving the scheduler processes everything and ends the threads."""
    seen = Recorder()
    with SharedBatchScheduler(SharedBatchSchedulerOptions(num_batch_threads=2)) as scheduler:
        scheduler.add_queue(queue_options(), seen, split).schedule(task(1))
    assert seen.batches == [[1]]
    assert not any(thread.is_alive() for thread in scheduler._threads)
    assert "num_queues=0, is_closed=True" in repr(scheduler)


def test_timeout_with_the_real_clock():
    """An underfull batch runs by itself when its time has come."""
    done = threading.Event()
    with SharedBatchScheduler(SharedBatchSchedulerOptions(num_batch_threads=2)) as scheduler:
        options = queue_options(batch_timeout_secs=0.01)
        scheduler.add_queue(options, lambda _: done.set(), split).schedule(task(1))
        assert done.wait(60)
