"""The watch over running batches."""

import math
import threading
from concurrent.futures import Future

import numpy as np
import pytest

from servable_core.batching.run_watch import RunWatch
from servable_core.batching.session_task import SessionTask, split_task
from servable_core.errors import DeadlineExceededError


@pytest.fixture
def watch(clock):
    """A watch that gives batches ten seconds."""
    watch = RunWatch(10.0, clock, "m/1")
    yield watch
    watch.close()


def task_of(num_rows=1):
    task = SessionTask({"x": np.zeros(num_rows)}, num_rows, 0.0, Future())
    assert task.claim(0.0)
    return task


def error_of(task):
    return task.future.exception(10)


def test_batch_past_its_time_fails_with_the_stacks(watch, clock):
    """Of all threads: the one that hangs is among them."""
    tasks = [task_of(2), task_of(3)]
    with watch.watching(tasks):
        clock.block_until_waiters(1)
        clock.advance(10.0)
        errors = [error_of(task) for task in tasks]
    assert all(isinstance(error, DeadlineExceededError) for error in errors)
    assert "m/1: a batch of 5 rows took longer than 10 s" in str(errors[0])
    assert "test_batch_past_its_time_fails_with_the_stacks" in str(errors[0])


def test_each_batch_has_its_own_time(watch, clock):
    """One that began later, while another ran, fails later; one that has ended does not."""
    first, second, ended = task_of(), task_of(), task_of()
    with watch.watching([first]):
        with watch.watching([ended]):
            clock.block_until_waiters(1)
        clock.advance(6.0)
        with watch.watching([second]):
            clock.advance(4.0)
            assert error_of(first)
            assert not second.future.done()
            clock.block_until_waiters(1)
            clock.advance(6.0)
            assert error_of(second)
    assert not ended.future.done()


def test_watches_on_after_a_pause(watch, clock):
    """A batch that begins when none runs, before the alarm of an earlier one has rung."""
    with watch.watching([task_of()]):
        clock.block_until_waiters(1)
    clock.advance(7.0)
    late = task_of()
    with watch.watching([late]):
        clock.advance(3.0)  # the alarm of the first
        clock.block_until(lambda deadlines: deadlines == [1017.0])
        assert not late.future.done()
        clock.advance(7.0)
        assert error_of(late)


def test_answer_and_alarm_may_meet(watch, clock):
    """Whoever is first is heard, and the other does no harm; parts included."""
    tasks = [task_of(), *split_task(task_of(2), [1, 1])]
    with watch.watching(tasks):
        clock.block_until_waiters(1)
        tasks[0].finish({"y": np.zeros(1)}, {})
        clock.advance(10.0)
        assert isinstance(error_of(tasks[1]), DeadlineExceededError)
        for task in tasks[1:]:
            task.finish({"y": np.zeros(1)}, {})
    assert tasks[0].future.result(0)["y"].tolist() == [0]
    assert isinstance(error_of(tasks[2]), DeadlineExceededError)


def test_no_limit_takes_no_thread(clock):
    """Nothing to watch for."""
    before = set(threading.enumerate())
    watch = RunWatch(math.inf, clock, "m/1")
    with watch.watching([task_of()]):
        assert set(threading.enumerate()) <= before
    watch.close()


def test_error_of_the_body_passes_through(watch, clock):
    """And its batch is watched no longer."""
    task = task_of()
    with pytest.raises(KeyError), watch.watching([task]):
        raise KeyError
    clock.block_until_waiters(1)
    clock.advance(100.0)
    clock.block_until(lambda deadlines: not deadlines)
    assert not task.future.done()
