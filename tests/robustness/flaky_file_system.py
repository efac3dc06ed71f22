"""The object store in memory, registered as `flaky://`, with accesses that fail when a test says so."""

import threading
from collections import Counter, defaultdict, deque

from apache_beam.io.filesystem import CompressionTypes

from tests.memory_file_system import MemoryFileSystem

_lock = threading.Lock()
_faults: defaultdict[tuple[str, str], deque[Exception | None]] = defaultdict(deque)
_attempts: Counter[tuple[str, str]] = Counter()


def plan_faults(action: str, path: str, faults: list[Exception | None]) -> None:
    """Gives the errors of the next accesses to `path`, in order; None succeeds.

    Args:
        action: "open", "read" (of a file that could be opened), "create" or "upload" (at close).
        path: Whole path of the object.
        faults: As many as the accesses to decide; later ones succeed.
    """
    with _lock:
        _faults[action, path].extend(faults)


def attempts(action: str, path: str) -> int:
    """Returns how often something was attempted."""
    with _lock:
        return _attempts[action, path]


def num_faults_left() -> int:
    """Returns how many planned errors have not been raised."""
    with _lock:
        return sum(fault is not None for planned in _faults.values() for fault in planned)


def forget() -> None:
    """Forgets faults and counts."""
    with _lock:
        _faults.clear()
        _attempts.clear()


def _attempt(action: str, path: str) -> None:
    with _lock:
        _attempts[action, path] += 1
        planned = _faults[action, path]
        fault = planned.popleft() if planned else None
    if fault is not None:
        raise fault


class FlakyFileSystem(MemoryFileSystem):
    """Thread-safe."""

    @classmethod
    def scheme(cls):
        return "flaky"

    def open(
        self,
        path,
        mime_type="application/octet-stream",
        compression_type=CompressionTypes.AUTO,
    ):
        _attempt("open", path)
        stream = super().open(path, mime_type, compression_type)
        read = stream.read

        def flaky_read(size=-1):
            _attempt("read", path)
            return read(size)

        stream.read = flaky_read
        return stream

    def create(
        self,
        path,
        mime_type="application/octet-stream",
        compression_type=CompressionTypes.AUTO,
    ):
        _attempt("create", path)
        stream = super().create(path, mime_type, compression_type)
        close = stream.close

        def flaky_close():
            if not stream.closed:
                _attempt("upload", path)
            close()

        stream.close = flaky_close
        return stream
