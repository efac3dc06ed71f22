"""Files wherever Beam's FileSystems reach, with a fast path for local ones.

Committing is atomic: a local file is written under a temporary name and renamed; object stores show
an object only once it is closed, so the final name is written directly.
"""

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from typing_extensions import override

from servable_core.errors import FailedPreconditionError, NotFoundError, ServableCoreError
from servable_core.runtime.file_system import FileInfo, FileSystem, LocalFileSystem
from transforms.output_errors import told_of_output

TEMPORARY_DIRECTORY = "_tmp"
TEMPORARY_NAME = re.compile(r"\d+-[0-9a-f]{32}")  # what create_file calls its files in there
_GLOB_SIGNS = re.compile(r"[*?\[]")


def is_local(path: str) -> bool:
    """Whether `path` lies in this machine's file system."""
    return "://" not in path


def has_glob_signs(path: str) -> bool:
    """Whether `path` may be meant as a glob; it may as well be the name of a file."""
    return _GLOB_SIGNS.search(path) is not None


def absolute_path(path: str) -> str:
    """Returns a local path made absolute, so that it means the same in every process."""
    return os.path.abspath(path) if is_local(path) else path.rstrip("/")  # noqa: PTH100 - keeps links


class BeamFileSystem(FileSystem):
    """Any file system registered with Beam, chosen by the path's scheme."""

    @override
    def list_files(self, directory: str) -> list[FileInfo]:
        prefix = directory.rstrip("/") + "/"
        if not has_glob_signs(prefix):
            return match_files(f"{prefix}**")
        found = match_files(_GLOB_SIGNS.sub("?", prefix) + "**")  # Beam has no way to quote them
        return [each for each in found if each.path.startswith(prefix)]

    @override
    def open(self, path: str) -> BinaryIO:
        from apache_beam.io.filesystem import BeamIOError, CompressionTypes
        from apache_beam.io.filesystems import FileSystems

        stream: BinaryIO
        try:
            stream = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
        except BeamIOError as error:  # some stores tell so that there is no such file
            if FileSystems.exists(path):
                raise
            raise FileNotFoundError(f"no such file: {path}") from error
        return stream

    @override
    def local_path(self, path: str) -> str | None:
        return None


def file_system_for(path: str) -> FileSystem:
    """Returns the file system that `path` lies in."""
    return LocalFileSystem() if is_local(path) else BeamFileSystem()


def match_files(pattern: str) -> list[FileInfo]:
    """Returns the files that match a Beam glob (`*`, `?`, `[...]`, and `**` across directories)."""
    from apache_beam.io.filesystem import BeamIOError
    from apache_beam.io.filesystems import FileSystems

    try:
        found = FileSystems.match([pattern])[0].metadata_list
    except BeamIOError as error:
        raise NotFoundError(f"{pattern} cannot be listed: {error}") from error
    return sorted(_file_info(each) for each in found)


def _file_info(metadata: Any) -> FileInfo:
    return FileInfo(
        path=metadata.path,
        size_bytes=int(metadata.size_in_bytes),
        mtime_secs=float(metadata.last_updated_in_seconds or 0.0),
    )


def stat_file(path: str) -> FileInfo | None:
    """Returns the file of exactly this name, glob signs and all, or None when there is none."""
    if is_local(path):
        return _stat_local(Path(path))
    from apache_beam.io.filesystem import BeamIOError
    from apache_beam.io.filesystems import FileSystems

    try:
        file_system = FileSystems.get_filesystem(path)
        return _file_info(file_system.metadata(path)) if file_system.exists(path) else None
    except BeamIOError as error:
        raise NotFoundError(f"{path} cannot be looked up: {error}") from error


def _stat_local(path: Path) -> FileInfo | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if path.is_dir():
        return None
    return FileInfo(path=str(path), size_bytes=status.st_size, mtime_secs=status.st_mtime)


def read_bytes(path: str) -> bytes | None:
    """Returns the file's content, or None when there is no such file."""
    if is_local(path):
        try:
            return Path(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
    from apache_beam.io.filesystems import FileSystems

    if not FileSystems.exists(path):
        return None
    with BeamFileSystem().open(path) as stream:
        return stream.read()


def write_bytes(root: str, path: str, content: bytes) -> None:
    """Writes a small file atomically; `root` is the output directory that `path` lies in."""
    with create_file(root, path) as sink:
        sink.write(content)


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFile:
    """A file as it was committed.

    Attributes:
        size_bytes: Its length.
        sha256: Hex digest of its content.
    """

    size_bytes: int
    sha256: str


class _Nowhere:
    def write(self, content: Any) -> None:
        """Drops `content`."""

    def close(self) -> None:
        """Does nothing."""


class DigestingSink:
    """A writable binary file that counts and hashes what passes. One thread at a time.

    All methods that write raise OutputError, with `path`, where the system refuses.
    """

    def __init__(self, raw: Any, path: str) -> None:
        self._raw = raw
        self._path = path
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self.closed = False
        self.is_withheld = False

    def write(self, content: Any) -> int:
        """Writes `content`, any bytes-like object."""
        with told_of_output(self._path):
            self._raw.write(content)
        self._digest.update(content)
        self._size_bytes += len(content)
        return len(content)

    def flush(self) -> None:
        """Does nothing: the file is complete when it is closed."""

    def tell(self) -> int:
        """Returns the bytes written so far."""
        return self._size_bytes

    def close(self) -> None:
        """Closes the file below."""
        self.closed = True
        with told_of_output(self._path):
            self._raw.close()

    def withhold(self) -> None:
        """Lets no file be there in the end, although all went well: there is nothing in it."""
        self.is_withheld = True

    def discard(self) -> None:
        """Closes the file below; what is written from here on goes nowhere."""
        raw, self._raw = self._raw, _Nowhere()
        with contextlib.suppress(OSError):  # what it still held need not be written
            raw.close()

    def written(self) -> WrittenFile:
        """Returns size and digest of all that was written."""
        return WrittenFile(size_bytes=self._size_bytes, sha256=self._digest.hexdigest())

    def writable(self) -> bool:
        """Returns True, as pyarrow asks."""
        return True

    def readable(self) -> bool:
        """Returns False, as pyarrow asks."""
        return False

    def seekable(self) -> bool:
        """Returns False, as pyarrow asks."""
        return False


@contextmanager
def create_file(root: str, path: str) -> Iterator[DigestingSink]:
    """Creates `path` below `root`, visible only once the body is through; nothing new if it fails.

    An older file of that name is replaced; by none if the new one is withheld.

    Raises:
        OutputError: The system refuses.
        FailedPreconditionError: The older file cannot be deleted.
    """
    if not is_local(path):
        with _create_remote(path) as sink:
            yield sink
        return
    temporary = Path(root) / TEMPORARY_DIRECTORY / f"{os.getpid()}-{uuid.uuid4().hex}"
    with told_of_output(path):
        temporary.parent.mkdir(parents=True, exist_ok=True)
        sink = DigestingSink(temporary.open("wb"), path)
    try:
        yield sink
        sink.close()
        if sink.is_withheld:
            delete_file(path)
        else:
            _give_name(temporary, path)
    finally:
        sink.discard()
        with contextlib.suppress(OSError):  # an error that led here is the one to tell
            temporary.unlink(missing_ok=True)


def _give_name(temporary: Path, path: str) -> None:
    with told_of_output(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)


@contextmanager
def _create_remote(path: str) -> Iterator[DigestingSink]:
    """Spools on this machine and uploads at the end: a store's writer cannot be closed unfinished."""
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    with tempfile.TemporaryFile() as spool:
        yield (sink := DigestingSink(spool, path))
        if sink.is_withheld:
            delete_file(path)
            return
        with told_of_output(path), _deleting_if_cut_off(path):
            spool.seek(0)
            with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as remote:
                shutil.copyfileobj(spool, remote, 1 << 20)
        sink.closed = True


@contextmanager
def _deleting_if_cut_off(path: str) -> Iterator[None]:
    """Deletes `path` if the body fails: leaving a store's writer, even so, makes an object of its half."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # the error that led here is the one to tell
            delete_file(path)
        raise


def delete_tree(directory: str) -> None:
    """Deletes everything below `directory`, and itself where it is local; of a link, only the link.

    Raises:
        FailedPreconditionError: Something in there cannot be deleted.
    """
    with _telling_what_stays(directory):
        if is_local(directory):
            _delete_local(Path(directory))
        else:
            _delete_remote([each.path for each in BeamFileSystem().list_files(directory)])


def discard_tree(directory: str) -> None:
    """Deletes what nobody will read, as far as that can be done."""
    with contextlib.suppress(ServableCoreError):
        delete_tree(directory)


def delete_file(path: str) -> None:
    """Deletes a file, if it is there.

    Raises:
        FailedPreconditionError: It cannot be deleted.
    """
    with _telling_what_stays(path):
        if is_local(path):
            Path(path).unlink(missing_ok=True)
        elif stat_file(path) is not None:
            _delete_remote([path])


@contextmanager
def _telling_what_stays(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # Beam's errors are of this kind, too
        raise FailedPreconditionError(
            f"{path} cannot be deleted: {error}; delete it yourself, then give the same command again"
        ) from error


def _delete_local(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.exists():
        shutil.rmtree(path)


def _delete_remote(paths: list[str]) -> None:
    from apache_beam.io.filesystems import FileSystems

    if paths:
        FileSystems.delete(paths)
