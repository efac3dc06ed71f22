"""A file system in memory whose files appear, change and vanish as a test says."""

import io
import threading
from typing import BinaryIO

from typing_extensions import override

from servable_core.runtime.file_system import DirectoryProbe, FileInfo, FileSystem


class FakeFileSystem(FileSystem, DirectoryProbe):
    """Holds files by path; thread-safe. As on local disks, directories may be empty.

    Args:
        mtime_secs: Time of change of files written without one.
    """

    def __init__(self, mtime_secs: float = 1_600_000_000.0) -> None:
        self._mtime_secs = mtime_secs
        self._lock = threading.Lock()
        self._files: dict[str, tuple[bytes, float]] = {}  # Guarded by _lock.
        self._directories: set[str] = set()  # Guarded by _lock.
        self._errors: dict[str, Exception] = {}  # Guarded by _lock.
        self._num_listings = 0  # Guarded by _lock.

    @property
    def num_listings(self) -> int:
        """Calls of `list_files` so far."""
        with self._lock:
            return self._num_listings

    def write(self, path: str, content: bytes = b"x", *, mtime_secs: float | None = None) -> None:
        """Makes the file at `path`, or replaces it."""
        mtime = self._mtime_secs if mtime_secs is None else mtime_secs
        with self._lock:
            self._files[path] = (content, mtime)

    def make_directory(self, path: str) -> None:
        """Makes a directory that stays when it has no files."""
        with self._lock:
            self._directories.add(path.rstrip("/"))

    def remove_tree(self, path: str) -> None:
        """Removes the file or directory at `path` with all that is below it."""
        with self._lock:
            self._files = {each: file for each, file in self._files.items() if not _in(each, path)}
            self._directories = {each for each in self._directories if not _in(each, path)}

    def rename(self, path: str, new_path: str) -> None:
        """Moves the file or directory at `path`; times of change stay."""
        with self._lock:
            self._files = {
                new_path + each[len(path) :] if _in(each, path) else each: file
                for each, file in self._files.items()
            }

    def fail_listing(self, directory: str, error: Exception | None) -> None:
        """Lets `list_files(directory)` raise `error` until this is called with None."""
        with self._lock:
            if error is None:
                self._errors.pop(directory, None)
            else:
                self._errors[directory] = error

    @override
    def list_files(self, directory: str) -> list[FileInfo]:
        with self._lock:
            self._num_listings += 1
            if directory in self._errors:
                raise self._errors[directory]
            return sorted(
                FileInfo(path=path, size_bytes=len(content), mtime_secs=mtime)
                for path, (content, mtime) in self._files.items()
                if _in(path, directory)
            )

    @override
    def open(self, path: str) -> BinaryIO:
        with self._lock:
            if path not in self._files:
                raise FileNotFoundError(path)
            return io.BytesIO(self._files[path][0])

    @override
    def local_path(self, path: str) -> str | None:
        return None

    @override
    def is_directory(self, path: str) -> bool:
        with self._lock:
            return any(_in(each, path) for each in (*self._files, *self._directories))


def _in(path: str, directory: str) -> bool:
    base = directory.rstrip("/")
    return path == base or path.startswith(base + "/")
