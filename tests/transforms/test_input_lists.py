import pytest

from servable_core.errors import InvalidArgumentError, NotFoundError
from tests import memory_file_system as memory
from transforms.input_lists import expand_lists
from transforms.inputs import find_inputs


@pytest.fixture(name="write")
def _write(tmp_path):
    def write(content):
        (tmp_path / "list.txt").write_bytes(content)
        return f"@{tmp_path}/list.txt"

    return write


@pytest.mark.parametrize(
    "content",
    [
        b"/a.csv\n/b/*.csv\n",
        b"\xef\xbb\xbf/a.csv\r\n\r\n  # what follows is new\r\n/b/*.csv",
        b"# all\n\n  /a.csv  \n\t/b/*.csv\n#/c.csv\n",
    ],
)
def test_lines(write, content):
    """A list is its lines, in their place, without blanks and comments."""
    patterns = ["/x", write(content), "/y"]
    assert list(expand_lists(patterns)) == ["/x", "/a.csv", "/b/*.csv", "/y"]


def test_remote():
    """A list may lie in any store."""
    memory.clear()
    memory.put("mem://bucket/list.txt", b"mem://bucket/a.csv\n")
    assert list(expand_lists(["@mem://bucket/list.txt"])) == ["mem://bucket/a.csv"]
    memory.clear()


def test_what_is_listed_is_found(write, tmp_path):
    """Paths and globs mean in a list what they mean on the command line."""
    for name in ("a.csv", "b.csv", "@c.csv"):
        (tmp_path / name).write_text("1")
    pattern = write(f"{tmp_path}/a.csv\n{tmp_path}/[ab].csv\n".encode())
    found = find_inputs([pattern, f"{tmp_path}/@c.csv"])
    assert [each.path for each in found] == [
        f"{tmp_path}/{n}" for n in ("@c.csv", "a.csv", "b.csv")
    ]


def test_relative_paths(write, tmp_path, monkeypatch):
    """A relative path is one from where the command is given, and so is the list's own."""
    (tmp_path / "a.csv").write_text("1")
    write(b"a.csv\n")
    monkeypatch.chdir(tmp_path)
    assert [each.path for each in find_inputs(["@list.txt"])] == [f"{tmp_path}/a.csv"]


@pytest.mark.parametrize("content", [b"", b"# nothing\n\n"])
def test_empty(write, content):
    """A list of nothing is an error."""
    with pytest.raises(InvalidArgumentError, match=r"--input=@.*list\.txt lists nothing; write"):
        list(expand_lists([write(content)]))


def test_missing(tmp_path):
    """So is one that is not there."""
    with pytest.raises(
        NotFoundError, match=r"there is no file .*; @ is for a file that lists inputs"
    ):
        list(expand_lists([f"@{tmp_path}/nothing.txt"]))


def test_binary(write, tmp_path):
    """A data file, or a directory, is no list."""
    for pattern in (write(b"PAR1\xff\xfe"), f"@{tmp_path}"):
        with pytest.raises(InvalidArgumentError, match="is no text file; write a path or glob"):
            list(expand_lists([pattern]))


def test_lists_of_lists(write):
    """Lists are not nested."""
    with pytest.raises(InvalidArgumentError, match=r"names another list, @b\.txt; give that as"):
        list(expand_lists([write(b"a\n@b.txt\n")]))


def test_missing_inputs_are_named(write, tmp_path):
    """Of what is listed, what matches nothing is an error as it is on the command line."""
    with pytest.raises(NotFoundError, match=r"--input=/nothing/\*\.csv matches no file"):
        find_inputs([write(b"/nothing/*.csv\n")])
