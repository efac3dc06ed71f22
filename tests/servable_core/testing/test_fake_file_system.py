"""The fake file system behaves as real ones do."""

import pytest

from servable_core.runtime.file_system import FileInfo
from servable_core.testing import FakeFileSystem


def test_files_are_listed_read_renamed_and_removed() -> None:
    """Listings are sorted and only show what lies below."""
    files = FakeFileSystem(mtime_secs=5)
    files.write("/m/2/b", b"12")
    files.write("/m/2/a", b"1", mtime_secs=7)
    files.write("/mm/x")

    assert files.list_files("/m/") == [
        FileInfo(path="/m/2/a", size_bytes=1, mtime_secs=7),
        FileInfo(path="/m/2/b", size_bytes=2, mtime_secs=5),
    ]
    assert files.open("/m/2/b").read() == b"12"

    files.rename("/m/2", "/m/3")
    assert [each.path for each in files.list_files("/m")] == ["/m/3/a", "/m/3/b"]

    files.remove_tree("/m/3")
    assert files.list_files("/m") == []
    assert files.num_listings == 3
    with pytest.raises(FileNotFoundError):
        files.open("/m/3/a")


def test_listings_fail_on_demand() -> None:
    """Until they are told not to."""
    files = FakeFileSystem()
    files.fail_listing("/m", OSError("outage"))

    with pytest.raises(OSError, match="outage"):
        files.list_files("/m")
    files.fail_listing("/m", None)

    assert files.list_files("/m") == []
