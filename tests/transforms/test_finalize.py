"""The last stage counts what readers will find, and refuses what no unit wrote."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servable_core.errors import AbortedError, DataLossError
from servable_core.runtime.abort_token import AbortToken
from tests import memory_file_system as memory
from tests.robustness.plans import make_plan
from transforms.dead_letters import dead_letters_path
from transforms.finalize import MANIFEST_FILE, SUCCESS_FILE, finalize
from transforms.plan_files import write_plan
from transforms.receipts import OutputFile, Receipt, part_path, write_receipt
from transforms.storage import create_file, delete_file, read_bytes

_NUM_UNITS = 2
_VERSIONS = (1, 2)


def _write_part(output, path, num_rows=20):
    with create_file(output, f"{output}/{path}") as sink:
        pq.write_table(pa.table({"score": [0.5] * num_rows}), sink)
    return sink.written()


def _commit(plan, unit, output, *, num_bad=0):
    files = []
    for model in plan.models:
        path = part_path(model.name, model.version, unit.index, len(plan.units))
        written = _write_part(output, path, 20 - num_bad)
        files.append(
            OutputFile(
                model_name=model.name,
                model_version=model.version,
                path=path,
                rows=20 - num_bad,
                size_bytes=written.size_bytes,
                sha256=written.sha256,
            )
        )
    receipt = Receipt(
        plan_id=plan.plan_id,
        unit=unit.index,
        rows_read=20,
        files=tuple(files),
        num_batches=1,
        started_secs=1.0,
        ended_secs=2.0,
        peak_rss_bytes=1,
        rows_failed=(num_bad,) * len(plan.models),
        dead_letters={"bind": num_bad} if num_bad else {},
    )
    write_receipt(receipt, output)


@pytest.fixture(name="output", params=["local", "remote"])
def _output(request, tmp_path):
    memory.clear()
    yield str(tmp_path / "out") if request.param == "local" else "mem://bucket/out"
    memory.clear()


@pytest.fixture(name="plan")
def _plan(output):
    """Returns a plan of two units over two versions, all of them committed."""
    plan = write_plan(make_plan(num_units=_NUM_UNITS, versions=_VERSIONS), output)
    for unit in plan.units:
        _commit(plan, unit, output)
    return plan


class TestStrayParts:
    def test_none(self, plan, output):
        """Where receipts name every part, the job is declared done."""
        finalize(plan, output)
        assert read_bytes(f"{output}/{SUCCESS_FILE}") is not None

    @pytest.mark.parametrize(
        "name", ["part-00000-of-00005.parquet", "part-00007-of-00002.parquet", "copy.parquet"]
    )
    def test_a_part_that_no_receipt_names(self, plan, output, name):
        """A part of an earlier job or of a late worker would double rows, so the job is not done."""
        path = f"model_name=ranker/model_version=2/{name}"
        _write_part(output, path)
        with pytest.raises(DataLossError) as caught:
            finalize(plan, output)
        for word in (f"{output}/{path}", "1 such", "delete it", "--if_exists=resume"):
            assert word in str(caught.value)
        assert read_bytes(f"{output}/{SUCCESS_FILE}") is None

    @pytest.mark.parametrize("name", [".part.parquet.crc", "_old/part.parquet", "notes.txt"])
    def test_what_no_reader_takes_for_rows(self, plan, output, name):
        """Hidden names and other kinds of files are left alone."""
        _write_part(output, f"model_name=ranker/model_version=1/{name}")
        finalize(plan, output)
        assert read_bytes(f"{output}/{SUCCESS_FILE}") is not None


class TestAnotherJob:
    def test_that_has_replaced_the_plan(self, plan, output):
        """Its job is not declared done by the last stage of this one."""
        write_plan(make_plan(num_units=_NUM_UNITS + 1, versions=_VERSIONS), output)
        with pytest.raises(AbortedError, match=f"{output} .*another job"):
            finalize(plan, output)
        assert read_bytes(f"{output}/{SUCCESS_FILE}") is None

    def test_that_has_the_lock_by_now(self, plan, output):
        """What stops the units stops the last stage, too."""
        abort = AbortToken()
        abort.set("taken over")
        with pytest.raises(AbortedError, match="taken over"):
            finalize(plan, output, check=abort.check)
        assert read_bytes(f"{output}/{MANIFEST_FILE}") is None

    def test_that_wrote_a_part_of_other_rows(self, plan, output):
        """The message names the receipt that no longer holds, and how to go on."""
        part = part_path("ranker", 1, 1, _NUM_UNITS)
        _write_part(output, part, 19)
        with pytest.raises(DataLossError) as caught:
            finalize(plan, output)
        for word in (f"{output}/{part} has 19 rows", "delete", "_units/unit-00001", "resume"):
            assert word in str(caught.value)


class TestDeadLetters:
    @pytest.fixture(name="letters")
    def _letters(self, plan, output):
        """Returns the path of two letters, whose rows unit 1 has not written."""
        _commit(plan, plan.units[1], output, num_bad=2)
        path = f"{output}/{dead_letters_path(1, _NUM_UNITS)}"
        _write_letters(output, path, 2)
        return path

    def test_as_many_as_receipts_say(self, plan, output, letters):
        """Rows written and letters are the rows read, so the job is done."""
        finalize(plan, output)
        assert read_bytes(f"{output}/{SUCCESS_FILE}") is not None

    @pytest.mark.parametrize("num_letters", [0, 1, 3])
    def test_another_number(self, plan, output, letters, num_letters):
        """Letters that went missing, or that nobody can explain, are told with their file."""
        _write_letters(output, letters, num_letters)
        with pytest.raises(
            DataLossError, match=f"has {num_letters} dead letters.* says 2"
        ) as caught:
            finalize(plan, output)
        for word in (letters, "delete", "_units/unit-00001.json", "--if_exists=resume"):
            assert word in str(caught.value)
        assert read_bytes(f"{output}/{SUCCESS_FILE}") is None

    def test_no_file(self, plan, output, letters):
        """A file of letters that is gone is as bad."""
        delete_file(letters)
        with pytest.raises(DataLossError, match="has 0 dead letters"):
            finalize(plan, output)


def _write_letters(output, path, num_letters):
    with create_file(output, path) as sink:
        pq.write_table(pa.table({"stage": ["bind"] * num_letters}), sink)
