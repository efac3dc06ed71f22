"""Threads for calls that may hang: a few at a time, and none for ever."""

import threading
from collections.abc import Callable

import pytest

from servable_core.sources import listing_threads
from servable_core.sources.listing_threads import ListingThreads, StoreCall
from servable_core.testing import FakeClock

_PATIENCE_SECS = 2.0


def _threads(clock: FakeClock, max_num_threads: int = 1, name: str = "test") -> ListingThreads:
    return ListingThreads(
        max_num_threads=max_num_threads, patience_secs=_PATIENCE_SECS, clock=clock, name=name
    )


def _calls(*runs: Callable[[], object]) -> list[StoreCall]:
    def to_call(index: int, run: Callable[[], object]) -> StoreCall:
        def call() -> None:
            run()

        return StoreCall(description=f"call {index}", run=call)

    return [to_call(index, run) for index, run in enumerate(runs)]


class _Gate:
    """A call that hangs until it is opened."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        assert self.opened.wait(10)


def test_calls_run_in_order_and_their_thread_ends() -> None:
    """One thread for all of them, and none when they are done."""
    ran: list[tuple[int, threading.Thread]] = []
    done = threading.Event()
    gate, threads = _Gate(), _threads(FakeClock())

    def run(number: int) -> None:
        ran.append((number, threading.current_thread()))

    threads.submit(_calls(gate, *(lambda n=n: run(n) for n in range(100)), done.set))
    gate.opened.set()

    assert done.wait(10)
    assert [number for number, _ in ran] == list(range(100))
    (thread,) = {thread for _, thread in ran}
    thread.join(10)
    assert not thread.is_alive()


def test_no_more_calls_run_at_a_time_than_allowed() -> None:
    """The third waits for one of the others."""
    gates, third = [_Gate(), _Gate()], _Gate()
    threads = _threads(FakeClock(), max_num_threads=2)

    threads.submit(_calls(*gates, third))
    assert all(gate.entered.wait(10) for gate in gates)
    assert not third.entered.is_set()

    gates[1].opened.set()
    assert third.entered.wait(10)
    gates[0].opened.set()
    third.opened.set()


def test_a_call_that_takes_too_long_keeps_no_other_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names it, once; its thread takes over again when it ends."""
    clock, gate, second = FakeClock(), _Gate(), _Gate()
    threads = _threads(clock)
    threads.submit(_calls(gate, second))
    assert gate.entered.wait(10)

    assert threads.pass_over_hung() == clock.now() + _PATIENCE_SECS
    assert not second.entered.is_set()
    clock.advance(_PATIENCE_SECS)
    assert threads.pass_over_hung() == clock.now() + _PATIENCE_SECS
    assert second.entered.wait(10)

    assert [record.getMessage()[:30] for record in caplog.records] == [
        "call 0 takes longer than 2 sec"
    ]
    gate.opened.set()
    second.opened.set()


def test_nothing_is_due_while_no_call_runs() -> None:
    """So nobody wakes up for it."""
    assert _threads(FakeClock()).pass_over_hung() is None


def test_close_drops_what_has_not_begun_and_waits_for_nothing() -> None:
    """The call that hangs may end as it likes."""
    gate, dropped = _Gate(), threading.Event()
    threads = _threads(FakeClock(), name="test-close")
    threads.submit(_calls(gate, dropped.set))
    assert gate.entered.wait(10)
    (thread,) = [each for each in threading.enumerate() if each.name == "test-close"]

    threads.close()
    gate.opened.set()
    thread.join(10)

    assert not thread.is_alive()
    assert not dropped.is_set()


def test_a_call_is_not_lost_where_no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is begun the next time."""
    ran, threads = threading.Event(), _threads(FakeClock())

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(listing_threads, "start_thread", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            threads.submit(_calls(ran.set))
    assert not ran.is_set()

    threads.pass_over_hung()
    assert ran.wait(10)
