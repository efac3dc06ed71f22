"""The lock on a local output directory, which the system takes from whoever is gone."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from pipelines import output_lock
from pipelines.output_lock import locked
from servable_core.errors import InvalidArgumentError, UnavailableError
from servable_core.testing.fake_clock import FakeClock
from tests.robustness.jobs import ROOT

_HOLDER = """
import sys
from pipelines.output_lock import locked
from servable_core.runtime.clock import SystemClock
with locked(sys.argv[1], take_over=False, clock=SystemClock()):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(name="output")
def _output(tmp_path):
    return tmp_path / "out"


def _locked(output, *, take_over=False):
    return locked(str(output), take_over=take_over, clock=FakeClock())


def _lock_file(output):
    return output / "_plan/lock"


@pytest.fixture(name="holder")
def _holder(output):
    """A process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(output)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


class TestHolding:
    @pytest.mark.parametrize("take_over", [False, True])
    def test_by_another_process(self, output, holder, take_over):
        """Whoever comes later is told whose it is; there is nothing to take over from the living."""
        with pytest.raises(UnavailableError) as caught:
            _locked(output, take_over=take_over).__enter__()
        assert str(caught.value) == (
            f"--output={output} is being written by another job (process {holder.pid} on"
            f" {os.uname().nodename}); wait for it, or choose another directory"
        )

    def test_a_holder_that_was_killed(self, output, holder):
        """Its lock is gone with it, at once."""
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert f"process {holder.pid} on" in _lock_file(output).read_text()
        with _locked(output):
            assert f"process {os.getpid()} on" in _lock_file(output).read_text()

    @pytest.mark.parametrize(
        "owner",
        [f"process {os.getpid()} on {os.uname().nodename}", "process 1 on elsewhere", ""],
        ids=["this", "another", "none"],
    )
    def test_what_is_written_in_the_file_locks_nothing(self, output, owner):
        """A number that another process has by now, or the name the machine had, are only words."""
        _lock_file(output).parent.mkdir(parents=True)
        _lock_file(output).write_text(owner)
        with _locked(output):
            pass

    def test_twice_in_one_process(self, output):
        """Threads are as strange to each other as processes are."""
        with _locked(output), pytest.raises(UnavailableError, match=f"process {os.getpid()} on"):
            _locked(output).__enter__()

    def test_a_file_that_its_holder_deletes(self, output, monkeypatch):
        """Who had opened it before gets the lock on the one that has the name by then."""
        flock, opened = fcntl.flock, []

        def deleted_meanwhile(stream, operation):
            if not opened:
                _lock_file(output).unlink()
            opened.append(os.fstat(stream.fileno()).st_ino)
            flock(stream, operation)

        monkeypatch.setattr(output_lock.fcntl, "flock", deleted_meanwhile)
        with _locked(output):
            assert len(opened) == 2
            with pytest.raises(UnavailableError):
                _locked(output).__enter__()

    def test_what_the_body_raises_is_its_own(self, output):
        """A file that the job may not read is no matter of the output directory."""
        with pytest.raises(PermissionError, match="input"), _locked(output):
            raise PermissionError("input")


class TestNotWritable:
    @pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
    def test_directory(self, output, monkeypatch, number):
        """Such as a read-only one: told in one line, with what the system said."""

        def refuse(*_args, **_more):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(output_lock.Path, "open", refuse)
        with pytest.raises(InvalidArgumentError) as caught:
            _locked(output).__enter__()
        message = str(caught.value)
        assert message.startswith(f"--output={output} cannot be written: ")
        assert os.strerror(number) in message

    def test_a_file_system_without_locks(self, output, monkeypatch):
        """It is not taken for a lock that another job holds."""

        def refuse(*_args):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(output_lock.fcntl, "flock", refuse)
        with pytest.raises(InvalidArgumentError, match="No locks available"):
            _locked(output).__enter__()
