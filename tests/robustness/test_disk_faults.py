"""Disks that are full or read-only, and inputs that go: one clear error, nothing half, and resume mends it."""

import errno
import os
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from tests.robustness.file_faults import FileFault, file_fault
from tests.robustness.jobs import run_here
from tests.robustness.kill_matrix import NUM_UNITS, RECEIPT, JobFiles, KindOfJob, write_originals
from transforms import process_unit

_KIND = KindOfJob(
    input_format="parquet",
    output_format="parquet",
    has_bad_rows=True,
    dedupe=False,
    deterministic=False,
)
_BEFORE_THE_PLAN = {
    "inputs table": r"/_plan/inputs\.parquet$",
    "units table": r"/_plan/units\.parquet$",
    "plan": r"/_plan/plan\.json$",
}
_AFTER_THE_PLAN = {
    "part": r"/model_version=2/part-",
    "dead letters": r"/_dead_letters/",
    "receipt": RECEIPT,
    "table of units": r"/_units/units\.parquet$",
    "manifest": r"/_manifest\.json$",
    "success": r"/_SUCCESS$",
}
_PLACES = {**_BEFORE_THE_PLAN, **_AFTER_THE_PLAN}


@pytest.fixture(scope="module", name="root")
def _root(tmp_path_factory):
    root = tmp_path_factory.mktemp("disk_faults")
    write_originals(str(root))
    return root


@pytest.fixture(scope="module", name="reference")
def _reference(root):
    """Returns the files of a run without faults."""
    output = root / "reference"
    assert run_here(_KIND.args(root, output)) == 0
    return JobFiles(output)


def _resume_args(job):
    return ["precompute", f"--output={job.output}", "--if_exists=resume"]


def _assert_one_error(capsys, *words):
    """Checks that one error was told, in few words and not as a traceback."""
    told = capsys.readouterr().err
    assert len(re.findall("^error: ", told, re.MULTILINE)) == 1, told
    assert "Traceback" not in told
    assert "while running" not in told
    for each in words:
        assert each in told


def _assert_nothing_half(job, reference):
    """Checks that whatever has its final name is whole, and that nothing without one is left."""
    assert not job.is_complete
    assert job.temporary_files == []
    whole = reference.rows()
    assert all(rows == whole[name] for name, rows in job.rows().items())


def _assert_gets_done(root, job, reference):
    """Checks that the job goes on, now that nothing is in its way, and comes out right."""
    args = _resume_args(job) if job.has_plan else _KIND.args(root, job.output)
    assert run_here(args) == 0
    assert job.is_complete
    assert job.rows() == reference.rows()
    assert job.letters() == reference.letters()
    assert not (job.output / "_errors").exists()


class TestOneFile:
    @pytest.mark.parametrize("moment", ["writing", "committing"])
    @pytest.mark.parametrize("place", _PLACES)
    def test_disk_full(self, root, reference, tmp_path, capsys, place, moment):
        """Wherever it happens: one error that names the file, and a job that can go on."""
        job = JobFiles(tmp_path / "output")
        fault = FileFault(moment=moment, path=_PLACES[place], error=errno.ENOSPC, lasts=True)

        with file_fault(fault) as planned:
            assert run_here(_KIND.args(root, job.output)) != 0

        assert planned.num_met
        _assert_one_error(capsys, "No space left on device", str(job.output))
        _assert_nothing_half(job, reference)
        assert job.has_plan == (place in _AFTER_THE_PLAN)
        _assert_gets_done(root, job, reference)


@pytest.mark.parametrize("error", [errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("number", [2, 9, 20])
class TestFromSomeFileOn:
    def test_every_later_file_fails(self, root, reference, tmp_path, capsys, number, error):
        """Not even the report of the failure can be written; it is told all the same."""
        job = JobFiles(tmp_path / "output")
        fault = FileFault(moment="writing", path="", number=number, error=error, lasts=True)

        with file_fault(fault):
            assert run_here([*_KIND.args(root, job.output), "--max_unit_retries=1"]) != 0

        _assert_one_error(capsys, "cannot be written", os.strerror(error), str(job.output))
        _assert_nothing_half(job, reference)
        _assert_gets_done(root, job, reference)


def _mount(*args):
    """Mounts; skips the test where that is not allowed."""
    if subprocess.run(["mount", *args], capture_output=True, check=False).returncode:
        pytest.skip("mounting is for the superuser")


@pytest.fixture(name="disk")
def _disk(tmp_path):
    """Returns an empty directory to mount something on, which is unmounted in the end."""
    disk = tmp_path / "disk"
    disk.mkdir()
    yield disk
    if disk.is_mount():
        subprocess.run(["umount", str(disk)], check=True)


class TestRealDisks:
    @pytest.mark.parametrize("size_kib", [8, 40, 72, 104])
    def test_small_disk(self, root, reference, disk, capsys, size_kib):
        """A disk that fills up wherever it does, and is then enlarged."""
        _mount("-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(disk))
        job = JobFiles(disk / "output")

        assert run_here(_KIND.args(root, job.output)) != 0

        _assert_one_error(capsys, "cannot be written", "No space left on device", str(job.output))
        _assert_nothing_half(job, reference)
        _mount("-o", "remount,size=10m", str(disk))
        _assert_gets_done(root, job, reference)

    @pytest.mark.parametrize("num_receipts", [0, 2])
    def test_read_only_disk(self, root, reference, disk, capsys, num_receipts):
        """Neither a new job nor one to be resumed gets far; both do once it may be written."""
        _mount("-t", "tmpfs", "tmpfs", str(disk))
        job = JobFiles(disk / "output")
        if num_receipts:
            fault = FileFault(moment="committing", path=RECEIPT, number=3, error=errno.EROFS)
            with file_fault(fault):
                assert run_here([*_KIND.args(root, job.output), "--direct_num_workers=1"]) != 0
            capsys.readouterr()
        _mount("-o", "remount,ro", str(disk))
        args = _resume_args(job) if job.has_plan else _KIND.args(root, job.output)

        assert run_here(args) == 2

        _assert_one_error(capsys, f"--output={job.output} cannot be written", "Read-only")
        assert len(job.receipts) == num_receipts
        _mount("-o", "remount,rw", str(disk))
        _assert_gets_done(root, job, reference)


class TestInputThatGoes:
    @pytest.fixture(name="data")
    def _data(self, root, tmp_path):
        """Returns a root with models and inputs of its own."""
        shutil.copytree(root / "adder", tmp_path / "root/adder")
        for name in ("parquet-good", "parquet-bad"):
            shutil.copytree(root / name, tmp_path / "root" / name)
        return tmp_path / "root"

    @pytest.mark.parametrize("has_bad_rows", [False, True])
    def test_file_gone_in_the_middle(self, data, tmp_path, capsys, monkeypatch, has_bad_rows):
        """It is named, its rows are nowhere, and the job gets done when it is back as it was."""
        kind = replace(_KIND, has_bad_rows=has_bad_rows)
        reference, job = JobFiles(tmp_path / "reference"), JobFiles(tmp_path / "output")
        assert run_here(kind.args(data, reference.output)) == 0
        last = max((data / f"parquet-{'bad' if has_bad_rows else 'good'}").iterdir())
        aside = tmp_path / "aside.parquet"
        write_receipt = process_unit.write_receipt

        def write_first(receipt, *place):
            write_receipt(receipt, *place)
            if receipt.unit == 0:
                last.rename(aside)

        monkeypatch.setattr(process_unit, "write_receipt", write_first)
        capsys.readouterr()

        assert run_here([*kind.args(data, job.output), "--direct_num_workers=1"]) == 1

        _assert_one_error(capsys, str(last) if not has_bad_rows else "2 of 6 units")
        _assert_nothing_half(job, reference)
        assert len(job.receipts) == NUM_UNITS - 2
        assert run_here(_resume_args(job)) == 2
        _assert_one_error(capsys, f"the input file {last} is gone since the job was planned")
        aside.rename(last)
        _assert_gets_done(data, job, reference)

    def test_file_replaced_in_the_middle(self, data, tmp_path, capsys):
        """Rows of another file are not mixed with those that are written."""
        job = JobFiles(tmp_path / "output")
        fault = FileFault(moment="committing", path=RECEIPT, number=3, error=errno.EROFS)
        with file_fault(fault):
            assert run_here(_KIND.args(data, job.output)) == 1
        capsys.readouterr()
        shutil.copy(data / "parquet-bad/in-0.parquet", data / "parquet-bad/in-2.parquet")

        assert run_here(_resume_args(job)) == 2

        _assert_one_error(capsys, "in-2.parquet changed since the job was planned")
