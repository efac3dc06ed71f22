"""A small file-system protocol: what the core needs of any storage, and the local one.

Directories of remote stores are prefixes, so the protocol lists files only.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from typing_extensions import override


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class FileInfo:
    """One file as a listing shows it.

    Attributes:
        path: Full path or URI, as `open` takes it.
        size_bytes: Length of the file.
        mtime_secs: Last change in Unix seconds; 0 where the store does not tell.
    """

    path: str
    size_bytes: int
    mtime_secs: float = 0.0


class FileSystem(Protocol):
    """Lists and reads files. Implementations are thread-safe."""

    def list_files(self, directory: str) -> list[FileInfo]:
        """Returns every file below `directory`, at any depth, sorted; empty if there is none."""

    def open(self, path: str) -> BinaryIO:
        """Opens `path` for reading."""

    def local_path(self, path: str) -> str | None:
        """Returns the path in this machine's file system, or None where there is none."""


@runtime_checkable
class DirectoryProbe(Protocol):
    """What a `FileSystem` can do besides, where its directories exist without files in them."""

    def is_directory(self, path: str) -> bool:
        """Returns whether there is a directory at `path`, be it empty."""


class LocalFileSystem(FileSystem, DirectoryProbe):
    """This machine's files; those in inner directories that may not be read are left out."""

    @override
    def list_files(self, directory: str) -> list[FileInfo]:
        return sorted(_walk(directory))

    @override
    def open(self, path: str) -> BinaryIO:
        return Path(path).open("rb")

    @override
    def local_path(self, path: str) -> str | None:
        return path

    @override
    def is_directory(self, path: str) -> bool:
        return Path(path).is_dir()


def directory_exists(file_system: FileSystem, path: str) -> bool:
    """Returns whether a directory that lists no files is there: False where nobody can tell."""
    return isinstance(file_system, DirectoryProbe) and file_system.is_directory(path)


def _walk(directory: str) -> Iterator[FileInfo]:
    def on_error(error: OSError) -> None:
        _check_walk_error(error, directory)

    for parent, _, names in os.walk(directory, onerror=on_error, followlinks=True):
        for name in names:
            path = Path(parent) / name
            try:
                stat = path.stat()
            except FileNotFoundError:  # deleted between listing and stat
                continue
            yield FileInfo(path=str(path), size_bytes=stat.st_size, mtime_secs=stat.st_mtime)


def _check_walk_error(error: OSError, directory: str) -> None:
    """Raises what would make a short listing pass for the truth."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return
    is_inner = error.filename != directory
    if not (isinstance(error, PermissionError) and is_inner):  # such as lost+found
        raise error


def join_path(base: str, *parts: str) -> str:
    """Joins with single slashes; works for local paths and for URIs."""
    return "/".join([base.rstrip("/") or base, *parts]) if parts else base
