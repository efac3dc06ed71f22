"""Changes a file that others read, and perhaps change, at the same time; the former one is kept."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

from servable_core.errors import InvalidArgumentError, NotFoundError
from transforms.storage import is_local, read_bytes, stat_file, write_bytes


def read_whole(path: str, what: str) -> str:
    """Returns the text of a file, its line ends as they are.

    Raises:
        NotFoundError: There is no such file.
        InvalidArgumentError: It is a directory, or is not UTF-8.
    """
    try:
        content = read_bytes(path)
    except IsADirectoryError as error:
        raise InvalidArgumentError(f"{path} is a directory; expected a {what}") from error
    if content is None:
        raise NotFoundError(f"there is no {what} at {path}")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path}: expected a {what} in UTF-8, got bytes") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class FileUpdate:
    """What became of a file.

    Attributes:
        former: Its text before.
        backup: Where that is kept; None where nothing changed.
    """

    former: str
    backup: str | None = None


def update_file(path: str, change: Callable[[str], str], *, what: str) -> FileUpdate:
    """Changes a file, so that whoever reads it finds the former text or the new one, whole.

    A local file is changed by one process at a time, so of two changes none is lost; its links and
    permissions stay. Stores have no locks.

    Args:
        path: The file.
        change: Takes its text and returns the new one; quick, as others wait.
        what: What the file is called in messages.

    Raises:
        NotFoundError: There is no such file.
        InvalidArgumentError: It is not UTF-8.
        OSError: It cannot be written.
    """
    if is_local(path):
        path = os.path.realpath(path)
    with _lock_on(path, what):
        text = read_whole(path, what)
        changed = change(text)
        if changed == text:
            return FileUpdate(former=text)
        backup = _keep(path, text.encode())
        _replace(path, changed.encode())
        return FileUpdate(former=text, backup=backup)


@contextmanager
def _lock_on(path: str, what: str) -> Iterator[None]:
    """Holds the lock of the file that has the name by then: a change gives it to another."""
    if not is_local(path):
        yield
        return
    while True:
        with _open(path, what) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(file, path):
                yield
                return


def _open(path: str, what: str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no {what} at {path}") from error


def _is_at(file: BinaryIO, path: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))  # noqa: PTH116 - as fstat
    return False


def _keep(path: str, content: bytes) -> str:
    """Writes a copy under a name that is free, and returns the name."""
    for number in count(1):
        backup = f"{path}.bak" if number == 1 else f"{path}.bak.{number}"
        if not is_local(path):
            if stat_file(backup) is None:
                write_bytes(os.path.dirname(path), backup, content)  # noqa: PTH120 - may be a URI
                return backup
            continue
        with contextlib.suppress(FileExistsError), Path(backup).open("xb") as copy:
            copy.write(content)
            return backup
    raise AssertionError("unreachable: numbers do not end")


def _replace(path: str, content: bytes) -> None:
    if not is_local(path):
        write_bytes(os.path.dirname(path), path, content)  # noqa: PTH120 - may be a URI
        return
    target = Path(path)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(target, name)
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)
