"""Ctrl-C and SIGTERM: stop within seconds, leave nothing behind, say how to go on."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.robustness import hooks
from tests.robustness.jobs import (
    PATIENCE_SECS,
    ROOT,
    JobProcess,
    assert_clean,
    assert_same_rows,
    identities,
    run_here,
)

_EXIT_INTERRUPTED = 130
_PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


def _printed_command(error):
    """Returns the resume command: the one line that is one."""
    begin = f"  {sys.executable} run_pipeline.py "
    commands = [line.strip() for line in error.splitlines() if line.startswith(begin)]
    assert len(commands) == 1, error
    return commands[0]


def _run_in_shell(command):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECS,
        check=False,
    )


def _interrupt(process, number, *, whole_group):
    """Sends the signal and returns the result and the seconds until the end."""
    started_secs = time.monotonic()
    if whole_group:
        os.killpg(process.pid, number)
    else:
        os.kill(process.pid, number)
    result = process.result()
    return result, time.monotonic() - started_secs


def _assert_interrupted(result, job):
    assert result.code == _EXIT_INTERRUPTED, result
    assert not job.is_complete
    assert "Traceback" not in result.err.rpartition("stopped")[2]
    command = _printed_command(result.err)
    assert "--if_exists=resume" in shlex.split(command)
    return command


def _assert_resumes(job, command, expected):
    kept = identities(job.receipts)
    result = _run_in_shell(command)
    assert result.returncode == 0, result.stderr
    assert {path: found for path, found in identities(job.receipts).items() if path in kept} == kept
    assert_same_rows(job, expected)
    assert_clean(job)


class TestWhileUnitsRun:
    @pytest.mark.parametrize(
        ("number", "whole_group"),
        [
            pytest.param(signal.SIGINT, True, id="Ctrl-C on a terminal"),
            pytest.param(signal.SIGTERM, False, id="SIGTERM"),
        ],
    )
    def test_stops_within_seconds_and_the_printed_command_resumes(
        self, job, expected, number, whole_group
    ):
        """Exit 130 within a batch, no child left, and exactly the printed command finishes the job."""
        environment = {hooks.SECS_PER_BATCH: 0.4}
        with JobProcess(job.args(), environment) as process:
            process.wait_until(lambda: len(job.receipts) >= 2, "two units were done")
            result, seconds = _interrupt(process, number, whole_group=whole_group)
            assert not process.group_is_alive()
        command = _assert_interrupted(result, job)
        assert "Traceback" not in result.err
        assert seconds < 6
        assert signal.Signals(number).name in result.err
        assert len(job.receipts) < 6
        assert job.temporary_files == []

        _assert_resumes(job, command, expected)

    def test_a_batch_that_does_not_end_is_not_waited_for(self, job, tmp_path):
        """When a batch takes longer than patience lasts, the process ends all the same, and says how to go on."""
        started = tmp_path / "started"
        environment = {hooks.SECS_PER_BATCH: 300, hooks.STARTED_FILE: started}
        with JobProcess(job.args(), environment) as process:
            process.wait_until(started.exists, "the first batch came")
            result, seconds = _interrupt(process, signal.SIGINT, whole_group=True)
        _assert_interrupted(result, job)
        assert seconds < 20

    def test_a_second_signal_ends_the_process_at_once(self, job, tmp_path):
        """Whoever presses Ctrl-C again does not want to wait for the batch."""
        started = tmp_path / "started"
        environment = {hooks.SECS_PER_BATCH: 300, hooks.STARTED_FILE: started}
        with JobProcess(job.args(), environment) as process:
            process.wait_until(started.exists, "the first batch came")
            os.kill(process.pid, signal.SIGINT)
            time.sleep(1.0)
            result, seconds = _interrupt(process, signal.SIGINT, whole_group=False)
        _assert_interrupted(result, job)
        assert seconds < 2

    @pytest.mark.long
    @pytest.mark.parametrize(
        ("number", "whole_group"),
        [
            pytest.param(signal.SIGINT, True, id="Ctrl-C on a terminal"),
            pytest.param(signal.SIGINT, False, id="SIGINT to the launcher"),
            pytest.param(signal.SIGTERM, False, id="SIGTERM"),
        ],
    )
    def test_worker_processes_end_with_the_launcher(self, job, expected, number, whole_group):
        """Workers that are processes of their own do not outlive an interrupted launcher."""
        environment = {hooks.SECS_PER_BATCH: 0.4}
        with JobProcess(job.args(*_PROCESSES), environment) as process:
            process.wait_until(lambda: len(job.receipts) >= 2, "two units were done")
            result, seconds = _interrupt(process, number, whole_group=whole_group)
            deadline_secs = time.monotonic() + 5
            while process.group_is_alive() and time.monotonic() < deadline_secs:
                time.sleep(0.05)
            assert not process.group_is_alive()
        command = _assert_interrupted(result, job)
        assert seconds < 15

        _assert_resumes(job, command, expected)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks into /proc")
class TestDuringStartUp:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize(
        ("library", "delay_secs"),
        [
            pytest.param("site-packages/pyarrow/", 0.0, id="first imports"),
            pytest.param("site-packages/tensorflow/", 0.0, id="import of TensorFlow"),
            pytest.param("site-packages/tensorflow/", 1.0, id="a second later"),
        ],
    )
    def test_ends_at_once_without_a_traceback(self, job, number, library, delay_secs):
        """While libraries load and the plan is made, a signal ends the program cleanly, too."""
        with JobProcess(job.args(), {hooks.SECS_PER_BATCH: 1}) as process:
            process.wait_until(lambda: process.has_loaded(library), f"{library} was loaded")
            time.sleep(delay_secs)
            result, seconds = _interrupt(process, number, whole_group=True)
            assert not process.group_is_alive()
        assert result.code == _EXIT_INTERRUPTED, result
        assert "Traceback" not in result.err
        assert result.err.splitlines()[-1].startswith("stopped")
        assert seconds < 6
        assert not job.is_complete
        assert job.temporary_files == []

    @pytest.mark.long
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize("delay_secs", [0.25 * step for step in range(1, 25)])
    def test_at_any_moment(self, job, expected, number, delay_secs):
        """Whatever the program is doing, it ends with 130 and the job can be run to its end."""
        with JobProcess(job.args(), {hooks.SECS_PER_BATCH: 0.8}) as process:
            process.wait_until(lambda: process.has_loaded("site-packages/pyarrow/"), "main runs")
            time.sleep(delay_secs)
            result, _ = _interrupt(process, number, whole_group=True)
        assert result.code == _EXIT_INTERRUPTED, result
        assert "Traceback" not in result.err
        assert run_here(job.args("--if_exists=resume")) == 0
        assert_same_rows(job, expected)
        assert_clean(job)
