import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.errors import FailedPreconditionError
from tests import memory_file_system as memory
from tests.robustness.plans import make_plan
from transforms import plan_files
from transforms.plan_files import read_plan, shared_plan, write_plan
from transforms.receipt_reader import DoneUnits, ReceiptReader, read_receipts
from transforms.receipts import (
    OutputFile,
    Receipt,
    part_path,
    read_receipt,
    receipt_path,
    write_receipt,
)

_PART_BYTES = b"twenty rows, say"


@pytest.fixture(name="forget_plans", autouse=True)
def _forget_plans(monkeypatch):
    """Begins with a process that knows no plan, and returns what makes it forget again."""

    def forget():
        monkeypatch.setattr(plan_files, "_known_plans", plan_files._KnownPlans())

    forget()
    return forget


class TestPlan:
    @pytest.mark.parametrize("rows", [10, -1], ids=["known rows", "unknown rows"])
    def test_round_trip(self, tmp_path, forget_plans, rows):
        """What is read is what was written, types and order included."""
        plan = make_plan(rows=rows, versions=(3, 1))
        written = write_plan(plan, str(tmp_path))
        forget_plans()
        assert dataclasses.replace(written, plan_id="") == plan
        assert read_plan(str(tmp_path)) == written

    def test_no_plan(self, tmp_path):
        """A directory without a plan is no error."""
        assert read_plan(str(tmp_path)) is None

    def test_many_units_keep_their_order(self, tmp_path, forget_plans):
        """Units are found by index, so their order must survive."""
        written = write_plan(make_plan(num_units=1000), str(tmp_path))
        forget_plans()
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
        write_bytes = plan_files.write_bytes

        def watched(root, path, content):
            assert read_plan(str(tmp_path)) is None
            write_bytes(root, path, content)
            written.append(path.rpartition("/")[2])

        monkeypatch.setattr(plan_files, "write_bytes", watched)
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


class TestSharedPlan:
    def test_is_parsed_once(self, tmp_path, forget_plans, monkeypatch):
        """All workers of a process get one plan, whichever of them asks first."""
        write_plan(make_plan(), str(tmp_path))
        forget_plans()
        plan = shared_plan(str(tmp_path))
        assert shared_plan(str(tmp_path)) is plan
        assert read_plan(str(tmp_path)) is plan

    def test_damage_shows_where_the_tables_are_read(self, tmp_path, forget_plans):
        """A known plan is believed by workers; who checks it, or knows it not, sees the damage."""
        written = write_plan(make_plan(), str(tmp_path))
        (tmp_path / "_plan" / "units.parquet").write_bytes(b"")
        assert shared_plan(str(tmp_path)) is written
        with pytest.raises(FailedPreconditionError, match=r"damaged .*units.parquet"):
            read_plan(str(tmp_path))
        forget_plans()
        with pytest.raises(FailedPreconditionError, match=r"damaged .*units.parquet"):
            shared_plan(str(tmp_path))

    def test_another_plan_in_the_same_place(self, tmp_path):
        """What counts is the plan that is there now."""
        write_plan(make_plan(), str(tmp_path))
        other = write_plan(make_plan(num_units=7), str(tmp_path))
        assert shared_plan(str(tmp_path)) == other
        (tmp_path / "_plan" / "plan.json").unlink()
        assert shared_plan(str(tmp_path)) is None

    def test_few_are_kept(self, tmp_path):
        """A process that runs job after job keeps no plan for ever."""
        for index in range(5):
            write_plan(make_plan(num_units=index + 1), str(tmp_path / str(index)))
        assert len(plan_files._known_plans._plans) == 2
        assert len(shared_plan(str(tmp_path / "0")).units) == 1


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


@pytest.mark.parametrize(
    ("unit", "num_units", "name"),
    [
        (0, 1, "00000"),
        (99_998, 99_999, "99998"),
        (7, 100_000, "000007"),
        (1_234_567, 2_000_000, "1234567"),
    ],
)
def test_names(unit, num_units, name):
    """Numbers have five digits, and more where the plan has more units."""
    assert receipt_path("o", unit, num_units) == f"o/_units/unit-{name}.json"
    assert f"/part-{name}-of-" in part_path("m", 1, unit, num_units)


@given(st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.just(n), *[st.integers(0, n - 1)] * 2)))
def test_names_sort_by_unit(numbers):
    """The names of a job's files, sorted as text, stand in the order of its units."""
    num_units, *units = numbers
    receipts = [receipt_path("o", each, num_units) for each in sorted(units)]
    parts = [part_path("m", 1, each, num_units) for each in sorted(units)]
    assert sorted(receipts) == receipts
    assert sorted(parts) == parts


def test_short_names_in_a_long_plan_still_count(tmp_path):
    """A receipt whose name has five digits is found where the plan calls for six."""
    plan = dataclasses.replace(make_plan(num_units=100_000, rows=-1), plan_id="p")
    write_receipt(_empty(plan, 0), str(tmp_path))
    assert read_receipt(plan, plan.units[0], str(tmp_path)) == _empty(plan, 0)
    assert ReceiptReader(plan, str(tmp_path)).refresh().units == 1


def _empty(plan, unit):
    return Receipt(
        plan_id=plan.plan_id,
        unit=unit,
        rows_read=0,
        files=(),
        num_batches=0,
        started_secs=0.0,
        ended_secs=0.0,
        peak_rss_bytes=0,
    )


class TestReceiptReader:
    @pytest.fixture(name="output", params=["local", "remote"])
    def _output(self, request, tmp_path):
        """Returns an output directory without a job."""
        yield str(tmp_path / "job") if request.param == "local" else "mem://job"
        memory.clear()

    @pytest.fixture(name="long_plan")
    def _long_plan(self, output):
        return write_plan(make_plan(num_units=20, rows=-1), output)

    def test_nothing_yet(self, long_plan, output):
        """A job that has just begun has no receipts, nor a directory of them."""
        reader = ReceiptReader(long_plan, output)
        assert reader.refresh() == DoneUnits()
        assert list(reader.pending()) == list(range(20))

    def test_finds_what_one_by_one_reading_finds(self, long_plan, output):
        """Valid receipts count; foreign, damaged and misnamed files do not."""
        for unit in (19, 3, 0):
            write_receipt(_empty(long_plan, unit), output, 20)
        write_receipt(dataclasses.replace(_empty(long_plan, 4), plan_id="x"), output)
        write_receipt(_empty(long_plan, 20), output)  # the plan has no such unit
        for name in ("unit-00005.json", "unit-00006.json.tmp", "units.parquet"):
            plan_files.write_bytes(output, f"{output}/_units/{name}", b"{")
        found = [receipt.unit for receipt in read_receipts(long_plan, output)]
        one_by_one = [read_receipt(long_plan, unit, output) for unit in long_plan.units]
        assert found == [each.unit for each in one_by_one if each is not None] == [0, 3, 19]
        reader = ReceiptReader(long_plan, output)
        assert reader.refresh().units == 3
        assert list(reader.pending()) == [each for each in range(20) if each not in found]

    def test_two_receipts_of_one_unit(self, long_plan, output):
        """Under names of different lengths; it counts once."""
        for num_units in (20, 10**6):
            write_receipt(_empty(long_plan, 3), output, num_units)
        assert len(list(read_receipts(long_plan, output))) == 1
        assert ReceiptReader(long_plan, output).refresh().units == 1

    def test_sees_receipts_that_come_later(self, long_plan, output):
        """Each call adds what is new, also a receipt that takes the place of a damaged one."""
        reader = ReceiptReader(long_plan, output)
        plan_files.write_bytes(output, receipt_path(output, 1), b"{")
        write_receipt(_empty(long_plan, 0), output)
        assert reader.refresh().units == 1
        write_receipt(dataclasses.replace(_empty(long_plan, 1), rows_read=0), output)
        size_bytes = long_plan.units[0].size_bytes + long_plan.units[1].size_bytes
        assert reader.refresh() == DoneUnits(units=2, rows=0, size_bytes=size_bytes)


class TestReceiptReaderRemote:
    @pytest.fixture(name="long_plan", autouse=True)
    def _long_plan(self):
        yield write_plan(make_plan(num_units=20, rows=-1), "mem://job")
        memory.clear()

    def test_opens_each_receipt_once_and_asks_for_none(self, long_plan, monkeypatch):
        """The listing tells what is there, so no request is made for what is not, nor twice."""
        asked = []
        monkeypatch.setattr(memory.MemoryFileSystem, "exists", lambda _, path: asked.append(path))
        for unit in range(10):
            write_receipt(_empty(long_plan, unit), "mem://job")
        reader = ReceiptReader(long_plan, "mem://job")
        for _ in range(3):
            assert reader.refresh().units == 10
        opens = [memory.opens(receipt_path("mem://job", unit)) for unit in range(20)]
        assert opens == [1] * 10 + [0] * 10
        assert asked == []

    def test_an_error_is_told_and_passes(self, long_plan, monkeypatch):
        """What the store raises reaches the caller; the next call finds everything."""
        write_receipt(_empty(long_plan, 0), "mem://job")
        reader = ReceiptReader(long_plan, "mem://job")
        with monkeypatch.context() as patch:
            patch.setattr(memory.MemoryFileSystem, "open", _raise_os_error)
            with pytest.raises(OSError, match="down"):
                reader.refresh()
        assert reader.refresh().units == 1


def _raise_os_error(*_args, **_more):
    raise OSError("the store is down")
