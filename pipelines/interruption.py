"""SIGINT and SIGTERM: stop within a batch, leave nothing half-written, say how to go on."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from servable_core.runtime.abort_token import AbortToken
from servable_core.runtime.executor import start_thread

EXIT_INTERRUPTED = 130
_PATIENCE_SECS = 10.0


@contextmanager
def stop_on_signals(abort: AbortToken, *, workers_are_here: bool) -> Iterator[None]:
    """Turns signals into the abort token where workers are threads of this process.

    Elsewhere the first signal raises KeyboardInterrupt, as Python does for SIGINT. A second signal, or
    a model call that does not end within ten seconds, ends the process at once; what is committed by
    then stays valid.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's; whoever embeds us handles them
        return
    finished = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if not workers_are_here:
            raise KeyboardInterrupt(name)
        if abort.is_set:
            os._exit(EXIT_INTERRUPTED)
        abort.set(name)
        start_thread(_exit_unless, finished, name="interruption_watchdog")

    previous = {each: signal.signal(each, handle) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        finished.set()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _exit_unless(finished: threading.Event) -> None:
    if not finished.wait(_PATIENCE_SECS):
        os._exit(EXIT_INTERRUPTED)
