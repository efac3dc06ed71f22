"""Functions for `--preprocess` and `--postprocess` that misbehave as environment variables tell them.

Without variables they change nothing, so a job can be resumed with the functions that its plan names.
"""

import os
import signal
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

KILL_AT_BATCH = "ROBUSTNESS_KILL_AT_BATCH"  # number of the output batch, from 1
SECS_PER_BATCH = "ROBUSTNESS_SECS_PER_BATCH"
STARTED_FILE = "ROBUSTNESS_STARTED_FILE"  # written when the first output batch comes
FAIL_AT_ID = "ROBUSTNESS_FAIL_AT_ID"
FAIL_IDS = "ROBUSTNESS_FAIL_IDS"  # "from:to"
CALM_FILE = "ROBUSTNESS_CALM_FILE"  # the failing batch waits for this file first

_lock = threading.Lock()
_num_batches = 0


def preprocess(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Raises for a batch that holds the row FAIL_AT_ID, or one of FAIL_IDS."""
    fail_at = os.environ.get(FAIL_AT_ID)
    first, _, end = os.environ.get(FAIL_IDS, "0:0").partition(":")
    if set(range(int(first), int(end))).intersection(batch["id"].to_pylist()):
        raise ValueError("cannot make sense of these rows")
    if fail_at is not None and pc.any(pc.equal(batch["id"], int(fail_at))).as_py():
        _wait_for(os.environ.get(CALM_FILE))
        raise ValueError(f"cannot make sense of row {fail_at}")
    return batch


def postprocess(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Kills the process at the batch KILL_AT_BATCH, and takes SECS_PER_BATCH for each."""
    global _num_batches  # noqa: PLW0603 - counts over all threads of the process
    with _lock:
        _num_batches += 1
        number = _num_batches
    started_file = os.environ.get(STARTED_FILE)
    if started_file is not None:
        Path(started_file).touch()
    if number == int(os.environ.get(KILL_AT_BATCH, "0")):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(float(os.environ.get(SECS_PER_BATCH, "0")))
    return batch


def _wait_for(path: str | None) -> None:
    deadline_secs = time.monotonic() + 30
    while path is not None and not Path(path).exists() and time.monotonic() < deadline_secs:
        time.sleep(0.01)


def num_batches() -> int:
    """Returns how many output batches this process has seen."""
    with _lock:
        return _num_batches
