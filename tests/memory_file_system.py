"""An object store in memory, registered with Beam as `mem://`, that counts what is read of each file.

Importing this module registers it. Like a real store it has no directories, shows an object only
once its writer is closed, and refuses to open what is not there.
"""

import io
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import (
    BeamIOError,
    CompressionTypes,
    FileMetadata,
    FileSystem,
)

_lock = threading.Lock()
_objects: dict[str, bytes] = {}  # Guarded by _lock, as all below.
_versions: Counter[str] = Counter()
_opens: Counter[str] = Counter()
_bytes_read: Counter[str] = Counter()


def put(path: str, content: bytes) -> None:
    """Stores an object."""
    with _lock:
        _objects[path] = content
        _versions[path] += 1


def put_table(path: str, table: pa.Table) -> None:
    """Stores a table as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    put(path, sink.getvalue())


def content(path: str) -> bytes:
    """Returns an object, uncounted."""
    with _lock:
        return _objects[path]


def put_tree(directory: str | Path, path: str) -> None:
    """Stores every file below a local directory, below `path`."""
    for each in sorted(Path(directory).rglob("*")):
        if each.is_file():
            put(f"{path}/{each.relative_to(directory).as_posix()}", each.read_bytes())


def get_tree(path: str, directory: Path) -> None:
    """Writes all objects below `path` to a local directory."""
    for name in paths(path):
        target = directory / name.removeprefix(f"{path}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content(name))


def paths(prefix: str) -> list[str]:
    """Returns the paths of the objects that begin with `prefix`."""
    with _lock:
        return sorted(each for each in _objects if each.startswith(prefix))


def clear() -> None:
    """Forgets all objects and counts."""
    with _lock:
        for each in (_objects, _versions, _opens, _bytes_read):
            each.clear()


def reset_counts() -> None:
    """Counts from zero again."""
    with _lock:
        _opens.clear()
        _bytes_read.clear()


def opens(path: str) -> int:
    """Returns how often the object was opened for reading."""
    with _lock:
        return _opens[path]


def bytes_read(path: str) -> int:
    """Returns how many bytes of the object were read, those read twice counted twice."""
    with _lock:
        return _bytes_read[path]


class _Reader(io.BytesIO):
    """Counts the bytes that leave it, whichever way."""

    def __init__(self, path: str, content: bytes) -> None:
        super().__init__(content)
        self._path = path

    def read(self, size: int | None = -1, /) -> bytes:
        return self._counted(super().read(size))

    def read1(self, size: int | None = -1, /) -> bytes:
        return self._counted(super().read1(size))

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._counted(super().readline(size))

    def readinto(self, buffer, /) -> int:
        count = super().readinto(buffer)
        self._count(count)
        return count

    def readinto1(self, buffer, /) -> int:
        return self.readinto(buffer)

    def getvalue(self) -> bytes:
        raise io.UnsupportedOperation("a store's reader has no getvalue")

    def getbuffer(self) -> memoryview:
        raise io.UnsupportedOperation("a store's reader has no getbuffer")

    def _counted(self, content: bytes) -> bytes:
        self._count(len(content))
        return content

    def _count(self, size: int) -> None:
        with _lock:
            _bytes_read[self._path] += size


class _Writer(io.BytesIO):
    """The object appears when it is closed."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def close(self) -> None:
        if not self.closed:
            put(self._path, super().getvalue())
        super().close()


class MemoryFileSystem(FileSystem):
    """Beam's view of the objects; thread-safe."""

    @classmethod
    def scheme(cls):
        return "mem"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *(each.strip("/") for each in paths)])

    def split(self, path):
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path):
        pass

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix) -> Iterator[FileMetadata]:
        return iter([self.metadata(each) for each in paths(dir_or_prefix)])

    def create(
        self,
        path,
        mime_type="application/octet-stream",
        compression_type=CompressionTypes.AUTO,
    ):
        return _Writer(path)

    def open(
        self,
        path,
        mime_type="application/octet-stream",
        compression_type=CompressionTypes.AUTO,
    ):
        content = self._content(path)
        with _lock:
            _opens[path] += 1
        return _Reader(path, content)

    def copy(self, source_file_names, destination_file_names):
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            put(destination, self._content(source))

    def rename(self, source_file_names, destination_file_names):
        self.copy(source_file_names, destination_file_names)
        self.delete(source_file_names)

    def exists(self, path):
        with _lock:
            return path in _objects

    def size(self, path):
        return len(self._content(path))

    def last_updated(self, path):
        with _lock:
            return float(_versions[path])

    def checksum(self, path):
        return str(self.last_updated(path))

    def metadata(self, path):
        return FileMetadata(path, self.size(path), self.last_updated(path))

    def delete(self, paths):
        with _lock:
            missing = {each: KeyError(each) for each in paths if _objects.pop(each, None) is None}
        if missing:
            raise BeamIOError("Delete operation failed", missing)

    def _content(self, path) -> bytes:
        with _lock:
            if path not in _objects:
                raise BeamIOError(f"no such object: {path}", {path: FileNotFoundError(path)})
            return _objects[path]
