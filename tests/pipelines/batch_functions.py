"""Functions that tests name in `--preprocess` and `--postprocess`."""

import threading

import pyarrow as pa
import pyarrow.compute as pc

_PATIENCE_SECS = 20.0


def add_ratio(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Adds `ratio`, a / b."""
    return batch.append_column("ratio", pc.divide(batch.column("a"), batch.column("b")))


def only_ratio(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Returns `ratio` and nothing else."""
    return add_ratio(batch).select(["ratio"])


def add_decision(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Adds `is_high`, whether `score` is above 4.5."""
    return batch.append_column("is_high", pc.greater(batch.column("score"), 4.5))


def drop_first_row(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Breaks the contract: a row is lost."""
    return batch.slice(1)


class Meeting:
    """Where two threads wait for each other once.

    Attributes:
        threads: Those that came.
    """

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self._barrier = threading.Barrier(2)

    def attend(self) -> None:
        """Waits, when a thread comes for the first time, until another one is there, too."""
        thread = threading.get_ident()
        if thread not in self.threads:
            self.threads.add(thread)
            self._barrier.wait(_PATIENCE_SECS)


meeting = Meeting()  # a test puts its own here


def meet_other_unit(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Lets two threads that process units go on only when both do so at the same time."""
    meeting.attend()
    return batch
