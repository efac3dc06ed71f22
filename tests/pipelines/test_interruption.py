import contextlib
import os
import signal
import threading

import pytest

from pipelines.interruption import (
    check_not_interrupted,
    stop_from_thread,
    stop_on_signals,
    termination_as_interrupt,
)
from servable_core.errors import AbortedError
from servable_core.runtime.abort_token import AbortToken


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts(number):
    """Both signals end the body as Ctrl-C does."""
    with pytest.raises(KeyboardInterrupt, match=number.name), termination_as_interrupt():
        os.kill(os.getpid(), number)


def _import_that_is_interrupted():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt as interrupt:
        raise ImportError("initialization failed") from interrupt


def test_an_error_behind_the_signal_is_the_interruption():
    """A native module's import error is not told as such when a signal has caused it."""
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), termination_as_interrupt():
        _import_that_is_interrupted()


def test_other_errors_stay_what_they_are():
    """Without a signal nothing is translated, and the former handlers come back."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ImportError), termination_as_interrupt():
        raise ImportError("no such module")
    assert signal.getsignal(signal.SIGTERM) is before


def _library_that_swallows_the_interrupt():
    with contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_that_an_import_has_swallowed_is_found():
    """Such as one that comes in a callback of native code."""
    with termination_as_interrupt():
        check_not_interrupted()
        _library_that_swallows_the_interrupt()
        with pytest.raises(KeyboardInterrupt, match="SIGINT"):
            check_not_interrupted()
    with termination_as_interrupt():
        check_not_interrupted()


class TestStopFromThread:
    @staticmethod
    def _stop_meanwhile(stop):
        thread = threading.Thread(target=stop, args=("the lock was lost",))
        thread.start()
        return thread

    def test_workers_elsewhere(self):
        """The main thread, which waits for them, is interrupted, and can tell why."""
        abort = AbortToken()

        def launch():
            with stop_on_signals(abort, workers_are_here=False, last_words=""):
                self._stop_meanwhile(stop_from_thread(abort, workers_are_here=False))
                threading.Event().wait(20)

        with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
            launch()
        assert abort.reason == "the lock was lost"

    def test_workers_here(self):
        """They see the token; nobody is interrupted, so that what they hold is given back."""
        abort = AbortToken()
        with stop_on_signals(abort, workers_are_here=True, last_words=""):
            self._stop_meanwhile(stop_from_thread(abort, workers_are_here=True)).join()
        with pytest.raises(AbortedError, match="the lock was lost"):
            abort.check()

    def test_where_signals_are_not_ours(self):
        """Whoever runs a job in a thread of his own is not sent a signal that would end him."""
        abort, stops = AbortToken(), []

        def embedded():
            stops.append(stop_from_thread(abort, workers_are_here=False))

        thread = threading.Thread(target=embedded)
        thread.start()
        thread.join()
        stops[0]("the lock was lost")
        assert abort.is_set
