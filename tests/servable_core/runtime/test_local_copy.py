"""Remote directories on this machine."""

from pathlib import Path

import pytest
from typing_extensions import override

from servable_core.errors import DataLossError, InvalidArgumentError
from servable_core.runtime.file_system import FileInfo, LocalFileSystem
from servable_core.runtime.local_copy import local_directory
from servable_core.testing import FakeFileSystem


def test_local_files_stay_where_they_are(tmp_path: Path) -> None:
    """Nothing is copied, and nothing removed."""
    with local_directory(str(tmp_path), LocalFileSystem()) as directory:
        assert directory == str(tmp_path)

    assert tmp_path.exists()


@pytest.mark.parametrize("path", ["mem://m/1", "mem://m/1/"])
def test_remote_files_are_copied_and_removed(path: str) -> None:
    """At any depth; of other versions there is nothing."""
    files = FakeFileSystem()
    files.write("mem://m/1/a", b"1")
    files.write("mem://m/1/deep/b", b"22")
    files.write("mem://m/10/c")

    with local_directory(path, files) as directory:
        copied = {
            str(each.relative_to(directory)): each.read_bytes()
            for each in Path(directory).rglob("*")
            if each.is_file()
        }

    assert copied == {"a": b"1", "deep/b": b"22"}
    assert not Path(directory).exists()


class _OddFiles(FakeFileSystem):
    """Lists one file, whatever the directory."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.write(path, b"1")
        self._listed = [FileInfo(path=path, size_bytes=1)]

    @override
    def list_files(self, directory: str) -> list[FileInfo]:
        return self._listed


def test_a_listing_may_spell_its_directory_in_another_way() -> None:
    """With a slash less, for instance."""
    with local_directory("mem://m//1", _OddFiles("mem://m/1/deep/a")) as directory:
        assert (Path(directory) / "deep" / "a").read_bytes() == b"1"


@pytest.mark.parametrize("name", ["mem://m/1/../../../2/a", "mem://m/2/a", "{tmp}/a"])
def test_nothing_is_written_outside_the_copy(tmp_path: Path, name: str) -> None:
    """Object stores know no directories: a name in them may have any form."""
    path = name.format(tmp=tmp_path)

    with (
        pytest.raises(InvalidArgumentError, match="is not a file below mem://m/1"),
        local_directory("mem://m/1", _OddFiles(path)),
    ):
        pass

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size_bytes", [0, 2])
def test_what_changes_on_the_way_is_data_loss(size_bytes: int) -> None:
    """A length other than the one listed."""
    files = FakeFileSystem()
    files.write("mem://m/1/a", b"1")
    listed = [FileInfo(path="mem://m/1/a", size_bytes=size_bytes)]

    with (
        pytest.raises(DataLossError, match=rf"mem://m/1/a has {size_bytes} bytes, but 1 arrived"),
        local_directory("mem://m/1", files, listed),
    ):
        pass
