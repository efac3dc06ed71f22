"""The state of an output directory, and the right to write to it."""

import contextlib
import fcntl
import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servable_core.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    UnavailableError,
)
from servable_core.runtime.clock import Clock
from servable_core.runtime.executor import start_thread
from transforms.failures import ERRORS_DIRECTORY
from transforms.finalize import MANIFEST_FILE, SUCCESS_FILE
from transforms.plan import PLAN_DIRECTORY, Plan, read_plan
from transforms.receipts import UNITS_DIRECTORY
from transforms.storage import (
    TEMPORARY_DIRECTORY,
    delete_tree,
    file_system_for,
    is_local,
    read_bytes,
    write_bytes,
)

_LOCK_FILE = f"{PLAN_DIRECTORY}/lock"
_HEARTBEAT_SECS = 30.0
_STALE_SECS = 180.0
_MODEL_PREFIX = "model_name="
_OWN_NAMES = frozenset(
    {
        PLAN_DIRECTORY,
        UNITS_DIRECTORY,
        TEMPORARY_DIRECTORY,
        ERRORS_DIRECTORY,
        MANIFEST_FILE,
        SUCCESS_FILE,
    }
)


def is_complete(output: str) -> bool:
    """Whether the job that writes to `output` is done."""
    return read_bytes(f"{output}/{SUCCESS_FILE}") is not None


def check_usable(output: str, if_exists: str) -> Plan | None:
    """Checks the directory against `--if_exists` and returns the plan to resume, if any.

    Changes nothing.

    Raises:
        AlreadyExistsError: It holds a job, and `if_exists` is "error".
        FailedPreconditionError: It holds something that is no job of ours.
        InvalidArgumentError: It is a file.
    """
    if is_local(output) and Path(output).exists() and not Path(output).is_dir():
        raise InvalidArgumentError(
            f"--output={output} is a file; expected a directory, new or empty"
        )
    names = _entries(output)
    plan = _readable_plan(output, if_exists)
    foreign = sorted(name for name in names if not _is_own(name))
    if plan is None:
        leftovers = sorted(name for name in names if name.startswith(_MODEL_PREFIX))
        if foreign or leftovers:
            raise FailedPreconditionError(
                f"--output={output} is not empty and holds no plan of an earlier job (it has {', '.join([*foreign, *leftovers][:3])}); choose another directory or empty it"
            )
        return None
    if if_exists == "error":
        state = "a finished job" if is_complete(output) else "an unfinished job"
        raise AlreadyExistsError(
            f"--output={output} holds {state}; continue it with --if_exists=resume, replace it with --if_exists=overwrite, or choose another directory"
        )
    return plan if if_exists == "resume" else None


def _readable_plan(output: str, if_exists: str) -> Plan | None:
    try:
        return read_plan(output)
    except FailedPreconditionError:
        if if_exists == "overwrite":
            return Plan.__new__(Plan)  # it is there, and will be deleted unread
        raise


def _entries(output: str) -> list[str]:
    """Returns the names at the top of `output`."""
    if is_local(output):
        path = Path(output)
        return [each.name for each in path.iterdir()] if path.is_dir() else []
    prefix = output.rstrip("/") + "/"
    paths = [each.path for each in file_system_for(output).list_files(output)]
    return sorted({path.removeprefix(prefix).split("/")[0] for path in paths})


def _is_own(name: str) -> bool:
    return name in _OWN_NAMES or name.startswith(_MODEL_PREFIX)


def clear(output: str) -> None:
    """Deletes what an earlier job left in `output`, and nothing else; the lock stays held.

    `_SUCCESS` goes first and the plan last, so a deletion that is cut short leaves an unfinished job,
    not one that seems done, nor data that nobody knows.
    """
    declare_unfinished(output)
    names = _entries(output)
    for name in names:
        if _is_own(name) and name != PLAN_DIRECTORY:
            delete_tree(f"{output}/{name}")
    if PLAN_DIRECTORY in names:
        _clear_plan(f"{output}/{PLAN_DIRECTORY}")


def declare_unfinished(output: str) -> None:
    """Deletes the files that say that the job in `output` is done."""
    for name in (SUCCESS_FILE, MANIFEST_FILE):
        if read_bytes(f"{output}/{name}") is not None:
            _delete_file(f"{output}/{name}")


def clear_scratch(output: str) -> None:
    """Deletes what a killed run left half-written, and its error reports."""
    delete_tree(f"{output}/{TEMPORARY_DIRECTORY}")
    delete_tree(f"{output}/{ERRORS_DIRECTORY}")


def _clear_plan(directory: str) -> None:
    for each in file_system_for(directory).list_files(directory):
        if not each.path.endswith(f"/{_LOCK_FILE}"):
            _delete_file(each.path)


def _delete_file(path: str) -> None:
    if is_local(path):
        Path(path).unlink(missing_ok=True)
        return
    from apache_beam.io.filesystems import FileSystems

    FileSystems.delete([path])


@contextmanager
def locked(output: str, *, take_over: bool, clock: Clock) -> Iterator[None]:
    """Holds the one right to write to `output` during the body.

    Local directories are locked by the operating system, so a killed job's lock is gone with it.
    Elsewhere a record is refreshed while the job is launched; one that has not been refreshed for
    three minutes is taken.

    Raises:
        UnavailableError: Another job holds it.
        InvalidArgumentError: The directory cannot be written.
    """
    try:
        with _local_lock(output) if is_local(output) else _remote_lock(output, take_over, clock):
            yield
    except PermissionError as error:
        raise InvalidArgumentError(f"--output={output} cannot be written: {error}") from error


@contextmanager
def _local_lock(output: str) -> Iterator[None]:
    path = Path(output) / _LOCK_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+")
    except OSError as error:
        raise InvalidArgumentError(f"--output={output} cannot be written: {error}") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            stream.seek(0)
            raise UnavailableError(
                f"--output={output} is being written by another job ({stream.read().strip() or 'of unknown owner'}); wait for it, or choose another directory"
            ) from error
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        stream.flush()
        yield


@contextmanager
def _remote_lock(output: str, take_over: bool, clock: Clock) -> Iterator[None]:
    path = f"{output}/{_LOCK_FILE}"
    owner = f"process {os.getpid()} on {socket.gethostname()} ({uuid.uuid4().hex[:8]})"
    content = read_bytes(path)
    if content is not None and not take_over:
        record = json.loads(content)
        age_secs = clock.wall_time() - record["refreshed_secs"]
        if age_secs < _STALE_SECS:
            raise UnavailableError(
                f"--output={output} is being written by {record['owner']}, last seen {age_secs:.0f} s ago; wait for it, or give --take_over if it is gone for sure"
            )
    heartbeat = _Heartbeat(output, path, owner, clock)
    try:
        yield
    finally:
        heartbeat.stop()


class _Heartbeat:
    """Refreshes a lock record from a thread until it is stopped; then the record goes."""

    def __init__(self, output: str, path: str, owner: str, clock: Clock) -> None:
        self._output, self._path, self._owner, self._clock = output, path, owner, clock
        self._changed = threading.Condition()
        self._stopped = False  # Guarded by _changed.
        self._write()
        self._thread = start_thread(self._run, name="output_lock_heartbeat")

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()
        with contextlib.suppress(Exception):  # a stale record is taken over anyway
            _delete_file(self._path)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._stopped:
                    self._clock.wait(self._changed, _HEARTBEAT_SECS)
                if self._stopped:
                    return
            self._write()

    def _write(self) -> None:
        record = {"owner": self._owner, "refreshed_secs": self._clock.wall_time()}
        write_bytes(self._output, self._path, json.dumps(record).encode())
