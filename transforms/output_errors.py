"""The error of an output that cannot be written: no matter of one unit, and no record is to blame."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from servable_core.errors import FailedPreconditionError

_REMEDIES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.EROFS: "make it writable",
}


class OutputError(FailedPreconditionError):
    """A file of the output cannot be written; `__cause__` is what the system said."""


@contextmanager
def told_of_output(path: str) -> Iterator[None]:
    """Turns what the system says during the body into an error that names `path`.

    Raises:
        OutputError: The body raised an OSError.
    """
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0)
        raise OutputError(
            f"{path} cannot be written: {type(error).__name__}: {error.strerror or error}{f'; {remedy}' if remedy else ''}"
        ) from error
