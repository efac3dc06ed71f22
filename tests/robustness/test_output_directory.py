"""What becomes of an output directory: new, used by a job, used by others, locked."""

import os
import shutil

import pytest

from tests.robustness import hooks
from tests.robustness.jobs import (
    JobProcess,
    assert_clean,
    assert_same_rows,
    identities,
    run_here,
)

_IF_EXISTS = ("error", "overwrite", "resume")


def _finish(job):
    assert run_here(job.args()) == 0


def _leave_unfinished(job):
    _finish(job)
    (job.output / "_SUCCESS").unlink()
    (job.output / "_manifest.json").unlink()
    job.receipts[1].unlink()


def _put_foreign_file(job):
    job.output.mkdir(exist_ok=True)
    (job.output / "thesis.txt").write_text("years of work")


class TestIfExists:
    @pytest.mark.parametrize("if_exists", _IF_EXISTS)
    @pytest.mark.parametrize("is_there", [False, True], ids=["missing", "empty"])
    def test_a_new_directory_is_fine_with_all(self, job, expected, if_exists, is_there):
        """Nothing is there to lose, so every mode begins a job."""
        if is_there:
            job.output.mkdir()
        assert run_here(job.args(f"--if_exists={if_exists}")) == 0
        assert_same_rows(job, expected)
        assert_clean(job)

    @pytest.mark.parametrize(
        ("prepare", "words"),
        [(_finish, "a finished job"), (_leave_unfinished, "an unfinished job")],
    )
    def test_error_refuses_a_job_and_tells_its_state(self, job, capsys, prepare, words):
        """The default touches nothing of an earlier job, and names both ways on."""
        prepare(job)
        before = identities([*job.receipts, *job.parts])
        capsys.readouterr()

        assert run_here(job.args()) == 2

        error = capsys.readouterr().err
        for word in (str(job.output), words, "--if_exists=resume", "--if_exists=overwrite"):
            assert word in error
        assert identities([*job.receipts, *job.parts]) == before

    @pytest.mark.parametrize("prepare", [_finish, _leave_unfinished])
    def test_overwrite_runs_everything_anew(self, job, expected, prepare):
        """Overwriting keeps no unit of the earlier job, finished or not."""
        prepare(job)
        before = identities([*job.receipts, *job.parts])

        assert run_here(job.args("--if_exists=overwrite")) == 0

        after = identities([*job.receipts, *job.parts])
        assert all(after[path] != before[path] for path in before)
        assert_same_rows(job, expected)
        assert_clean(job)

    @pytest.mark.parametrize("if_exists", _IF_EXISTS)
    def test_a_foreign_directory_is_refused_by_all(self, job, capsys, if_exists):
        """Files of somebody else's are never deleted nor mixed with a job's; one of them is named."""
        _put_foreign_file(job)

        assert run_here(job.args(f"--if_exists={if_exists}")) == 2

        error = capsys.readouterr().err
        assert str(job.output) in error
        assert "thesis.txt" in error
        assert job.all_files() == {str(job.output / "thesis.txt")}

    @pytest.mark.parametrize("if_exists", _IF_EXISTS)
    def test_data_without_a_plan_is_refused_by_all(self, job, capsys, if_exists):
        """Parts that no plan speaks of may be the last copy of something."""
        _finish(job)
        (job.output / "_plan" / "plan.json").unlink()
        before = identities(job.parts)

        assert run_here(job.args(f"--if_exists={if_exists}")) == 2

        assert "model_name=ranker" in capsys.readouterr().err
        assert identities(job.parts) == before

    @pytest.mark.parametrize("if_exists", _IF_EXISTS)
    def test_a_file_is_refused_by_all(self, job, capsys, if_exists):
        """A file in the place of the output directory is told as such, and kept."""
        job.output.write_text("a file")

        assert run_here(job.args(f"--if_exists={if_exists}")) == 2

        assert f"--output={job.output} is a file" in capsys.readouterr().err
        assert job.output.read_text() == "a file"

    def test_overwrite_refuses_foreign_files_beside_a_job(self, job, capsys, expected):
        """A file that the user put beside a job would be mixed with the new one; all stays."""
        _finish(job)
        _put_foreign_file(job)

        assert run_here(job.args("--if_exists=overwrite")) == 2

        assert "thesis.txt" in capsys.readouterr().err
        assert (job.output / "thesis.txt").read_text() == "years of work"
        assert_same_rows(job, expected)


class TestOverwriteThatIsCutShort:
    def test_deletion_begins_with_the_claim_of_success_and_ends_with_the_plan(
        self, job, monkeypatch
    ):
        """However far a deletion came, what is left is an unfinished job, never a finished one."""
        from pipelines import output_directory

        _finish(job)
        seen = []
        delete_tree = output_directory.delete_tree

        def watched(directory):
            has_plan = (job.output / "_plan" / "plan.json").exists()
            seen.append((job.is_complete, has_plan))
            delete_tree(directory)

        monkeypatch.setattr(output_directory, "delete_tree", watched)
        output_directory.clear(str(job.output))

        assert len(seen) >= 2
        assert set(seen) == {(False, True)}
        assert job.parts == []
        assert not (job.output / "_plan" / "plan.json").exists()


class TestTwoJobsAtOnce:
    @pytest.fixture(name="running")
    def _running(self, job, tmp_path):
        """Returns a job process that is in the middle of its units."""
        started = tmp_path / "started"
        with JobProcess(
            job.args(), {hooks.SECS_PER_BATCH: 0.2, hooks.STARTED_FILE: started}
        ) as process:
            process.wait_until(started.exists, "the first batch came")
            yield process

    def test_the_second_is_refused_and_the_first_goes_on(self, job, running, expected, capsys):
        """A lock lets one job write at a time; the other is told whose it is."""
        for if_exists in ("resume", "overwrite"):
            assert run_here(job.args(f"--if_exists={if_exists}")) == 2
            error = capsys.readouterr().err
            assert str(job.output) in error
            assert f"process {running.pid} on {os.uname().nodename}" in error
        assert running.is_running

        assert running.result().code == 0
        assert_same_rows(job, expected)
        assert_clean(job)

    def test_a_job_that_was_finished_while_another_planned_is_kept(
        self, job, capsys, monkeypatch, expected
    ):
        """Who planned while another job ran and ended does not delete its output."""
        from pipelines import precompute

        make_plan = precompute.make_plan

        def overtaken(*args):
            plan = make_plan(*args)
            monkeypatch.setattr(precompute, "make_plan", make_plan)
            assert run_here(job.args()) == 0
            return plan

        for if_exists in ("error", "resume"):
            monkeypatch.setattr(precompute, "make_plan", overtaken)
            assert run_here(job.args(f"--if_exists={if_exists}")) == 2
            assert str(job.output) in capsys.readouterr().err
            assert_same_rows(job, expected)
            assert_clean(job)
            assert run_here(job.args("--if_exists=resume")) == 0
            shutil.rmtree(job.output)
