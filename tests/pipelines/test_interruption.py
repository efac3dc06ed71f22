import contextlib
import os
import signal

import pytest

from pipelines.interruption import check_not_interrupted, termination_as_interrupt


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
