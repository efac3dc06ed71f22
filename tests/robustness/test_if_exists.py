"""What `--if_exists` deletes, and what it never does: nothing but what a job of ours wrote."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystem import BeamIOError

from servable_core.errors import FailedPreconditionError
from tests import memory_file_system as memory
from tests.robustness.jobs import assert_clean, assert_same_rows, identities, run_here
from transforms.storage import delete_file, delete_tree, discard_tree

_IF_EXISTS = ("error", "overwrite", "resume")


def _put(job, name):
    path = job.output / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("years of work")
    return path


def _contents(job):
    return {path: Path(path).read_bytes() for path in job.all_files() if not path.endswith("/lock")}


def _assert_refused(job, capsys, args, *words):
    """Checks that the job ends with exit code 2 and one message, and that no file has changed."""
    before = _contents(job)
    capsys.readouterr()
    assert run_here(args) == 2
    error = capsys.readouterr().err
    for word in (str(job.output), *words):
        assert word in error
    assert error.count("\n") == 1
    assert _contents(job) == before


@pytest.fixture(name="finished")
def _finished(job):
    assert run_here(job.args()) == 0
    return job


class TestWithoutAPlan:
    @pytest.mark.parametrize("if_exists", _IF_EXISTS)
    @pytest.mark.parametrize(
        "name",
        [
            "_tmp/draft.txt",
            "_errors/notes.txt",
            "_units/unit-00000.json",
            "_SUCCESS",
            "_manifest.json",
            "_plan/notes.txt",
            "_plan/inputs.parquet.bak",
        ],
    )
    def test_names_like_ours_are_refused_and_kept(self, job, capsys, name, if_exists):
        """Without a plan a file is nobody's but the user's, whatever it is called."""
        _put(job, name)
        args = job.args(f"--if_exists={if_exists}")
        _assert_refused(job, capsys, args, "holds no plan of an earlier job", name.split("/")[0])

    @pytest.mark.parametrize("name", ["_plan", "_tmp"])
    def test_a_link_is_refused(self, job, capsys, tmp_path, name):
        """A link under a name of ours leads to a directory that no job made."""
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "inputs.parquet").write_text("years of work")
        job.output.mkdir()
        (job.output / name).symlink_to(tmp_path / "mine")
        _assert_refused(job, capsys, job.args(), name)
        assert (tmp_path / "mine" / "inputs.parquet").read_text() == "years of work"

    @pytest.mark.parametrize("if_exists", _IF_EXISTS)
    def test_what_a_job_killed_while_planning_left_is_no_obstacle(self, job, expected, if_exists):
        """Lock, tables and half-written files without a plan are a job that never began."""
        half_written = f"_tmp/123-{'0a' * 16}"
        for name in ("_plan/lock", "_plan/inputs.parquet", "_plan/units.parquet", half_written):
            _put(job, name)
        assert run_here(job.args(f"--if_exists={if_exists}")) == 0
        assert_same_rows(job, expected)
        assert_clean(job)


class TestOverwrite:
    def test_the_old_models_directories_go(self, finished, expected):
        """A job with a model of another name leaves nothing of the one it replaces."""
        args = finished.args("--if_exists=overwrite", "--model_name=a/b")
        assert run_here(args) == 0
        names = {each.name for each in finished.output.glob("model_name=*")}
        assert names == {"model_name=a%2Fb"}
        assert_same_rows(finished, expected)
        assert run_here(finished.args("--if_exists=overwrite")) == 0
        assert {each.name for each in finished.output.glob("model_name=*")} == {"model_name=ranker"}

    @pytest.mark.parametrize(
        "name",
        [
            "model_name=other/model_version=1/part-00000-of-00001.parquet",
            "model_name=ranker/model_version=7/part-00000-of-00001.parquet",
            "model_name=ranker/notes.txt",
            "thesis.txt",
        ],
    )
    def test_what_the_old_job_did_not_write_is_refused(self, finished, capsys, name):
        """Readers would take it for part of the new output, so nothing is deleted at all."""
        _put(finished, name)
        named = name.rpartition("/model_version=1")[0] or name.rpartition("/part")[0] or name
        _assert_refused(finished, capsys, finished.args("--if_exists=overwrite"), named)

    def test_hidden_entries_are_kept(self, finished, expected):
        """Names that no reader sees disturb nobody, and stay."""
        kept = [_put(finished, name) for name in ("_notes/mine.txt", ".hidden", "_mine")]
        assert run_here(finished.args("--if_exists=overwrite")) == 0
        assert [each.read_text() for each in kept] == ["years of work"] * 3
        assert_same_rows(finished, expected)

    @pytest.mark.parametrize("damage", ["json", "format", "table"])
    def test_an_unreadable_plan_is_refused(self, finished, capsys, damage):
        """A plan that cannot be read does not tell what may be deleted."""
        plan = finished.output / "_plan" / "plan.json"
        if damage == "json":
            plan.write_text("{")
        elif damage == "format":
            plan.write_text(json.dumps({**json.loads(plan.read_text()), "format_version": 99}))
        else:
            (plan.parent / "units.parquet").write_bytes(b"")
        words = ("_plan/plan.json", "cannot read", "delete the directory yourself")
        _assert_refused(finished, capsys, finished.args("--if_exists=overwrite"), *words)

    @pytest.mark.parametrize("name", ["model_name=ranker", "model_name=ranker/model_version=1"])
    def test_a_linked_directory_is_refused(self, finished, capsys, tmp_path, name):
        """A link is not what the job made: it is named, neither followed nor deleted."""
        directory = finished.output / name
        moved = shutil.move(directory, tmp_path / "elsewhere")
        directory.symlink_to(moved)
        before = sorted(moved.rglob("*"))
        _assert_refused(finished, capsys, finished.args("--if_exists=overwrite"), name)
        assert sorted(moved.rglob("*")) == before
        assert directory.is_symlink()


class TestDeletionThatFails:
    def test_data_that_stay_end_the_job(self, finished, capsys, monkeypatch):
        """Parts that cannot be deleted would be mixed with new ones, so no new job begins."""
        before = identities(finished.parts)

        def refuse(directory, *_args, **_options):
            raise PermissionError(13, "Permission denied", str(directory))

        monkeypatch.setattr(shutil, "rmtree", refuse)
        assert run_here(finished.args("--if_exists=overwrite")) == 2
        error = capsys.readouterr().err
        assert "cannot be deleted" in error
        assert "Permission denied" in error
        assert identities(finished.parts) == before
        assert not finished.is_complete

    def test_objects_that_stay(self, monkeypatch):
        """A store that refuses a deletion is told with its own words; scratch may stay."""

        def refuse(*_args):
            raise BeamIOError("Delete operation failed", {"mem://b/x": PermissionError("locked")})

        monkeypatch.setattr(memory.MemoryFileSystem, "delete", refuse)
        memory.clear()
        memory.put("mem://b/x/1", b"1")
        with pytest.raises(FailedPreconditionError, match=r"mem://b/x cannot be deleted: .*locked"):
            delete_tree("mem://b/x")
        with pytest.raises(FailedPreconditionError, match="mem://b/x/1 cannot be deleted"):
            delete_file("mem://b/x/1")
        discard_tree("mem://b/x")
        delete_file("mem://b/missing")
        memory.clear()

    @pytest.mark.parametrize("is_broken", [False, True])
    def test_of_a_link_only_the_link_goes(self, tmp_path, is_broken):
        """A linked directory is unlinked, never followed and never left."""
        target = tmp_path / "target"
        if not is_broken:
            target.mkdir()
            (target / "mine.txt").write_text("years of work")
        (tmp_path / "link").symlink_to(target)
        delete_tree(str(tmp_path / "link"))
        assert not (tmp_path / "link").is_symlink()
        assert is_broken or (target / "mine.txt").exists()


class TestResume:
    def test_a_literal_path_with_glob_signs(self, job, expected):
        """A job over a file whose name looks like a glob is planned and resumed."""
        table = pq.ParquetDataset(sorted(job.data.glob("*.parquet"))).read()
        path = job.data / "a[1].parquet"
        pq.write_table(table, path)
        args = [each for each in job.args() if not each.startswith("--input=")]
        assert run_here([*args, f"--input={path}"]) == 0
        job.receipts[0].unlink()
        (job.output / "_SUCCESS").unlink()
        assert run_here(job.resume_args()) == 0
        assert_same_rows(job, expected)

    @pytest.mark.parametrize("has_part", [False, True])
    def test_a_remote_input_with_glob_signs_is_found_unchanged(self, job, has_part, capsys):
        """Objects are looked up by their names: `a[1]` is not `a1`, which may be there as well."""
        memory.clear()
        for path in sorted(job.data.glob("in-0.parquet")):
            memory.put("mem://bucket/a[1].parquet", path.read_bytes())
        if has_part:
            memory.put("mem://bucket/a1.parquet", b"something else")
        args = [each for each in job.args() if not each.startswith("--input=")]
        assert run_here([*args, "--input=mem://bucket/a[1].parquet"]) == 0
        assert run_here(job.resume_args()) == 0, capsys.readouterr().err
        memory.put("mem://bucket/a[1].parquet", b"changed")
        assert run_here(job.resume_args()) == 2
        assert "the input file mem://bucket/a[1].parquet changed" in capsys.readouterr().err
        memory.clear()
