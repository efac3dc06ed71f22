"""Input and output errors that pass are retried unit by unit; others fail the job at once."""

import errno
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import memory_file_system as memory
from tests.robustness import flaky_file_system as flaky
from tests.robustness.jobs import NUM_FILES, run_here

_INPUT = "flaky://data/in-1.parquet"
_OUTPUT = "flaky://output"
_PART = f"{_OUTPUT}/model_name=ranker/model_version=1/part-00002-of-00006.parquet"
_RECEIPT = f"{_OUTPUT}/_units/unit-00002.json"
_BAD_UNIT = "unit 2 of 6"  # the first of the second file


def _passing():
    return OSError(errno.EIO, "the network hiccuped")


@pytest.fixture(name="args", autouse=True)
def _args(originals):
    """Returns the arguments of a job whose input and output may be told to fail."""
    flaky.forget()
    for index in range(NUM_FILES):
        path = originals / "data" / f"in-{index}.parquet"
        memory.put(f"flaky://data/in-{index}.parquet", path.read_bytes())
    yield [
        "precompute",
        f"--model_base_path={originals / 'ranker'}",
        "--input=flaky://data/*.parquet",
        f"--output={_OUTPUT}",
        "--key=id",
        "--unit_rows=200",
        "--direct_num_workers=1",
    ]
    memory.clear()


def _assert_done(expected):
    assert f"{_OUTPUT}/_SUCCESS" in memory.paths(_OUTPUT)
    parts = [each for each in memory.paths(_OUTPUT) if "/part-" in each]
    tables = [pq.read_table(io.BytesIO(memory.content(each))) for each in parts]
    found = pa.concat_tables(tables).sort_by("id")
    assert found.column("id").to_pylist() == expected.column("id").to_pylist()


def _assert_failed(capsys, *words):
    error = capsys.readouterr().err
    for word in (_BAD_UNIT, _INPUT, *words):
        assert word in error
    assert f"{_OUTPUT}/_SUCCESS" not in memory.paths(_OUTPUT)
    assert _RECEIPT not in memory.paths(_OUTPUT)


class TestPassingErrors:
    @pytest.mark.parametrize(
        ("action", "path", "num_before"),
        [
            pytest.param("open", _INPUT, 1, id="open of the input"),
            pytest.param("read", _INPUT, 2, id="read of the input"),
            pytest.param("create", _PART, 0, id="creation of the part"),
            pytest.param("upload", _PART, 0, id="upload of the part"),
            pytest.param("create", _RECEIPT, 0, id="creation of the receipt"),
        ],
    )
    def test_two_errors_then_success(self, args, expected, action, path, num_before):
        """The unit is tried again and succeeds at the third attempt, each row written once."""
        flaky.plan_faults(action, path, [*[None] * num_before, _passing(), _passing()])

        assert run_here(args) == 0

        assert flaky.num_faults_left() == 0
        assert flaky.attempts(action, path) >= num_before + 3
        _assert_done(expected)
        manifest = json.loads(memory.content(f"{_OUTPUT}/_manifest.json"))
        assert manifest["retries"] == 2

    def test_retries_are_logged(self, args, caplog):
        """Each further attempt is told, with unit, cause and the wait."""
        flaky.plan_faults("create", _PART, [_passing(), _passing()])

        assert run_here(args) == 0

        found = [each for each in caplog.messages if each.startswith("unit 2: ")]
        assert len(found) == 2, caplog.messages
        assert "the network hiccuped; trying again in 0.5 s" in found[0]
        assert "trying again in 1.0 s" in found[1]

    def test_retries_are_bounded(self, args, capsys):
        """An error that does not pass in --max_unit_retries further attempts fails the unit."""
        flaky.plan_faults("create", _PART, [_passing() for _ in range(5)])

        assert run_here([*args, "--max_unit_retries=1"]) == 1

        assert flaky.attempts("create", _PART) == 2
        _assert_failed(capsys, "the network hiccuped")


class TestLastingErrors:
    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.ENOSPC, "no space left"),
            PermissionError(errno.EACCES, "not yours"),
            ValueError("not an I/O error"),
        ],
        ids=["no space", "no permission", "other"],
    )
    def test_one_attempt(self, args, capsys, error):
        """What waiting does not mend is told at once: one attempt, exit code 1."""
        flaky.plan_faults("create", _PART, [error])

        assert run_here(args) == 1

        assert flaky.attempts("create", _PART) == 1
        _assert_failed(capsys, type(error).__name__)

    def test_an_input_that_vanished(self, args, capsys):
        """A file that is gone when its unit runs fails the unit by name, without retries."""
        gone = FileNotFoundError(errno.ENOENT, "gone")
        flaky.plan_faults("open", _INPUT, [None, gone, gone])

        assert run_here(args) == 1

        assert flaky.attempts("open", _INPUT) == 2
        _assert_failed(capsys, "FileNotFoundError")
