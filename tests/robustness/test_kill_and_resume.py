"""SIGKILL at the worst moments, then resume: nothing lost, nothing twice."""

import json
import os
import random
import shutil
import signal
import time

import pytest

from tests.robustness import driver, hooks
from tests.robustness.jobs import (
    BATCH_ROWS,
    NUM_UNITS,
    UNIT_ROWS,
    Job,
    JobProcess,
    assert_clean,
    assert_same_rows,
    identities,
    run_here,
    run_process,
)

_DRIVER = "tests.robustness.driver"
_BATCHES_PER_UNIT = UNIT_ROWS // BATCH_ROWS
_ONE_WORKER = "--direct_num_workers=1"  # units run one after another, so moments are exact


def _at_receipt(number, when):
    return {driver.KILL_AT_RECEIPT: number, driver.KILL_WHEN: when}


@pytest.fixture(scope="module", name="expected_bytes")
def _expected_bytes(originals, tmp_path_factory):
    """Returns the data files of an uninterrupted deterministic run in a process of its own."""
    output = tmp_path_factory.mktemp("deterministic") / "output"
    job = Job(model=originals / "ranker", data=originals / "data", output=output)
    result = run_process(job.args("--deterministic"))
    assert result.code == 0, result.err
    return job.part_bytes()


def _kill(job, args, environment):
    """Runs the job until it kills itself; returns the files of its finished units."""
    module = _DRIVER if driver.KILL_AT_RECEIPT in environment else None
    result = run_process(args, environment, module=module)
    assert result.code == -signal.SIGKILL, result
    assert not job.is_complete
    finished = {_unit(each) for each in job.receipts}
    return identities([*job.receipts, *[each for each in job.parts if _unit(each) in finished]])


def _unit(path):
    return path.name[5:10]  # of unit-00003.json and of part-00003-of-00006.parquet


def _now(job, kept):
    """Returns what the files of `kept` are by now."""
    return identities([each for each in [*job.receipts, *job.parts] if str(each) in kept])


class TestKillOnce:
    @pytest.mark.parametrize(
        ("environment", "num_files"),
        [
            pytest.param(_at_receipt(3, "after"), (3, 3), id="after receipt 3"),
            pytest.param(_at_receipt(2, "before"), (1, 2), id="between part and receipt"),
            pytest.param({hooks.KILL_AT_BATCH: 2 * _BATCHES_PER_UNIT + 2}, (2, 2), id="in a write"),
        ],
    )
    def test_resume_runs_only_missing_units_and_gives_the_same_bytes(
        self, job, expected, expected_bytes, environment, num_files
    ):
        """A deterministic job that is killed and resumed equals an uninterrupted one byte by byte."""
        kept = _kill(job, job.args("--deterministic", _ONE_WORKER), environment)
        assert (len(job.receipts), len(job.parts)) == num_files

        result = run_process(job.resume_args())

        assert result.code == 0, result.err
        assert f"{num_files[0]} of them done already" in result.out
        assert _now(job, kept) == kept
        assert job.part_bytes() == expected_bytes
        assert_same_rows(job, expected)
        assert_clean(job)

    def test_kill_in_a_write_leaves_a_temporary_file_and_resume_deletes_it(self, job, expected):
        """Half-written files never get their final names, and a resumed job clears them away."""
        kept = _kill(job, job.args(), {hooks.KILL_AT_BATCH: NUM_UNITS * _BATCHES_PER_UNIT // 2})
        assert job.temporary_files

        assert run_here(job.resume_args()) == 0

        assert _now(job, kept) == kept
        assert_same_rows(job, expected)
        assert_clean(job)

    def test_parallel_units_killed_between_part_and_receipt_are_run_again(self, job, expected):
        """With two units in flight each part without a receipt is written anew, each key once."""
        kept = _kill(job, job.args(), _at_receipt(3, "before"))
        assert len(job.receipts) == 2
        assert len(job.parts) >= 3

        assert run_here(job.resume_args()) == 0

        assert _now(job, kept) == kept
        assert_same_rows(job, expected)
        assert_clean(job)

    def test_kill_before_the_plan_is_whole_lets_the_job_begin_again(self, job, expected):
        """A directory in which planning was interrupted counts as empty."""
        assert run_here(job.args()) == 0
        for path in (job.output / "_SUCCESS", job.output / "_manifest.json"):
            path.unlink()
        shutil.rmtree(job.output / "_units")
        shutil.rmtree(job.output / "model_name=ranker")
        (job.output / "_plan" / "plan.json").unlink()

        assert run_here(job.args()) == 0

        assert_same_rows(job, expected)
        assert_clean(job)

    def test_kill_after_success_leaves_a_finished_job(self, job, expected):
        """A job killed right after its last file is done; resume only tidies up."""
        assert run_here(job.args()) == 0
        stale = job.output / "_tmp" / "1234-stale"
        stale.parent.mkdir(exist_ok=True)
        stale.write_bytes(b"half")
        before = identities([*job.receipts, *job.parts])

        assert run_here(job.resume_args()) == 0

        assert identities([*job.receipts, *job.parts]) == before
        assert_same_rows(job, expected)
        assert_clean(job)


_ASIDE = "--on_error=dead_letter"


class TestDeadLetters:
    @pytest.mark.parametrize(
        "num_bad",
        [pytest.param(UNIT_ROWS, id="all rows"), pytest.param(UNIT_ROWS // 2, id="half of them")],
    )
    def test_rows_that_fail_only_when_the_unit_runs_again(self, job, expected, num_bad):
        """The part that a killed attempt left is replaced, also by none; each row is there once."""
        _kill(job, job.args(_ASIDE, _ONE_WORKER), _at_receipt(1, "before"))
        assert [_unit(each) for each in job.parts] == ["00000"]

        result = run_process(job.resume_args(), {hooks.FAIL_IDS: f"0:{num_bad}"})

        assert result.code == 0, result.err
        assert job.table()["id"].to_pylist() == expected["id"].to_pylist()[num_bad:]
        assert [row["source_row"] for row in job.letters()] == list(range(num_bad))
        assert job.is_complete

    def test_rows_that_failed_only_before_the_kill(self, job, expected):
        """Nor do letters stay of rows that are written now."""
        environment = {hooks.FAIL_IDS: f"100:{UNIT_ROWS}", **_at_receipt(1, "before")}
        _kill(job, job.args(_ASIDE, _ONE_WORKER), environment)
        assert len(job.letters()) == UNIT_ROWS - 100

        assert run_here(job.resume_args()) == 0

        assert job.letters() == []
        assert_same_rows(job, expected)
        assert_clean(job)

    def test_a_unit_that_fails_for_good_is_told_although_its_part_was_left(self, job, expected):
        """Its part is of no receipt, and yet no stray: the manifest lists the unit, resume mends it."""
        _kill(job, job.args(_ASIDE, _ONE_WORKER), _at_receipt(1, "before"))
        unreadable = job.data / "in-0.parquet"
        content, status = unreadable.read_bytes(), unreadable.stat()
        unreadable.write_bytes(b"\0" * len(content))
        os.utime(unreadable, ns=(status.st_atime_ns, status.st_mtime_ns))

        result = run_process(job.resume_args())

        assert result.code == 1
        assert "2 of 6 units have no valid receipt" in result.err
        manifest = json.loads((job.output / "_manifest.json").read_text())
        assert [each["unit"] for each in manifest["failed_units"]] == [0, 1]
        unreadable.write_bytes(content)
        os.utime(unreadable, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert run_here(job.resume_args()) == 0
        assert_same_rows(job, expected)

    def test_deterministic_means_the_same_bytes_of_parts_and_letters(self, job, tmp_path):
        """Also of the rows that shared a batch with the bad one."""
        bad_row = {hooks.FAIL_AT_ID: 2 * UNIT_ROWS + BATCH_ROWS // 2}
        args = job.args(_ASIDE, "--deterministic")
        assert run_process(args, bad_row).code == 0
        reference = job.part_bytes() | job.letter_bytes()
        job.output.rename(tmp_path / "uninterrupted")

        for number in (1, 2):
            _kill(job, args, {**bad_row, **_at_receipt(number, "before")})
            args = job.resume_args()
        result = run_process(args, bad_row)

        assert result.code == 0, result.err
        assert len(job.letters()) == 1
        assert job.part_bytes() | job.letter_bytes() == reference


@pytest.mark.long
class TestKillMatrix:
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("number", range(1, NUM_UNITS + 1))
    def test_kill_at_every_receipt(self, job, expected, expected_bytes, number, when):
        """Wherever between two receipts the job dies, resume gives the same bytes."""
        kept = _kill(job, job.args("--deterministic"), _at_receipt(number, when))
        assert len(job.receipts) == number - (when == "before")

        assert run_process(job.resume_args()).code == 0

        assert _now(job, kept) == kept
        assert job.part_bytes() == expected_bytes
        assert_same_rows(job, expected)
        assert_clean(job)

    def test_a_job_killed_many_times_in_a_row_gets_done(self, job, expected, expected_bytes):
        """Twelve kills at seeded random moments, in whatever stage that is, lose and repeat nothing."""
        moments = random.Random(5)
        slow = {hooks.SECS_PER_BATCH: 0.15}
        args = job.args("--deterministic")
        for _ in range(12):
            before = identities(job.receipts)
            with JobProcess(args, slow) as process:
                deadline_secs = time.monotonic() + moments.uniform(1.0, 9.0)
                while process.is_running and time.monotonic() < deadline_secs:
                    time.sleep(0.02)
            has_plan = (job.output / "_plan" / "plan.json").exists()
            args = job.resume_args() if has_plan else job.args("--deterministic")
            assert _now(job, before) == before

        result = run_process(args)

        assert result.code == 0, result.err
        assert job.part_bytes() == expected_bytes
        assert_same_rows(job, expected)
        assert_clean(job)
