"""The one right to write to an output directory, and what happens to a job that loses it."""

import contextlib
import fcntl
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TextIO

from pipelines.job_run import JobFailedError
from pipelines.remote_lock import remote_lock
from servable_core.errors import Code, InvalidArgumentError, UnavailableError
from servable_core.runtime.clock import Clock
from transforms.plan_files import PLAN_DIRECTORY
from transforms.storage import is_local

LOCK_FILE = "lock"  # of local directories, in PLAN_DIRECTORY


class LockLostError(JobFailedError):
    """Another job has taken the output directory over, so this one has stopped."""

    code = Code.ABORTED


class OutputLock:
    """A lock that is held, but may be lost. Thread-safe."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._message: str | None = None  # Guarded by _lock, as is the next.
        self._stop: Callable[[str], None] | None = None

    def lose(self, new_owner: str) -> None:
        """Notes that `new_owner` has the lock from here on, and stops what is to be stopped."""
        with self._lock:
            self._message = f"--output={self._output} was taken over by {new_owner}, so this job has stopped and commits nothing more; let that one end before you go on"
            if self._stop is not None:
                self._stop(self._message)

    @contextmanager
    def stopping(self, stop: Callable[[str], None]) -> Iterator[None]:
        """Has `stop` called with a message if the lock is lost by the end of the body.

        Args:
            stop: Quick, for it is called under a lock, from any thread.
        """
        with self._lock:
            self._stop = stop
            if self._message is not None:
                stop(self._message)
        try:
            yield
        finally:
            with self._lock:
                self._stop = None

    @property
    def is_lost(self) -> bool:
        """Whether another job has the directory, as far as is known."""
        with self._lock:
            return self._message is not None

    def check(self) -> None:
        """Checks that the lock is still held, as far as is known.

        Raises:
            LockLostError: It is not.
        """
        with self._lock:
            message = self._message
        if message is not None:
            raise LockLostError(message)


@contextmanager
def locked(output: str, *, take_over: bool, clock: Clock) -> Iterator[OutputLock]:
    """Holds the one right to write to `output` during the body.

    Local directories are locked by the operating system, so a killed job's lock is gone with it.
    Elsewhere a claim is refreshed while the job is launched; one that has not been refreshed for
    three minutes is taken. What that guarantees, and what not, `remote_lock` says.

    Raises:
        UnavailableError: Another job holds it.
        InvalidArgumentError: The directory cannot be written.
        LockLostError: It was lost during the body, whatever the body raised or returned.
    """
    lock = OutputLock(output)
    with _held(output, take_over, clock, lock.lose):
        try:
            yield lock
        except BaseException as error:
            try:
                lock.check()
            except LockLostError as lost:
                raise lost from error
            raise
        lock.check()


def _held(
    output: str, take_over: bool, clock: Clock, on_lost: Callable[[str], None]
) -> AbstractContextManager[None]:
    owner = f"process {os.getpid()} on {socket.gethostname()}"
    if is_local(output):
        return _local_lock(output, owner)
    return remote_lock(
        output,
        PLAN_DIRECTORY,
        f"{owner} ({uuid.uuid4().hex[:8]})",
        take_over=take_over,
        clock=clock,
        on_lost=on_lost,
    )


@contextmanager
def _local_lock(output: str, owner: str) -> Iterator[None]:
    """Locks a file. Who is named in it only matters to messages: the system knows whether he lives."""
    try:
        stream = _locked_file(output)
    except OSError as error:
        raise InvalidArgumentError(f"--output={output} cannot be written: {error}") from error
    with stream:
        with contextlib.suppress(OSError):  # the job itself will tell that the disk is full
            os.ftruncate(stream.fileno(), 0)
            os.write(stream.fileno(), f"{owner}\n".encode())
        yield


def _locked_file(output: str) -> TextIO:
    path = Path(output) / PLAN_DIRECTORY / LOCK_FILE
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+")
        try:
            _lock(stream, output)
            if _is_at(stream, path):
                return stream
        except BaseException:
            stream.close()
            raise
        stream.close()  # it was deleted with what its holder cleared away


def _lock(stream: TextIO, output: str) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        stream.seek(0)
        raise UnavailableError(
            f"--output={output} is being written by another job ({stream.read().strip() or 'of unknown owner'}); wait for it, or choose another directory"
        ) from error


def _is_at(stream: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False
