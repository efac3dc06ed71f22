"""What listings of the local file system hold, and when they are errors."""

import errno
import os
from pathlib import Path

import pytest

from servable_core.runtime.file_system import LocalFileSystem, directory_exists
from servable_core.testing import FakeFileSystem


def test_a_local_listing_has_sizes_and_times(tmp_path: Path) -> None:
    """Every file below, sorted; directories only where they hold files."""
    (tmp_path / "b").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "b" / "inner").write_bytes(b"123")
    (tmp_path / "a").write_bytes(b"")

    files = LocalFileSystem().list_files(str(tmp_path))

    assert [(file.path, file.size_bytes) for file in files] == [
        (f"{tmp_path}/a", 0),
        (f"{tmp_path}/b/inner", 3),
    ]
    assert files[0].mtime_secs == (tmp_path / "a").stat().st_mtime


def test_what_vanishes_during_a_listing_is_left_out(tmp_path: Path) -> None:
    """A dangling link is the lasting form of it."""
    (tmp_path / "link").symlink_to(tmp_path / "gone")

    assert LocalFileSystem().list_files(str(tmp_path)) == []
    assert LocalFileSystem().list_files(f"{tmp_path}/nowhere") == []


def test_an_outage_is_an_error_and_no_short_listing(tmp_path: Path) -> None:
    """A name too long stands for whatever the disk may say."""
    with pytest.raises(OSError, match="too long") as error:
        LocalFileSystem().list_files(f"{tmp_path}/{'x' * 5000}")
    assert error.value.errno == errno.ENAMETOOLONG


def test_only_inner_directories_may_be_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing that is refused as a whole does not pass for an empty directory."""

    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "denied", path)

    monkeypatch.setattr("os.scandir", refuse)  # root may read everything

    with pytest.raises(PermissionError):
        LocalFileSystem().list_files("/m")


def test_unreadable_inner_directories_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the lost+found of a mounted disk."""
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "lost+found").mkdir()
    scandir = os.scandir

    def refuse_inner(path: str) -> object:
        if path.endswith("lost+found"):
            raise PermissionError(errno.EACCES, "denied", path)
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse_inner)

    assert [file.path for file in LocalFileSystem().list_files(str(tmp_path))] == [f"{tmp_path}/a"]


def test_an_empty_directory_is_told_from_a_missing_one(tmp_path: Path) -> None:
    """Where the file system knows directories at all."""
    fake = FakeFileSystem()
    fake.make_directory("/m")

    assert directory_exists(LocalFileSystem(), str(tmp_path))
    assert not directory_exists(LocalFileSystem(), f"{tmp_path}/nowhere")
    assert directory_exists(fake, "/m")
    assert not directory_exists(fake, "/n")
