"""Version directories are found in listings of any store."""

from pathlib import Path

import pytest

from servable_core.runtime.file_system import FileInfo, LocalFileSystem
from servable_core.sources.storage_path_versions import VersionDirectory, storage_path_versions


def _files(*paths: str) -> list[FileInfo]:
    return [FileInfo(path=path, size_bytes=1) for path in paths]


@pytest.mark.parametrize("base", ["/models/m", "gs://bucket/m", "m"])
def test_files_are_grouped_by_numeric_directory(base: str) -> None:
    """Local paths, URIs and relative paths alike, lowest version first."""
    graph, data, older = _files(
        f"{base}/10/saved_model.pb", f"{base}/10/variables/data", f"{base}/9/saved_model.pb"
    )

    versions = storage_path_versions(base + "/", [data, graph, older])

    assert list(versions.items()) == [
        (9, VersionDirectory(f"{base}/9", (older,))),
        (10, VersionDirectory(f"{base}/10", (graph, data))),
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/m/7",  # a file, not a directory
        "/m/README",
        "/m/1.tmp/saved_model.pb",
        "/m/-1/saved_model.pb",
        "/m/1_0/saved_model.pb",
        "/m/٣/saved_model.pb",
        "/m/assets/1/saved_model.pb",
        "/m2/1/saved_model.pb",
        "/m/99999999999999999999/saved_model.pb",
    ],
)
def test_everything_else_is_ignored(path: str) -> None:
    """Only a first component of digits, with files in it, is a version."""
    assert storage_path_versions("/m", _files(path)) == {}


def test_a_directory_keeps_its_own_spelling() -> None:
    """The path is what was listed, leading zeros included."""
    versions = storage_path_versions("/m", _files("/m/007/saved_model.pb"))

    assert versions[7].path == "/m/007"


def test_of_two_spellings_the_shortest_wins() -> None:
    """The choice does not depend on the order of the listing."""
    files = _files("/m/001/saved_model.pb", "/m/1/saved_model.pb")

    assert storage_path_versions("/m", files)[1].path == "/m/1"
    assert storage_path_versions("/m", files[::-1])[1].path == "/m/1"


def test_a_local_listing_is_understood(tmp_path: Path) -> None:
    """What the file system lists below a base path is found, however the base is written."""
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "saved_model.pb").write_bytes(b"x")
    base = f"{tmp_path.parent}/./{tmp_path.name}"

    versions = storage_path_versions(base, LocalFileSystem().list_files(base))

    assert [file.size_bytes for file in versions[3].files] == [1]
