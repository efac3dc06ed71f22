"""SIGINT and SIGTERM: stop within a batch, leave nothing half-written, say how to go on."""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from servable_core.runtime.abort_token import AbortToken
from servable_core.runtime.executor import start_thread

EXIT_INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE_SECS = 10.0
# Signals that have come; a process has one set of handlers.
_interrupted: list[str] = []


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Makes SIGTERM raise KeyboardInterrupt during the body, as Python makes SIGINT do.

    Any error that comes after the signal is taken for the interruption: native modules turn the
    KeyboardInterrupt that meets their import into an ImportError.
    """
    if not _is_main_thread():
        yield
        return
    interrupted = _interrupted
    interrupted.clear()

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupted.append(signal.Signals(number).name)
        _interrupt(number, frame)

    with _handled(interrupt):
        try:
            yield
        except Exception as error:
            if interrupted:
                raise KeyboardInterrupt(interrupted[0]) from error
            raise


def check_not_interrupted() -> None:
    """Raises the KeyboardInterrupt that a library has swallowed; to be called behind imports.

    Raises:
        KeyboardInterrupt: A signal has come since `termination_as_interrupt` began.
    """
    if _interrupted:
        raise KeyboardInterrupt(_interrupted[0])


def stop_on_signals(
    abort: AbortToken, *, workers_are_here: bool, last_words: str
) -> contextlib.AbstractContextManager[None]:
    """Turns signals into the abort token where workers are threads of this process.

    A second signal, or a model call that does not end within ten seconds, ends the process at once,
    with `last_words`; what is committed by then stays valid. Where workers are elsewhere, the first
    signal raises KeyboardInterrupt.
    """
    if not _is_main_thread():
        return contextlib.nullcontext()
    return _watched(abort, last_words) if workers_are_here else _handled(_interrupt)


def stop_from_thread(abort: AbortToken, *, workers_are_here: bool) -> Callable[[str], None]:
    """Returns what stops the job for a reason other than a signal, called from any thread.

    To be called within `stop_on_signals`: where workers are elsewhere, it takes the same way.
    """
    if workers_are_here or not _is_main_thread():
        return abort.set

    def interrupt(reason: str) -> None:
        abort.set(reason)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    return interrupt


def _is_main_thread() -> bool:
    """Whether signals are ours; elsewhere whoever embeds us handles them."""
    return threading.current_thread() is threading.main_thread()


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def _leave_to_watcher(_number: int, _frame: FrameType | None) -> None:
    pass


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    previous = {each: signal.signal(each, handler) for each in _SIGNALS}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


@contextmanager
def _watched(abort: AbortToken, last_words: str) -> Iterator[None]:
    """Has a thread react, which Python tells through a pipe.

    A handler would run on the main thread: not at all while that is blocked, and in the middle of
    anything else, with locks held that it needs itself.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    watcher = start_thread(_watch, reader, abort, last_words, name="interruption_watcher")
    try:
        with _handled(_leave_to_watcher):
            previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
            try:
                yield
            finally:
                signal.set_wakeup_fd(previous)
    finally:
        os.close(writer)  # ends the watcher
        watcher.join()
        os.close(reader)


def _watch(reader: int, abort: AbortToken, last_words: str) -> None:
    number = _next_signal(reader)
    if number is None:
        return
    abort.set(signal.Signals(number).name)
    if not select.select([reader], [], [], _PATIENCE_SECS)[0]:
        _exit_now(f"stopped, without waiting for the batches in flight\n{last_words}")
    if _next_signal(reader) is not None:
        _exit_now(f"stopped at once\n{last_words}")


def _next_signal(reader: int) -> int | None:
    """Returns the next of our signals, or None when the body is through."""
    while number := os.read(reader, 1):
        if number[0] in _SIGNALS:
            return number[0]
    return None


def _exit_now(last_words: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # whoever read our errors may have gone
        os.write(sys.stderr.fileno(), f"{last_words}\n".encode())  # no lock, unlike print
    os._exit(EXIT_INTERRUPTED)
