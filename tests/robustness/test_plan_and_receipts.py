import dataclasses
import json

import pytest

from servable_core.errors import FailedPreconditionError
from tests.robustness.plans import make_plan
from transforms import plan as plan_module
from transforms.plan import read_plan, write_plan
from transforms.receipts import (
    OutputFile,
    Receipt,
    part_path,
    read_receipt,
    receipt_path,
    write_receipt,
)

_PART_BYTES = b"twenty rows, say"


class TestPlan:
    @pytest.mark.parametrize("rows", [10, -1], ids=["known rows", "unknown rows"])
    def test_round_trip(self, tmp_path, rows):
        """What is read is what was written, types and order included."""
        plan = make_plan(rows=rows, versions=(3, 1))
        written = write_plan(plan, str(tmp_path))
        assert dataclasses.replace(written, plan_id="") == plan
        assert read_plan(str(tmp_path)) == written

    def test_no_plan(self, tmp_path):
        """A directory without a plan is no error."""
        assert read_plan(str(tmp_path)) is None

    def test_many_units_keep_their_order(self, tmp_path):
        """Units are found by index, so their order must survive."""
        written = write_plan(make_plan(num_units=1000), str(tmp_path))
        found = read_plan(str(tmp_path))
        assert [unit.index for unit in found.units] == list(range(1000))
        assert found == written

    def test_the_id_tells_plans_apart(self, tmp_path):
        """Equal plans have equal ids; a plan that differs in anything has another."""
        plan = make_plan()
        plan_id = write_plan(plan, str(tmp_path / "a")).plan_id
        assert write_plan(plan, str(tmp_path / "b")).plan_id == plan_id
        others = [
            make_plan(num_units=4),
            make_plan(versions=(2,)),
            dataclasses.replace(plan, batch_size_hint=1),
            dataclasses.replace(plan, flags={}),
            dataclasses.replace(plan, inputs=plan.inputs[::-1]),
        ]
        ids = {write_plan(each, str(tmp_path / str(i))).plan_id for i, each in enumerate(others)}
        assert len(ids) == len(others)
        assert plan_id not in ids

    def test_plan_json_is_written_last(self, tmp_path, monkeypatch):
        """However early planning is cut short, a plan of which a part is missing does not count as one."""
        written = []
        write_bytes = plan_module.write_bytes

        def watched(root, path, content):
            assert read_plan(str(tmp_path)) is None
            write_bytes(root, path, content)
            written.append(path.rpartition("/")[2])

        monkeypatch.setattr(plan_module, "write_bytes", watched)
        write_plan(make_plan(), str(tmp_path))
        assert set(written) == {"units.parquet", "inputs.parquet", "plan.json"}
        assert written[-1] == "plan.json"

    @pytest.mark.parametrize("name", ["units.parquet", "inputs.parquet"])
    def test_tables_of_another_plan_are_noticed(self, tmp_path, name):
        """plan.json vouches for the tables beside it."""
        write_plan(make_plan(), str(tmp_path / "a"))
        other = dataclasses.replace(make_plan(num_units=2), inputs=make_plan().inputs[:1])
        write_plan(other, str(tmp_path / "b"))
        table = (tmp_path / "b" / "_plan" / name).read_bytes()
        (tmp_path / "a" / "_plan" / name).write_bytes(table)
        with pytest.raises(FailedPreconditionError, match=rf"damaged .*{name}"):
            read_plan(str(tmp_path / "a"))


@pytest.fixture(name="plan")
def _plan(tmp_path):
    return write_plan(make_plan(versions=(1, 2)), str(tmp_path))


@pytest.fixture(name="receipt")
def _receipt(plan, tmp_path):
    """Returns the receipt of unit 1, both of whose parts are there."""
    files = []
    for version in (1, 2):
        path = part_path("ranker", version, 1, len(plan.units))
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(_PART_BYTES)
        files.append(
            OutputFile(
                model_name="ranker",
                model_version=version,
                path=path,
                rows=20,
                size_bytes=len(_PART_BYTES),
                sha256="abc",
            )
        )
    return Receipt(
        plan_id=plan.plan_id,
        unit=1,
        rows_read=20,
        files=tuple(files),
        num_batches=2,
        started_secs=1.5,
        ended_secs=2.5,
        peak_rss_bytes=1 << 30,
    )


def _read(plan, tmp_path, unit=1):
    return read_receipt(plan, plan.units[unit], str(tmp_path))


class TestReceipt:
    def test_round_trip(self, plan, receipt, tmp_path):
        """What is read is what was written."""
        write_receipt(receipt, str(tmp_path))
        assert _read(plan, tmp_path) == receipt

    def test_none(self, plan, tmp_path):
        """A unit without a receipt is not done."""
        assert _read(plan, tmp_path) is None

    @pytest.mark.parametrize(
        "changes",
        [{"plan_id": "other"}, {"unit": 2}, {"rows_read": 19}, {"files": ()}],
        ids=lambda changes: next(iter(changes)),
    )
    def test_that_does_not_fit_the_plan(self, plan, receipt, tmp_path, changes):
        """Another plan, unit or number of rows, or a missing model: not valid."""
        wrong = dataclasses.replace(receipt, **changes)
        path = tmp_path / receipt_path(str(tmp_path), 1)
        path.parent.mkdir()
        path.write_text(json.dumps(dataclasses.asdict(wrong)))
        assert _read(plan, tmp_path) is None

    def test_of_one_model_of_two(self, plan, receipt, tmp_path):
        """A unit is done when every version has its part."""
        write_receipt(dataclasses.replace(receipt, files=receipt.files[:1]), str(tmp_path))
        assert _read(plan, tmp_path) is None

    @pytest.mark.parametrize("version", [1, 2])
    def test_whose_part_is_gone_or_of_another_size(self, plan, receipt, tmp_path, version):
        """A receipt speaks for its parts only while they are as they were."""
        write_receipt(receipt, str(tmp_path))
        part = tmp_path / receipt.files[version - 1].path
        part.write_bytes(_PART_BYTES[:-1])
        assert _read(plan, tmp_path) is None
        part.write_bytes(_PART_BYTES)
        assert _read(plan, tmp_path) == receipt
        part.unlink()
        assert _read(plan, tmp_path) is None

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"[]",
            b"{}",
            b"7",
            b"null",
            b'"x"',
            b"\xff",
            b'{"files": [1]}',
            b'{"files": 1}',
        ],
    )
    def test_that_is_damaged(self, plan, receipt, tmp_path, content):
        """Whatever the file holds, reading it says "not done" and raises nothing."""
        write_receipt(receipt, str(tmp_path))
        (tmp_path / receipt_path(str(tmp_path), 1)).write_bytes(content)
        assert _read(plan, tmp_path) is None

    def test_with_unknown_or_missing_fields(self, plan, receipt, tmp_path):
        """A receipt in another format is not valid."""
        write_receipt(receipt, str(tmp_path))
        path = tmp_path / receipt_path(str(tmp_path), 1)
        fields = json.loads(path.read_text())
        path.write_text(json.dumps({**fields, "colour": "green"}))
        assert _read(plan, tmp_path) is None
        del fields["num_batches"]
        path.write_text(json.dumps(fields))
        assert _read(plan, tmp_path) is None

    def test_of_a_unit_without_rows(self, tmp_path):
        """A unit that turned out to be empty is done without parts."""
        plan = write_plan(make_plan(rows=-1), str(tmp_path))
        empty = Receipt(
            plan_id=plan.plan_id,
            unit=0,
            rows_read=0,
            files=(),
            num_batches=0,
            started_secs=0.0,
            ended_secs=0.0,
            peak_rss_bytes=0,
        )
        write_receipt(empty, str(tmp_path))
        assert _read(plan, tmp_path, unit=0) == empty
