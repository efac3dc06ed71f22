"""What the threads of one process share about a job: abort token, counters, units in flight.

FnApiRunner retries nothing, and sibling bundles go on when one has failed; this is how they are
stopped, and how the launcher knows that they have.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from servable_core.runtime.abort_token import AbortToken
from servable_core.runtime.clock import Clock
from transforms.receipt_reader import ReceiptReader


@dataclass(frozen=True, kw_only=True, slots=True)
class JobCounters:
    """Progress of one process.

    Attributes:
        rows: Input rows whose outputs are written, if not yet committed.
        bytes: Input bytes of committed units, and about those of rows written but not committed.
        units: Committed units.
        batches: Model calls of committed units.
        rows_failed: Of `rows`, those that lack the outputs of the model that fails most often.
    """

    rows: int = 0
    bytes: int = 0
    units: int = 0
    batches: int = 0
    rows_failed: int = 0


class JobState:
    """Thread-safe; one per output directory and process."""

    def __init__(self, *, stops_siblings: bool) -> None:
        """Makes the state; `stops_siblings` where nobody would retry a failed unit."""
        self._stops_siblings = stops_siblings
        self.abort = AbortToken()
        # What the launcher read at the start of this run; None in other processes.
        self.receipts: ReceiptReader | None = None
        self._changed = threading.Condition()
        self._rows = 0  # Guarded by _changed, as all below.
        self._bytes = 0
        self._units = 0
        self._batches = 0
        self._rows_failed = 0
        self._num_active = 0
        self._first_failure: str | None = None

    @property
    def first_failure(self) -> str | None:
        """Returns the message of the first unit that failed here, or None."""
        with self._changed:
            return self._first_failure

    def counters(self) -> JobCounters:
        """Returns the counts so far."""
        with self._changed:
            return JobCounters(
                rows=self._rows,
                bytes=self._bytes,
                units=self._units,
                batches=self._batches,
                rows_failed=self._rows_failed,
            )

    def add_rows(self, num_rows: int) -> None:
        """Counts rows; negative ones take back those of an attempt that failed."""
        with self._changed:
            self._rows += num_rows

    def add_failed(self, num_rows: int) -> None:
        """Counts rows that failed; negative ones take back those of an attempt that failed."""
        with self._changed:
            self._rows_failed += num_rows

    def add_bytes(self, size_bytes: int) -> None:
        """Counts input bytes; negative ones take back those of an attempt that failed."""
        with self._changed:
            self._bytes += size_bytes

    def add_unit(self, size_bytes: int, num_batches: int) -> None:
        """Counts a committed unit; `size_bytes` are those that are not counted yet."""
        with self._changed:
            self._units += 1
            self._bytes += size_bytes
            self._batches += num_batches

    def fail(self, message: str) -> None:
        """Notes a failed unit, the first message wins; stops the siblings if that is wanted."""
        with self._changed:
            if self._first_failure is None:
                self._first_failure = message
        if self._stops_siblings:
            self.abort.set(message)

    @contextmanager
    def active_unit(self) -> Iterator[None]:
        """Marks a unit as in flight during the body."""
        with self._changed:
            self._num_active += 1
        try:
            yield
        finally:
            with self._changed:
                self._num_active -= 1
                self._changed.notify_all()

    def wait_until_idle(self, timeout_secs: float, clock: Clock) -> bool:
        """Waits until no unit is in flight; returns False when that takes longer than allowed."""
        deadline_secs = clock.now() + timeout_secs
        with self._changed:
            while self._num_active and clock.now() < deadline_secs:
                clock.wait(self._changed, deadline_secs - clock.now())
            return not self._num_active


_lock = threading.Lock()
_states: dict[str, JobState] = {}  # Guarded by _lock.


def job_state(output: str) -> JobState:
    """Returns this process's state of the job that writes to `output`.

    Where the launcher runs elsewhere the runner retries units, so a failure stops nobody else.
    """
    with _lock:
        return _states.setdefault(output, JobState(stops_siblings=False))


def start_job_state(output: str) -> JobState:
    """Begins a job whose launcher is this process: forgets what an earlier one left behind."""
    with _lock:
        _states[output] = JobState(stops_siblings=True)
        return _states[output]
