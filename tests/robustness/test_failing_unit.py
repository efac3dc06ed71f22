"""One unit that fails: the message, what is kept, what stops, and how the job gets done after all."""

import pickle
import time
from types import SimpleNamespace

import pytest

from servable_core.errors import AbortedError
from servable_core.runtime.clock import SystemClock
from tests.robustness import hooks
from tests.robustness.jobs import (
    FILE_ROWS,
    NUM_UNITS,
    UNIT_ROWS,
    JobProcess,
    assert_clean,
    assert_same_rows,
    identities,
    run_here,
    run_process,
)
from tests.robustness.plans import make_plan
from transforms.execution import ExecutionOptions
from transforms.failures import record_failure
from transforms.job_state import JobState, job_state
from transforms.precompute import PrecomputeUnits, _ProcessUnitFn, stop_after_failure

_BAD_UNIT = 3
_BAD_ID = _BAD_UNIT * UNIT_ROWS + UNIT_ROWS // 2
_BAD_FILE = f"in-{_BAD_ID // FILE_ROWS}.parquet"
_PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


def _assert_explained(error, job):
    assert f"unit {_BAD_UNIT} of {NUM_UNITS}" in error
    assert str(job.data / _BAD_FILE) in error
    assert f"ValueError: cannot make sense of row {_BAD_ID}" in error
    assert f"--output={job.output} --if_exists=resume" in error
    assert "Traceback" not in error


def _units_done(job):
    return [int(each.name[5:10]) for each in job.receipts]


class TestInOneProcess:
    @pytest.fixture(name="failed")
    def _failed(self, job, monkeypatch, capsys):
        """Returns a job whose unit 3 failed, units running one by one, and its error message."""
        monkeypatch.setenv(hooks.FAIL_AT_ID, str(_BAD_ID))
        assert run_here(job.args("--direct_num_workers=1")) == 1
        monkeypatch.delenv(hooks.FAIL_AT_ID)
        return job, capsys.readouterr().err

    def test_message_names_unit_file_cause_and_the_way_on(self, failed):
        """All that the user needs stands in one message, without a traceback."""
        job, error = failed
        _assert_explained(error, job)

    def test_earlier_units_are_kept_and_the_failed_one_leaves_nothing(self, failed):
        """Units before the failed one are committed whole; it has neither part nor temporary file."""
        job, _ = failed
        assert _units_done(job) == [0, 1, 2]
        assert len(job.parts) == 3
        assert job.temporary_files == []
        assert not job.is_complete

    def test_the_traceback_is_in_a_file(self, failed):
        """Who must find the cause gets the user function's line, in a file beside the output."""
        job, _ = failed
        traces = sorted((job.output / "_errors").glob("unit-*.txt"))
        assert [each.name for each in traces] == [f"unit-{_BAD_UNIT:05d}.txt"]
        text = traces[0].read_text()
        assert "Traceback" in text
        assert "hooks.py" in text

    def test_resume_succeeds_once_the_cause_is_mended(self, failed, expected):
        """The failed unit and those after it run; error files are gone when the job is done."""
        job, _ = failed
        kept = identities(job.receipts)

        assert run_here(job.resume_args()) == 0

        now = identities(job.receipts)
        assert {path: now[path] for path in kept} == kept
        assert_same_rows(job, expected)
        assert_clean(job)

    def test_resume_fails_again_while_the_cause_is_there(self, failed, monkeypatch, capsys):
        """Resuming too early tells the same unit again, and still keeps the others."""
        job, _ = failed
        kept = identities(job.receipts)
        monkeypatch.setenv(hooks.FAIL_AT_ID, str(_BAD_ID))

        assert run_here(job.resume_args("--direct_num_workers=1")) == 1

        _assert_explained(capsys.readouterr().err, job)
        assert identities(job.receipts) == kept


class TestSiblings:
    def test_they_stop_and_commit_nothing_after_the_error(self, job, expected, tmp_path):
        """The unit beside the failing one is in the middle of its batches: it stops there, for good."""
        started = tmp_path / "started"
        environment = {
            hooks.FAIL_AT_ID: _BAD_ID,
            hooks.CALM_FILE: started,  # the bad unit fails only while the other one is at work
            hooks.STARTED_FILE: started,
            hooks.SECS_PER_BATCH: 0.5,
        }
        with JobProcess(job.args(), environment) as process:
            result = process.result()
            files = job.all_files()
            assert not process.group_is_alive()
        assert result.code == 1, result
        _assert_explained(result.err, job)
        assert job.all_files() == files
        assert len(job.receipts) < NUM_UNITS - 1
        assert len(job.parts) == len(job.receipts)
        assert job.temporary_files == []

        assert run_here(job.resume_args()) == 0
        assert_same_rows(job, expected)
        assert_clean(job)

    @pytest.mark.parametrize("unit", [0, 1])  # FnApiRunner asks for its two bundles in turn
    def test_in_this_process_no_thread_goes_on_after_the_error(
        self, job, monkeypatch, tmp_path, unit
    ):
        """FnApiRunner leaves sibling threads running; when `main` returns they have ended all the same."""
        monkeypatch.setenv(hooks.FAIL_AT_ID, str(unit * UNIT_ROWS + UNIT_ROWS // 2))
        for name in (hooks.CALM_FILE, hooks.STARTED_FILE):  # it fails during a batch of the other
            monkeypatch.setenv(name, str(tmp_path / "started"))
        monkeypatch.setenv(hooks.SECS_PER_BATCH, "1")

        assert run_here(job.args()) == 1

        assert job_state(str(job.output)).wait_until_idle(0.0, SystemClock())
        assert job.temporary_files == []
        files = job.all_files()
        calls = hooks.num_batches()
        monkeypatch.setenv(hooks.SECS_PER_BATCH, "0")
        time.sleep(1.2)  # time for threads that should not be there
        assert hooks.num_batches() == calls
        assert job.all_files() == files


def test_a_failure_elsewhere_stops_this_process(tmp_path):
    """Where the launcher asks for it, the first failure of another process stops all units here."""
    job = SimpleNamespace(output=str(tmp_path), state=JobState(stops_siblings=False))
    stop_after_failure(job)  # none has failed yet
    unit = make_plan().units[1]
    record_failure(str(tmp_path), unit, "unit 1 failed: no", ValueError("no"))
    with pytest.raises(AbortedError, match="unit 1 failed: no"):
        stop_after_failure(job)
    assert job.state.abort.is_set


def test_a_failure_stops_siblings_only_where_nobody_retries(job, monkeypatch):
    """An old error file must not keep a cluster from trying again, so the default is to go on."""
    transform = PrecomputeUnits(output="o", execution=ExecutionOptions())
    assert not transform.stops_siblings
    assert not pickle.loads(pickle.dumps(_ProcessUnitFn(**vars(transform)))).stops_siblings
    stopping = PrecomputeUnits(output="o", execution=ExecutionOptions(), stops_siblings=True)
    assert pickle.loads(pickle.dumps(_ProcessUnitFn(**vars(stopping)))).stops_siblings


@pytest.mark.long
class TestInWorkerProcesses:
    def test_siblings_in_other_processes_stop(self, job, expected, tmp_path):
        """Beside a failed unit, the other process ends the one it is at and begins no further one."""
        started = tmp_path / "started"
        environment = {
            hooks.FAIL_AT_ID: 100,  # in the first unit of one of the two bundles
            hooks.CALM_FILE: started,
            hooks.STARTED_FILE: started,
            hooks.SECS_PER_BATCH: 1.0,
        }
        result = run_process(job.args(*_PROCESSES), environment)
        assert result.code == 1, result
        assert "cannot make sense of row 100" in result.err
        assert len(job.receipts) <= 1

        assert run_here(job.resume_args()) == 0
        assert_same_rows(job, expected)
        assert_clean(job)

    def test_success_with_progress(self, job, expected):
        """Two worker processes give the same rows, and progress is told from their receipts."""
        environment = {hooks.SECS_PER_BATCH: 1.0}
        result = run_process(job.args(*_PROCESSES), environment)
        assert result.code == 0, result
        lines = [line for line in result.err.splitlines() if " of 1,200 rows" in line]
        assert lines, result.err
        assert_same_rows(job, expected)
        assert_clean(job)

    def test_failure_is_told_as_in_one_process(self, job, expected):
        """A worker process hands its message over, and the launcher tells it like its own."""
        result = run_process(job.args(*_PROCESSES), {hooks.FAIL_AT_ID: _BAD_ID})
        assert result.code == 1, result
        _assert_explained(
            result.err[result.err.rindex("error: ") :], job
        )  # Beam's words come first
        assert (job.output / "_errors" / f"unit-{_BAD_UNIT:05d}.txt").exists()
        assert _BAD_UNIT not in _units_done(job)

        assert run_here(job.resume_args()) == 0
        assert_same_rows(job, expected)
        assert_clean(job)
