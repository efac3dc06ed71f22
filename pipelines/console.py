"""What long work says while it runs, and what it did at the end."""

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO

from servable_core.runtime.clock import Clock
from servable_core.runtime.executor import start_thread

_TERMINAL_INTERVAL_SECS = 0.5
_PLAIN_INTERVAL_SECS = 10.0
_REST_PER_READ = 9  # reading progress takes a tenth of the time at most
_JOIN_SECS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a job is.

    Attributes:
        rows: Rows done, of all runs of the job.
        rows_this_run: Rows done since this process began.
        total_rows: Rows of the plan, or None when only reading tells.
        fraction: Share of the work done, 0 to 1.
        fraction_this_run: Share of the work done since this process began.
    """

    rows: int
    rows_this_run: int
    total_rows: int | None
    fraction: float
    fraction_this_run: float


def progress_line(progress: Progress, elapsed_secs: float) -> str:
    """Returns `  42.0 %  8,480,000 of 20,190,000 rows  412,000 rows/s  ETA 0:28`."""
    total = "" if progress.total_rows is None else f" of {progress.total_rows:,}"
    rate = progress.rows_this_run / elapsed_secs if elapsed_secs > 0 else 0.0
    parts = [f"{100 * progress.fraction:5.1f} %", f"{progress.rows:,}{total} rows"]
    if rate:
        parts.append(f"{rate:,.0f} rows/s")
    if progress.fraction_this_run > 0 and progress.fraction < 1:
        left_secs = elapsed_secs * (1 - progress.fraction) / progress.fraction_this_run
        parts.append(f"ETA {format_duration(left_secs)}")
    return "  ".join(parts)


def format_duration(secs: float) -> str:
    """Returns `m:ss`, or `h:mm:ss` from an hour on."""
    minutes, seconds = divmod(round(secs), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class ProgressReporter:
    """Prints progress from a thread of its own while the body runs.

    On a terminal one line is rewritten twice a second; elsewhere a line is printed every ten seconds.
    Progress that cannot be read is left out until it can. The end of the body waits for no reading.
    """

    def __init__(
        self, read: Callable[[], Progress], clock: Clock, stream: TextIO | None = None
    ) -> None:
        """Reports what `read` returns; `stream` is stderr unless given."""
        self._read = read
        self._clock = clock
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._changed = threading.Condition()
        self._stopped = False  # Guarded by _changed.
        self._started_secs = clock.now()

    def __enter__(self) -> Self:
        self._thread = start_thread(self._run, name="progress")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(_JOIN_SECS)
        if self._is_terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _run(self) -> None:
        interval_secs = _TERMINAL_INTERVAL_SECS if self._is_terminal else _PLAIN_INTERVAL_SECS
        wait_secs = interval_secs
        while self._sleep(wait_secs):
            began_secs = self._clock.now()
            self._print()
            wait_secs = max(interval_secs, _REST_PER_READ * (self._clock.now() - began_secs))

    def _sleep(self, secs: float) -> bool:
        """Returns whether to go on."""
        deadline_secs = self._clock.now() + secs
        with self._changed:
            while not self._stopped and self._clock.now() < deadline_secs:
                self._clock.wait(self._changed, deadline_secs - self._clock.now())
            return not self._stopped

    def _print(self) -> None:
        try:
            progress = self._read()
        except Exception:  # noqa: BLE001 - a store may raise anything, and the job goes on
            return
        line = progress_line(progress, self._clock.now() - self._started_secs)
        with self._changed:
            if not self._stopped:
                self._stream.write(f"\r\x1b[K{line}" if self._is_terminal else f"{line}\n")
                self._stream.flush()


def say(message: str) -> None:
    """Prints a line for the user."""
    print(message, flush=True)


def complain(message: str) -> None:
    """Prints an error for the user."""
    print(message, file=sys.stderr, flush=True)
