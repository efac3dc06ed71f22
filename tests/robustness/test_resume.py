"""What a resumed job holds on to, what it refuses, and which receipts it believes."""

import json
import os
import shutil

import pytest

from tests.robustness.jobs import (
    NUM_UNITS,
    UNIT_ROWS,
    assert_clean,
    assert_same_rows,
    identities,
    run_here,
    write_inputs,
)


@pytest.fixture(name="unfinished")
def _unfinished(job):
    """Returns a job of which the units 2 and 4 are missing, as after a kill."""
    assert run_here(job.args()) == 0
    (job.output / "_SUCCESS").unlink()
    (job.output / "_manifest.json").unlink()
    for unit in (2, 4):
        _receipt(job, unit).unlink()
        _part(job, unit).unlink()
    return job


@pytest.fixture(name="finished")
def _finished(job):
    assert run_here(job.args()) == 0
    return job


def _receipt(job, unit):
    return job.output / "_units" / f"unit-{unit:05d}.json"


def _part(job, unit):
    return next(each for each in job.parts if each.name.startswith(f"part-{unit:05d}-"))


def _state(job):
    return {path: job.output.joinpath(path).read_bytes() for path in job.all_files()}


class TestPlanHolds:
    def test_a_new_version_changes_nothing(self, unfinished, other_model, expected):
        """`latest` is what it was when the job was planned, though a version 2 has arrived."""
        shutil.copytree(other_model, unfinished.model / "2")
        kept = identities([*unfinished.receipts, *unfinished.parts])

        assert run_here(unfinished.resume_args()) == 0

        now = identities([*unfinished.receipts, *unfinished.parts])
        assert {path: now[path] for path in kept} == kept
        assert len(now) == 2 * NUM_UNITS
        assert not (unfinished.output / "model_name=ranker" / "model_version=2").exists()
        assert_same_rows(unfinished, expected)
        assert_clean(unfinished)

    def test_a_new_input_file_that_the_glob_matches_is_not_read(self, unfinished, expected):
        """The glob was resolved once; files that came later are no part of the job."""
        shutil.copy(unfinished.data / "in-0.parquet", unfinished.data / "in-9.parquet")

        assert run_here(unfinished.resume_args()) == 0

        assert_same_rows(unfinished, expected)

    def test_execution_flags_may_differ(self, unfinished, expected):
        """Batch size and threads decide nothing that is written, so another machine may resume."""
        args = unfinished.resume_args("--max_batch_size=17", "--num_batch_threads=1")

        assert run_here(args) == 0

        assert_same_rows(unfinished, expected)
        assert_clean(unfinished)

    def test_the_same_flags_again_are_no_conflict(self, unfinished, expected):
        """The command that began the job may be repeated with --if_exists=resume added."""
        assert run_here(unfinished.args("--if_exists=resume")) == 0
        assert_same_rows(unfinished, expected)

    def test_a_finished_job_is_not_run_again(self, finished, capsys):
        """Resume of a finished job succeeds and touches neither data nor receipts nor manifest."""
        before = identities(
            [*finished.receipts, *finished.parts, finished.output / "_manifest.json"]
        )

        assert run_here(finished.resume_args()) == 0

        assert identities([finished.output.joinpath(path) for path in before]) == before
        assert "done" in capsys.readouterr().out


class TestRefusals:
    def _assert_refused(self, job, capsys, *words, args=None):
        before = _state(job)
        capsys.readouterr()
        assert run_here(args or job.resume_args()) == 2
        error = capsys.readouterr().err
        for word in words:
            assert str(word) in error
        assert "Traceback" not in error
        assert error.count("\n") == 1
        lock = str(job.output / "_plan" / "lock")
        after = _state(job)
        assert {**after, lock: b""} == {**before, lock: b""}

    def test_changed_input_file(self, unfinished, capsys):
        """An input file that was rewritten would mix old and new rows: its name is told."""
        changed = unfinished.data / "in-2.parquet"
        shutil.copy(unfinished.data / "in-1.parquet", changed)
        self._assert_refused(unfinished, capsys, changed, "changed", "--if_exists=overwrite")

    def test_touched_input_file(self, unfinished, capsys):
        """The same size with another time of change is a change, too."""
        touched = unfinished.data / "in-1.parquet"
        os.utime(touched, (1_600_000_000, 1_600_000_000))
        self._assert_refused(unfinished, capsys, touched, "changed")

    def test_deleted_input_file(self, unfinished, capsys):
        """A missing input file is told as such."""
        gone = unfinished.data / "in-0.parquet"
        gone.unlink()
        self._assert_refused(unfinished, capsys, gone, "is gone")

    def test_overwritten_model(self, unfinished, other_model, capsys):
        """A version whose files were replaced is not the one whose outputs are there already."""
        shutil.rmtree(unfinished.model / "1")
        shutil.copytree(other_model, unfinished.model / "1")
        self._assert_refused(unfinished, capsys, unfinished.model / "1", "changed")

    def test_deleted_model(self, unfinished, capsys):
        """A version that is gone is refused by name, before any worker starts."""
        shutil.rmtree(unfinished.model / "1")
        self._assert_refused(unfinished, capsys, unfinished.model / "1")

    @pytest.mark.parametrize(
        ("flag", "planned"),
        [
            ("--key=features", "id"),
            ("--unit_rows=77", str(UNIT_ROWS)),
            ("--model_version=1", "latest"),
            ("--limit=5", "none"),
            ("--deterministic", "False"),
            (
                "--postprocess=tests.robustness.hooks:preprocess",
                "tests.robustness.hooks:postprocess",
            ),
        ],
        ids=lambda value: value.partition("=")[0] if value.startswith("--") else "",
    )
    def test_conflicting_flag(self, unfinished, capsys, flag, planned):
        """A flag that decides what is written must be as planned; both values are told."""
        name, _, value = flag.partition("=")
        args = unfinished.resume_args(flag)
        self._assert_refused(unfinished, capsys, name, value, planned, "conflicts", args=args)

    def test_other_batch_size_of_a_deterministic_job(self, job, capsys):
        """The batch size decides the bytes of a deterministic job, so there it conflicts."""
        assert run_here(job.args("--deterministic")) == 0
        args = job.resume_args("--max_batch_size=51")
        self._assert_refused(job, capsys, "--max_batch_size=51", "50", args=args)

    @pytest.mark.parametrize(
        ("name", "damage"),
        [
            ("plan.json", lambda content: content[: len(content) // 2]),
            ("plan.json", lambda _content: b""),
            ("plan.json", lambda _content: b"[]"),
            ("plan.json", lambda _content: b"\xff\xfe\x00"),
            ("plan.json", lambda content: content.replace(b'"models"', b'"nodels"')),
            ("plan.json", lambda content: content.replace(b'"features": {}', b'"features": 3')),
            ("units.parquet", lambda content: content[:-7]),
            ("units.parquet", lambda content: content[:50] + b"?" + content[51:]),
            ("inputs.parquet", lambda _content: b""),
        ],
        ids=[
            "plan cut off",
            "plan empty",
            "plan a list",
            "plan binary",
            "plan without models",
            "plan with wrong types",
            "units cut off",
            "units changed",
            "inputs empty",
        ],
    )
    def test_damaged_plan(self, unfinished, capsys, name, damage):
        """A damaged plan is recognised and its place and the way out are told."""
        path = unfinished.output / "_plan" / name
        path.write_bytes(damage(path.read_bytes()))
        self._assert_refused(
            unfinished, capsys, unfinished.output, "plan", "damaged", "delete the directory"
        )

    def test_plan_of_another_format_version(self, unfinished, capsys):
        """A plan that a newer program wrote is refused with both format versions."""
        path = unfinished.output / "_plan" / "plan.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
        self._assert_refused(unfinished, capsys, "format version 99", "delete the directory")


class TestReceiptsAreChecked:
    @pytest.mark.parametrize(
        "damage",
        [
            pytest.param(lambda _receipt, part: part.unlink(), id="part deleted"),
            pytest.param(lambda _receipt, part: os.truncate(part, 100), id="part truncated"),
            pytest.param(lambda receipt, _part: receipt.write_bytes(b""), id="empty"),
            pytest.param(lambda receipt, _part: os.truncate(receipt, 60), id="receipt truncated"),
            pytest.param(lambda receipt, _part: receipt.write_bytes(b'"text"'), id="a string"),
            pytest.param(lambda receipt, _part: receipt.write_bytes(b"null"), id="null"),
            pytest.param(lambda receipt, _part: receipt.write_bytes(b"\xff\x00"), id="binary"),
            pytest.param(
                lambda receipt, _part: receipt.write_text(
                    receipt.read_text().replace('"plan_id": "', '"plan_id": "0')
                ),
                id="of another plan",
            ),
        ],
    )
    def test_a_unit_without_a_valid_receipt_runs_again(self, unfinished, expected, damage):
        """Unit 1 and the two missing ones run; the other three are left alone."""
        kept = identities([_receipt(unfinished, unit) for unit in (0, 3, 5)])
        damaged_receipt = _receipt(unfinished, 1)
        before = damaged_receipt.stat().st_ino
        damage(damaged_receipt, _part(unfinished, 1))

        assert run_here(unfinished.resume_args()) == 0

        assert identities([_receipt(unfinished, unit) for unit in (0, 3, 5)]) == kept
        assert damaged_receipt.stat().st_ino != before
        assert_same_rows(unfinished, expected)
        assert_clean(unfinished)

    def test_a_finished_job_whose_part_is_gone_is_mended(self, finished, expected):
        """`_SUCCESS` does not outweigh a part that is missing: resume makes it again."""
        _part(finished, 3).unlink()

        assert run_here(finished.resume_args()) == 0

        assert_same_rows(finished, expected)
        assert_clean(finished)


class TestOverwrite:
    def test_changed_input_is_no_obstacle(self, finished):
        """Overwriting plans anew, so it takes the input as it is now."""
        shutil.rmtree(finished.data)
        write_inputs(finished.data)

        assert run_here(finished.args("--if_exists=overwrite")) == 0

        assert_clean(finished)

    def test_no_part_of_an_earlier_job_stays(self, finished, expected):
        """Parts are numbered `i of n`: those of a job with another n must not stay beside new ones."""
        args = finished.args("--if_exists=overwrite", "--unit_rows=400")

        assert run_here(args) == 0

        assert [each.name[-14:] for each in finished.parts] == ["-00003.parquet"] * 3
        assert len(finished.receipts) == 3
        assert_same_rows(finished, expected)
        assert_clean(finished)

    def test_a_directory_with_a_damaged_plan_is_deleted_by_hand(self, unfinished, expected, capsys):
        """Nothing tells what may be deleted there, so the message says who has to do it."""
        (unfinished.output / "_plan" / "plan.json").write_bytes(b"{")

        assert run_here(unfinished.args("--if_exists=overwrite")) == 2

        assert "delete the directory yourself" in capsys.readouterr().err
        shutil.rmtree(unfinished.output)
        assert run_here(unfinished.args()) == 0
        assert_same_rows(unfinished, expected)
        assert_clean(unfinished)
