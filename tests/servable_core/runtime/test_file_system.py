import pytest

from servable_core.runtime.file_system import FileInfo, LocalFileSystem, join_path


@pytest.fixture(name="tree")
def _tree(tmp_path):
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("12345")
    (tmp_path / "b" / "deep" / "c.txt").write_text("")
    (tmp_path / ".hidden").write_text("x")
    return tmp_path


class TestLocalFileSystem:
    def test_lists_files_at_any_depth(self, tree):
        """Files come sorted, with sizes and times; directories do not come at all."""
        files = LocalFileSystem().list_files(str(tree))
        assert [(each.path, each.size_bytes) for each in files] == [
            (f"{tree}/.hidden", 1),
            (f"{tree}/a.txt", 5),
            (f"{tree}/b/deep/c.txt", 0),
        ]
        assert files[1].mtime_secs == (tree / "a.txt").stat().st_mtime

    @pytest.mark.parametrize("name", ["nothing", "empty", "a.txt"])
    def test_nothing_to_list(self, tree, name):
        """What is not there, is empty or is a file has no files below it."""
        assert LocalFileSystem().list_files(f"{tree}/{name}") == []

    def test_follows_links(self, tree, tmp_path_factory):
        """Model stores link versions; a link that leads nowhere is no file."""
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        (elsewhere / "d.txt").write_text("dd")
        (tree / "empty" / "link").symlink_to(elsewhere)
        (tree / "empty" / "broken").symlink_to(elsewhere / "nothing")
        files = LocalFileSystem().list_files(f"{tree}/empty")
        assert [(each.path, each.size_bytes) for each in files] == [(f"{tree}/empty/link/d.txt", 2)]

    def test_reads(self, tree):
        """A file is read as bytes from where it lies."""
        file_system = LocalFileSystem()
        path = f"{tree}/a.txt"
        with file_system.open(path) as stream:
            assert stream.read() == b"12345"
        assert file_system.local_path(path) == path

    def test_missing_files(self, tree):
        """Opening what is not there is the system's error."""
        with pytest.raises(FileNotFoundError):
            LocalFileSystem().open(f"{tree}/nothing")

    def test_relative_directories(self, tree, monkeypatch):
        """Paths are given back as the directory was spelled."""
        monkeypatch.chdir(tree)
        files = LocalFileSystem().list_files("b")
        assert [each.path for each in files] == ["b/deep/c.txt"]


def test_files_sort_by_path():
    """The order of files is that of their paths."""
    files = [FileInfo(path="b", size_bytes=1), FileInfo(path="a", size_bytes=2)]
    assert [each.path for each in sorted(files)] == ["a", "b"]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("/m",), "/m"),
        (("/m", "1"), "/m/1"),
        (("/m/", "1", "a.pb"), "/m/1/a.pb"),
        (("/", "1"), "//1"),
        (("gs://b/m/", "1"), "gs://b/m/1"),
        (("m", "1"), "m/1"),
    ],
)
def test_join_path(parts, expected):
    """Single slashes between parts, for paths and URIs."""
    assert join_path(*parts) == expected
