"""Faults at a given moment in the life of a file: the process is killed, or the system refuses.

Every file of a job is written under a temporary name, so its moments are: half of a write is done; the
file is whole, but has not got its name; it has just got its name.
"""

import os
import re
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from transforms.storage import DigestingSink

MOMENTS = ("writing", "committing", "committed")
KILL = 0


@dataclass(frozen=True, kw_only=True)
class FileFault:
    """What happens, and when.

    Attributes:
        moment: One of `MOMENTS`.
        path: Regular expression that is looked for in the file's path.
        number: Which moment of that kind, counted from 1 over all such files.
        error: What the system says, such as `errno.ENOSPC`; `KILL` for SIGKILL.
        lasts: Whether all later ones fail, too, as on a disk that stays full.
    """

    moment: str
    path: str
    number: int = 1
    error: int = KILL
    lasts: bool = False


class _Fault:
    """Thread-safe. The lock is held while the process is killed, so that no other thread gets on."""

    def __init__(self, fault):
        self._fault = fault
        self._lock = threading.Lock()
        self.num_met = 0  # Guarded by _lock.

    def meet(self, moment, path):
        """Counts the moment and brings on the fault if this is its time."""
        with self._lock:
            if moment == self._fault.moment and re.search(self._fault.path, path):
                self.num_met += 1
                if self._is_due():
                    self._happen(path)

    def _is_due(self):
        late = self.num_met - self._fault.number
        return late == 0 or (self._fault.lasts and late > 0)

    def _happen(self, path):
        if self._fault.error == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(self._fault.error, os.strerror(self._fault.error), path)


class _FaultyFile:
    """Writes half, then meets the fault."""

    def __init__(self, raw, fault, path):
        self._raw, self._fault, self._path = raw, fault, path

    def write(self, content):
        octets = memoryview(content).cast("B")
        half = len(octets) // 2
        self._raw.write(octets[:half])
        self._raw.flush()
        self._fault.meet("writing", self._path)
        self._raw.write(octets[half:])

    def close(self):
        self._raw.close()


@contextmanager
def file_fault(fault):
    """Brings on the fault during the body; yields what counts `num_met`, the moments that were met."""
    planned = _Fault(fault)
    open_sink, replace = DigestingSink.__init__, Path.replace

    def open_faulty(sink, raw, path):
        open_sink(sink, _FaultyFile(raw, planned, path), path)

    def faulty_replace(temporary, path):
        planned.meet("committing", str(path))
        replace(temporary, path)
        planned.meet("committed", str(path))

    DigestingSink.__init__, Path.replace = open_faulty, faulty_replace
    try:
        yield planned
    finally:
        DigestingSink.__init__, Path.replace = open_sink, replace
