"""File systems of fsspec: over a stand-in with its interface, and over fsspec where it is installed."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from servable_core.errors import FailedPreconditionError, InvalidArgumentError
from servable_core.runtime.file_system import FileInfo, LocalFileSystem, directory_exists
from servable_core.runtime.fsspec_file_system import FsspecFileSystem
from servable_core.sources.storage_path_versions import storage_path_versions


class _Store:
    """Answers as fsspec's file systems for object stores do."""

    protocol = ("s3", "s3a")

    def __init__(self, **infos: Any) -> None:
        self.infos = {f"bucket/m/1/{name}": info for name, info in infos.items()}
        self.num_invalidations = 0

    def _strip_protocol(self, path: str) -> str:
        return path.removeprefix("s3://").rstrip("/")

    def invalidate_cache(self) -> None:
        self.num_invalidations += 1

    def find(self, path: str, *, detail: bool) -> dict[str, dict[str, Any]]:
        assert detail
        return {
            name: {"type": "file", **info}
            for name, info in self.infos.items()
            if name.startswith(path)
        }

    def open(self, path: str, mode: str) -> io.BytesIO:
        return io.BytesIO(f"{mode} {path}".encode())

    def isdir(self, path: str) -> bool:
        return bool(self.find(path, detail=True))


TIME = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("info", "mtime_secs"),
    [
        ({"mtime": 12.5, "created": 1}, 12.5),
        ({"LastModified": TIME}, TIME.timestamp()),
        ({"last_modified": TIME}, TIME.timestamp()),
        ({"updated": "2026-01-02T00:00:00.000Z"}, TIME.timestamp()),
        ({"mtime": None, "created": 7}, 7.0),
        ({}, 0.0),
    ],
)
def test_times_of_change_of_all_stores_are_understood(
    info: dict[str, Any], mtime_secs: float
) -> None:
    """Under each name and in each form that they have."""
    files = FsspecFileSystem(_Store(graph={"size": 3, **info}))

    assert files.list_files("s3://bucket/m/") == [
        FileInfo(path="s3://bucket/m/1/graph", size_bytes=3, mtime_secs=mtime_secs)
    ]


def test_paths_keep_the_scheme_of_the_caller() -> None:
    """So that what is listed can be opened, and is found below its base path."""
    store = _Store(graph={"size": 3}, sub={"type": "directory"})
    files = FsspecFileSystem(store)

    listing = files.list_files("s3://bucket/m")

    assert storage_path_versions("s3://bucket/m", listing)[1].path == "s3://bucket/m/1"
    assert [file.path for file in listing] == ["s3://bucket/m/1/graph"]
    assert files.open(listing[0].path).read() == b"rb bucket/m/1/graph"
    assert files.local_path("s3://bucket/m") is None
    assert directory_exists(files, "s3://bucket/m")
    assert not directory_exists(files, "s3://bucket/n")


def test_listings_are_fresh() -> None:
    """A version that appears is not hidden by a cache."""
    store = _Store()
    files = FsspecFileSystem(store)

    files.list_files("s3://bucket/m")
    files.list_files("s3://bucket/m")

    assert store.num_invalidations == 2


def test_what_is_not_installed_is_named() -> None:
    """Fsspec itself, or the package of one store."""
    with pytest.raises((FailedPreconditionError, InvalidArgumentError), match="nosuch://x"):
        FsspecFileSystem.for_uri("nosuch://x")


def test_local_files_through_fsspec_are_the_same(tmp_path: Path) -> None:
    """Where fsspec is installed."""
    pytest.importorskip("fsspec")
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "graph").write_bytes(b"123")
    files = FsspecFileSystem.for_uri(f"file://{tmp_path}")

    assert files.list_files(str(tmp_path)) == LocalFileSystem().list_files(str(tmp_path))
    assert files.list_files(f"{tmp_path}/nowhere") == []
    assert files.local_path(f"file://{tmp_path}") == str(tmp_path)
    with files.open(f"file://{tmp_path}/1/graph") as stream:
        assert stream.read() == b"123"


def test_files_in_memory_through_fsspec() -> None:
    """A store whose paths have a scheme, where fsspec is installed."""
    pytest.importorskip("fsspec")
    files = FsspecFileSystem.for_uri("memory://models")
    files._file_system.pipe("/models/m/3/graph", b"123")

    listing = files.list_files("memory://models/m")

    assert [(file.path, file.size_bytes) for file in listing] == [("memory://models/m/3/graph", 3)]
    assert listing[0].mtime_secs > 0
    assert files.open(listing[0].path).read() == b"123"
    assert not directory_exists(files, "memory://models/n")
