"""Files of the output are whole or not there, on disks and in object stores."""

import errno
from pathlib import Path

import pytest

from tests import memory_file_system as memory
from tests.robustness.file_faults import FileFault, file_fault
from transforms.output_errors import OutputError
from transforms.storage import create_file, read_bytes, write_bytes

_PATH = "mem://bucket/out/part"


@pytest.fixture(name="forget", autouse=True)
def _forget():
    yield
    memory.clear()


class TestUpload:
    @pytest.fixture(name="break_upload")
    def _break_upload(self, monkeypatch):
        """Returns what makes the store fail in the middle, and yet keep what it has when it is closed."""

        def break_upload(error):
            write = memory._Writer.write

            def write_half(writer, content):
                write(writer, content[: len(content) // 2])
                raise error

            monkeypatch.setattr(memory._Writer, "write", write_half)

        return break_upload

    @pytest.mark.parametrize("error", [OSError(errno.EPIPE, "broken"), KeyboardInterrupt()])
    def test_cut_off(self, break_upload, error):
        """What was uploaded in part is deleted: nobody must take it for the file."""
        break_upload(error)
        with pytest.raises((OutputError, KeyboardInterrupt)):
            write_bytes("mem://bucket/out", _PATH, b"content")
        assert memory.paths("mem://") == []

    def test_whole(self):
        """The object is there, and as big as is said."""
        with create_file("mem://bucket/out", _PATH) as sink:
            sink.write(b"content")
            assert memory.paths("mem://") == []
        assert read_bytes(_PATH) == b"content"
        assert sink.written().size_bytes == 7


class TestWithheld:
    @pytest.mark.parametrize("is_there", [False, True])
    @pytest.mark.parametrize("is_local", [False, True])
    def test_no_file_is_there_then(self, tmp_path, is_local, is_there):
        """Nor is one that had the name before."""
        root = str(tmp_path) if is_local else "mem://bucket/out"
        path = f"{root}/a/part"
        if is_there:
            write_bytes(root, path, b"old")
        with create_file(root, path) as sink:
            sink.write(b"footer")
            sink.withhold()
            assert read_bytes(path) == (b"old" if is_there else None)
        assert read_bytes(path) is None


class TestLocal:
    @pytest.mark.parametrize("moment", ["writing", "committing"])
    def test_the_error_names_the_file(self, tmp_path, moment):
        """Not the temporary one, of which nobody knows, and what the system said is its cause."""
        path = str(tmp_path / "a" / "part")
        with (
            file_fault(FileFault(moment=moment, path="part", error=errno.ENOSPC)),
            pytest.raises(OutputError) as caught,
        ):
            write_bytes(str(tmp_path), path, b"content")
        assert str(caught.value) == (
            f"{path} cannot be written: OSError: No space left on device; make room there"
        )
        assert caught.value.__cause__.errno == errno.ENOSPC
        assert [each for each in tmp_path.rglob("*") if each.is_file()] == []

    def test_an_older_file_stays(self, tmp_path):
        """A file that cannot be replaced is as it was."""
        path = str(tmp_path / "part")
        write_bytes(str(tmp_path), path, b"old")
        with (
            file_fault(FileFault(moment="writing", path="part", error=errno.EDQUOT)),
            pytest.raises(OutputError),
        ):
            write_bytes(str(tmp_path), path, b"new")
        assert Path(path).read_bytes() == b"old"

    def test_errors_of_the_body_are_its_own(self, tmp_path):
        """An input that cannot be read is no matter of the output."""
        with (
            pytest.raises(FileNotFoundError),
            create_file(str(tmp_path), str(tmp_path / "part")),
        ):
            Path(tmp_path / "input").read_bytes()
