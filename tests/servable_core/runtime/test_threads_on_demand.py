"""Threads that step, ring, or come and go in number."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from servable_core.errors import InvalidArgumentError
from servable_core.runtime.alarm import Alarm
from servable_core.runtime.memory import release_unused_memory
from servable_core.runtime.resizable_executor import ResizableExecutor
from servable_core.runtime.step_thread import StepThread
from servable_core.testing import FakeClock


def test_a_step_thread_steps_at_its_start_and_after_each_wake_up() -> None:
    """A failing step does not end it; after `stop` it ends."""
    steps, stepped = list[str](), threading.Semaphore(0)

    def step() -> None:
        steps.append(threading.current_thread().name)
        stepped.release()
        raise ValueError("logged")

    ended = threading.Event()
    thread = StepThread(step, name="stepper", on_end=ended.set)
    thread.start()
    thread.start()
    assert stepped.acquire(timeout=10)
    thread.wake()
    assert stepped.acquire(timeout=10)
    thread.stop()
    thread.join()

    assert set(steps) == {"stepper"}
    assert ended.is_set()


def test_a_step_thread_that_never_began_is_joined_at_once() -> None:
    """Waking it does no harm."""
    thread = StepThread(lambda: None, name="stepper")
    thread.wake()
    thread.join()


def test_a_step_may_end_its_own_thread() -> None:
    """It does not wait for itself."""
    joined = threading.Event()

    def step() -> None:
        thread.stop()
        thread.join()
        joined.set()

    thread = StepThread(step, name="steps")
    thread.start()
    thread.join()

    assert joined.is_set()


def test_an_alarm_rings_at_the_earliest_time_set() -> None:
    """And at later ones only if they are set again."""
    clock, rung = FakeClock(), threading.Semaphore(0)
    alarm = Alarm(rung.release, clock=clock, name="alarm")

    alarm.set(clock.now() + 20)
    clock.block_until_waiters(1)
    alarm.set(clock.now() + 10)
    alarm.set(clock.now() + 30)
    clock.block_until_waiters(1)
    clock.advance(10)
    assert rung.acquire(timeout=10)
    clock.advance(20)
    assert not rung.acquire(blocking=False)


def test_a_cancelled_alarm_does_not_ring() -> None:
    """Its thread ends; another time may be set."""
    clock, rung = FakeClock(), threading.Semaphore(0)
    alarm = Alarm(rung.release, clock=clock, name="alarm")

    alarm.set(clock.now() + 10)
    alarm.cancel()
    clock.advance(10)
    assert not rung.acquire(blocking=False)
    alarm.set(clock.now())
    assert rung.acquire(timeout=10)


def _thread_name() -> str:
    return threading.current_thread().name


def test_an_executor_changes_between_inline_and_threads() -> None:
    """With threads tasks run on them, without on the caller's."""
    executor = ResizableExecutor(0, "pool")
    names = [executor.submit(_thread_name).result(10)]
    executor.resize(2)
    executor.resize(2)
    names.append(executor.submit(_thread_name).result(10))
    assert executor.num_threads == 2
    executor.resize(0)
    names.append(executor.submit(_thread_name).result(10))
    executor.shutdown()

    assert [name.startswith("pool") for name in names] == [False, True, False]


def test_resizing_loses_no_task_and_waits_for_those_under_way() -> None:
    """Tasks queued before run to their end on the old threads."""
    executor, gate, started = ResizableExecutor(1, "pool"), threading.Event(), threading.Event()

    def wait() -> bool:
        started.set()
        return gate.wait(10)

    before: list[Future[bool]] = [executor.submit(wait), executor.submit(wait)]
    assert started.wait(10)
    resizer = ResizableExecutor(1, "resizer")
    resizing = resizer.submit(executor.resize, 3)
    assert not resizing.done()
    gate.set()
    resizing.result(10)
    resizer.shutdown()

    assert all(task.done() and task.result() for task in before)
    executor.shutdown()
    with pytest.raises(RuntimeError):
        executor.submit(wait)


@contextmanager
def _no_thread_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        yield


@pytest.mark.parametrize("has_a_thread", [False, True])
def test_a_task_runs_once_where_no_thread_can_be_had_for_it(
    monkeypatch: pytest.MonkeyPatch, *, has_a_thread: bool
) -> None:
    """A thread of the pool takes it as soon as it can, or else the caller's."""
    executor, gate, names = ResizableExecutor(2, "pool"), threading.Event(), list[str]()
    if has_a_thread:
        executor.submit(gate.wait, 10)
    with _no_thread_left(monkeypatch):
        task = executor.submit(lambda: names.append(_thread_name()))
    gate.set()
    task.result(10)
    for _ in range(4):  # both threads have been idle by then
        executor.submit(_thread_name).result(10)
    executor.shutdown()

    assert [name.startswith("pool") for name in names] == [has_a_thread]


def test_a_task_that_comes_while_the_threads_change_runs_on_the_new_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the old ones `submit` has hold already when they take no more."""
    executor = ResizableExecutor(1, "pool")
    submit = executor._executor.submit

    def submit_too_late(task: Callable[[], str]) -> Future[str]:
        executor.resize(2)
        return submit(task)

    monkeypatch.setattr(executor._executor, "submit", submit_too_late)
    assert executor.submit(_thread_name).result(10).startswith("pool")
    assert executor.num_threads == 2
    executor.shutdown()

    with pytest.raises(RuntimeError):  # nothing has come in the place of these
        executor.submit(_thread_name)


def test_a_number_of_threads_below_zero_is_refused_and_changes_nothing() -> None:
    """The executor goes on with those it has."""
    executor = ResizableExecutor(1, "pool")

    with pytest.raises(InvalidArgumentError, match="num_threads must be 0 or more, got -1"):
        executor.resize(-1)

    assert executor.num_threads == 1
    assert executor.submit(_thread_name).result(10).startswith("pool")
    executor.shutdown()


def test_releasing_memory_works_on_this_platform() -> None:
    """With or without glibc."""
    release_unused_memory()
