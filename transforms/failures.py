"""How a unit's failure is told: one clear message, with the traceback in a file beside the output."""

import contextlib
import errno
import traceback

from servable_core.errors import AbortedError, ServableCoreError, UnavailableError
from transforms.output_errors import OutputError
from transforms.plan import Plan
from transforms.storage import read_bytes, write_bytes
from transforms.unit_table import Unit

ERRORS_DIRECTORY = "_errors"
FIRST_ERROR_FILE = f"{ERRORS_DIRECTORY}/first.txt"
_PERMANENT_ERRNOS = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.ENOSPC,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.EROFS,
        errno.EDQUOT,
    }
)


class UnitFailedError(ServableCoreError):
    """A unit of a job failed; the message names it and the cause."""


def is_transient(error: Exception) -> bool:
    """Whether an input or output error may pass by itself, so that the unit is worth a retry."""
    if isinstance(error, OutputError) and isinstance(error.__cause__, Exception):
        return is_transient(error.__cause__)
    if isinstance(error, UnavailableError):
        return True
    if isinstance(error, ServableCoreError):
        return False
    if isinstance(error, OSError):
        return error.errno not in _PERMANENT_ERRNOS
    return type(error).__name__ == "BeamIOError"  # what Beam's file systems raise for any cause


def describe_failure(unit: Unit, plan: Plan, error: BaseException) -> str:
    """Returns one line: which unit, what it reads, and why it failed."""
    first = plan.inputs[unit.ranges[0].file_index].path
    others = len({each.file_index for each in unit.ranges}) - 1
    source = f"{first} and {others} more files" if others else first
    cause = (
        str(error) if isinstance(error, ServableCoreError) else f"{type(error).__name__}: {error}"
    )
    return f"unit {unit.index} of {len(plan.units)} ({source}) failed: {cause}"


def record_failure(
    output: str, unit: Unit, message: str, error: BaseException, *, stops_job: bool = True
) -> None:
    """Writes message and traceback below `output`, for the user, and to stop the other workers.

    As far as that can be done: what kept the unit from writing may keep this from it, too.
    """
    if isinstance(error, AbortedError):
        return
    with contextlib.suppress(OutputError):
        _write_failure(output, unit, message, error, stops_job=stops_job)


def _write_failure(
    output: str, unit: Unit, message: str, error: BaseException, *, stops_job: bool
) -> None:
    trace = "".join(traceback.format_exception(error))
    content = f"{message}\n\n{trace}".encode()
    write_bytes(output, f"{output}/{unit_error_path(unit.index)}", content)
    if stops_job and read_bytes(f"{output}/{FIRST_ERROR_FILE}") is None:
        write_bytes(output, f"{output}/{FIRST_ERROR_FILE}", message.encode())


def unit_error_path(unit_index: int) -> str:
    """Returns where a unit's failure is written, relative to the output directory."""
    return f"{ERRORS_DIRECTORY}/unit-{unit_index:05d}.txt"


def read_unit_failure(output: str, unit_index: int) -> str:
    """Returns the message of a unit that failed; empty if nothing was written."""
    content = read_bytes(f"{output}/{unit_error_path(unit_index)}") or b""
    return content.decode().partition("\n\n")[0]


def read_first_failure(output: str) -> str | None:
    """Returns the message that a worker, perhaps in another process, recorded first."""
    content = read_bytes(f"{output}/{FIRST_ERROR_FILE}")
    return None if content is None else content.decode()
