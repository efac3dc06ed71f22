"""`TaskFuture` does what the standard future does, also under the functions that come with that."""

import asyncio
import sys
import threading
from concurrent.futures import (
    CancelledError,
    Future,
    InvalidStateError,
    ThreadPoolExecutor,
    as_completed,
    wait,
)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.batching.task_future import TaskFuture

_PATIENCE_SECS = 20.0
_CALLS = {
    "cancel": lambda each: each.cancel(),
    "begin": lambda each: each.set_running_or_notify_cancel(),
    "result": lambda each: each.set_result(7),
    "exception": lambda each: each.set_exception(KeyError("x")),
    "get": lambda each: each.result(0),
    "get exception": lambda each: str(each.exception(0)),
    "done": lambda each: (each.done(), each.running(), each.cancelled()),
    "call back": lambda each: each.add_done_callback(lambda _: None),
}


def _outcome(future, call):
    try:
        return call(future)
    except (Exception, CancelledError) as error:  # noqa: BLE001 - whatever it raises is compared
        return type(error)


@given(st.lists(st.sampled_from(sorted(_CALLS)), max_size=8))
def test_equals_the_standard_future(calls):
    """Whatever the order of calls: the same answers, the same errors."""
    ours, standard = TaskFuture(), Future()
    for name in calls:
        expected = _outcome(standard, _CALLS[name])
        if name == "begin" and isinstance(expected, type):
            return  # the standard one logs and raises a plain Exception: see below
        assert _outcome(ours, _CALLS[name]) == expected, name


def test_begin_twice_is_an_error():
    """Only one thread may run a task."""
    future = TaskFuture()
    assert future.set_running_or_notify_cancel()
    with pytest.raises(InvalidStateError, match="RUNNING"):
        future.set_running_or_notify_cancel()


@pytest.mark.parametrize("finish", ["result", "exception", "cancel"])
def test_all_who_wait_are_woken(finish):
    """On locks of their own, or through the module's functions, before and after the end."""
    future = TaskFuture()
    with ThreadPoolExecutor(8) as pool:
        started = threading.Barrier(9)

        def get(how):
            started.wait(_PATIENCE_SECS)
            return _outcome(future, how)

        waiters = [pool.submit(get, lambda each: each.result(_PATIENCE_SECS)) for _ in range(4)]
        waiters += [
            pool.submit(get, lambda each: len(wait([each], _PATIENCE_SECS).done)) for _ in range(2)
        ]
        waiters += [
            pool.submit(get, lambda each: len(list(as_completed([each], _PATIENCE_SECS))))
            for _ in range(2)
        ]
        started.wait(_PATIENCE_SECS)
        _CALLS[finish](future)
        if finish == "cancel":
            assert not future.set_running_or_notify_cancel()
        expected = {"result": 7, "exception": KeyError, "cancel": CancelledError}[finish]
        assert [each.result(_PATIENCE_SECS) for each in waiters] == [expected] * 4 + [1] * 4


def test_timeout_leaves_the_future_as_it_was():
    """Whoever gave up waiting is forgotten."""
    future = TaskFuture()
    with pytest.raises(TimeoutError):
        future.result(0.001)
    future.set_result(1)
    assert future.result() == 1


def test_callbacks_run_once_whenever_they_are_added():
    """Before the end and after it; an error of one does not stop the next."""
    future, seen = TaskFuture(), []

    def fail(_):
        raise ValueError

    future.add_done_callback(fail)
    future.add_done_callback(lambda each: seen.append(each.result()))
    future.set_result(3)
    future.add_done_callback(lambda each: seen.append(each.result()))
    assert seen == [3, 3]


def test_asyncio_can_await_it():
    """As it can the standard one."""

    async def get():
        future = TaskFuture()
        threading.Timer(0.01, future.set_result, [5]).start()
        return await asyncio.wait_for(asyncio.wrap_future(future), _PATIENCE_SECS)

    assert asyncio.run(get()) == 5


@pytest.mark.parametrize("error", [None, KeyError("x")])
def test_what_is_seen_without_the_lock_is_whole(error):
    """At no line of `set_result` is it done, but without what it is done with."""
    future, seen = TaskFuture(), []

    def look(*_):
        if future.done():
            seen.append((future._result, future._exception))
        return look

    tracer = sys.gettrace()
    sys.settrace(look)
    try:
        future.set_exception(error) if error else future.set_result(7)
    finally:
        sys.settrace(tracer)
    assert seen
    assert set(seen) == {(None, error) if error else (7, None)}
