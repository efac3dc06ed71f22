"""A file that several change at once: each change sees the one before."""

import fcntl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.file_update import FileUpdate, read_whole, update_file
from servable_core.errors import InvalidArgumentError, NotFoundError
from tests import memory_file_system as memory

_NOT_YET_SECS = 0.2
_AT_LAST_SECS = 30


def _update(path, change):
    return update_file(str(path), change, what="list")


def test_who_waited_for_a_former_file_waits_for_the_new_one(tmp_path, monkeypatch):
    """The lock is the file's, and a change gives the name to another file."""
    path, successor = tmp_path / "list", tmp_path / "successor"
    path.write_text("former")
    successor.write_text("new")
    is_waiting, has_entered = threading.Event(), threading.Event()
    lock = fcntl.flock

    def told_lock(file, operation):
        is_waiting.set()
        lock(file, operation)

    def change(text):
        has_entered.set()
        return f"{text}, changed"

    with ThreadPoolExecutor(1) as pool, successor.open() as later:
        with path.open() as earlier:
            lock(earlier, fcntl.LOCK_EX)
            lock(later, fcntl.LOCK_EX)
            monkeypatch.setattr(fcntl, "flock", told_lock)
            update = pool.submit(_update, path, change)
            assert is_waiting.wait(_AT_LAST_SECS)
            successor.replace(path)
        assert not has_entered.wait(_NOT_YET_SECS)
        lock(later, fcntl.LOCK_UN)
        assert update.result(_AT_LAST_SECS).former == "new"
    assert path.read_text() == "new, changed"


def test_nothing_is_written_where_nothing_changes(tmp_path):
    path = tmp_path / "list"
    path.write_text("all")
    before = path.stat()
    assert _update(path, lambda text: text) == FileUpdate(former="all")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [each.name for each in tmp_path.iterdir()] == ["list"]


def test_a_change_that_fails_leaves_all_as_it_is(tmp_path):
    path = tmp_path / "list"
    path.write_text("all")

    def change(text):
        raise InvalidArgumentError("no")

    with pytest.raises(InvalidArgumentError):
        _update(path, change)
    assert path.read_text() == "all"
    assert [each.name for each in tmp_path.iterdir()] == ["list"]


def test_line_ends_stay(tmp_path):
    path = tmp_path / "list"
    path.write_bytes(b"a\r\nb\n")
    assert read_whole(str(path), "list") == "a\r\nb\n"
    update = _update(path, lambda text: text + "c\r\n")
    assert path.read_bytes() == b"a\r\nb\nc\r\n"
    assert (tmp_path / "list.bak").read_bytes() == b"a\r\nb\n"
    assert update.backup == str(tmp_path / "list.bak")


def test_no_file(tmp_path):
    with pytest.raises(NotFoundError, match="no list at"):
        _update(tmp_path / "list", str)


def test_in_a_store():
    """There are no locks there, but an object is replaced as a whole, and the former one kept."""
    memory.put("mem://update/list", b"a\r\n")
    for end in ("", ".2"):
        update = _update("mem://update/list", lambda text: text + "b")
        assert update.backup == f"mem://update/list.bak{end}"
    assert memory.content("mem://update/list") == b"a\r\nbb"
    assert memory.content("mem://update/list.bak") == b"a\r\n"
    assert memory.content("mem://update/list.bak.2") == b"a\r\nb"
    with pytest.raises(NotFoundError, match="no list at mem://update/other"):
        _update("mem://update/other", str)
