"""Jobs of very many units: a few requests for each of them, one listing for all, and little memory."""

import json
import tracemalloc
from collections import Counter
from dataclasses import asdict, replace

import pytest

from tests import memory_file_system as memory
from tests.robustness.plans import make_plan, piece
from transforms.finalize import SUCCESS_FILE, finalize
from transforms.plan_files import write_plan
from transforms.receipt_reader import ReceiptReader
from transforms.receipts import (
    OutputFile,
    Receipt,
    part_path,
    read_receipt,
    receipt_path,
)
from transforms.storage import read_bytes
from transforms.unit_table import Unit, UnitTable

_LINE = b'{"id": 1}\n'


def _plan(num_units, output):
    units = (Unit(index=index, ranges=(piece(0, index, 1, 100),)) for index in range(num_units))
    return write_plan(replace(make_plan(), units=UnitTable.of(units)), output)


def _commit(plan, unit, write):
    """Writes a part of one line, and a receipt."""
    path = part_path("ranker", 1, unit, len(plan.units), ".jsonl")
    part = OutputFile(
        model_name="ranker",
        model_version=1,
        path=path,
        rows=1,
        size_bytes=len(_LINE),
        sha256=f"{unit:064x}",
    )
    receipt = Receipt(
        plan_id=plan.plan_id,
        unit=unit,
        rows_read=1,
        files=(part,),
        num_batches=1,
        started_secs=float(unit),
        ended_secs=unit + 1.0,
        peak_rss_bytes=1,
        worker=f"worker-{unit % 4}",
        packages={f"package-{index}": "1.2.3" for index in range(20)},
    )
    write(path, _LINE)
    name = receipt_path("", unit, len(plan.units)).removeprefix("/")
    write(name, json.dumps(asdict(receipt)).encode())


@pytest.fixture(name="requests")
def _requests(monkeypatch):
    """Counts what is asked of the store in memory, by kind."""
    counts = Counter()
    for kind in ("match", "exists"):
        monkeypatch.setattr(memory.MemoryFileSystem, kind, _counted(kind, counts))
    yield counts
    memory.clear()


def _counted(kind, counts):
    original = getattr(memory.MemoryFileSystem, kind)

    def count(self, *args, **more):
        counts[kind] += 1
        return original(self, *args, **more)

    return count


class TestRequests:
    @pytest.fixture(name="plan")
    def _plan_of_hundreds(self):
        plan = _plan(600, "mem://job")
        for unit in range(600):
            _commit(plan, unit, lambda path, content: memory.put(f"mem://job/{path}", content))
        return plan

    def test_pending_units(self, plan, requests):
        """One listing, and one read for each receipt."""
        reader = ReceiptReader(plan, "mem://job")
        assert reader.refresh().units == 600
        assert list(reader.pending()) == []
        assert requests == {"match": 1}
        opens = [memory.opens(receipt_path("mem://job", unit, 600)) for unit in range(600)]
        assert opens == [1] * 600

    def test_one_unit(self, plan, requests):
        """What a worker asks before it runs a unit is of that unit: nothing is listed."""
        assert read_receipt(plan, plan.units[77], "mem://job") is not None
        assert requests["match"] == 0
        assert requests["exists"] <= 2

    def test_last_stage(self, plan, requests):
        """Listings do not grow with the units; each receipt and each part is read once."""
        finalize(plan, "mem://job")
        assert requests["match"] <= 4
        assert requests["exists"] <= 10
        parts = [part_path("ranker", 1, unit, 600, ".jsonl") for unit in range(600)]
        names = [*parts, *(receipt_path("", unit, 600).removeprefix("/") for unit in range(600))]
        assert {memory.opens(f"mem://job/{each}") for each in names} == {1}
        assert read_bytes(f"mem://job/{SUCCESS_FILE}") is not None


def _peak_mib(step):
    """Returns how much memory Python held at most, beyond what it held before."""
    tracemalloc.start()
    try:
        step()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("num_units", [3000, pytest.param(100_000, marks=pytest.mark.long)])
@pytest.mark.timeout(600)
def test_memory(tmp_path, num_units):
    """A receipt takes some 10 KiB when it is read; what is kept of each is some hundred bytes."""
    output = str(tmp_path)
    plan = _plan(num_units, output)

    def write(path, content):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)

    for unit in range(num_units):
        _commit(plan, unit, write)
    per_unit_mib = 400 / 2**20
    pending = _peak_mib(lambda: ReceiptReader(plan, output).refresh())
    assert pending < 20 + num_units * per_unit_mib
    last_stage = _peak_mib(lambda: finalize(plan, output))
    assert last_stage < 70 + 2 * num_units * per_unit_mib
