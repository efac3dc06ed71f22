from dataclasses import replace

import pytest

from servable_core.batching import BatchingStatistics
from servable_core.lifecycle import ServableId
from tests.robustness.plans import make_plan
from transforms.batching_report import to_document
from transforms.manifest import JobTally
from transforms.receipts import OutputFile, Receipt
from transforms.stage_times import TimedStage
from transforms.worker_sessions import SessionKey

_KEY = SessionKey(servable_id=ServableId("ranker", 1), signature_name="s")
_PLAN = make_plan(num_units=4, rows=10)


def _receipt(unit, *, started=0.0, ended=4.0, run_secs=0.0, num_batches=1, **fields):
    part = OutputFile(
        model_name="ranker", model_version=1, path=f"{unit}", rows=10, size_bytes=7, sha256=""
    )
    statistics = BatchingStatistics(num_batches=num_batches, run_secs=run_secs, queue_secs=0.5)
    return Receipt(
        plan_id="p",
        unit=unit,
        rows_read=10,
        files=(part,),
        num_batches=1,
        started_secs=started,
        ended_secs=ended,
        peak_rss_bytes=unit,
        batching=to_document({_KEY: [statistics]}),
        **fields,
    )


def _manifest(receipts):
    tally = JobTally(_PLAN)
    for each in receipts:
        tally.add(each)
    return tally.manifest()


def test_totals():
    """Rows, bytes, retries and seconds are those of all units; the rate is that of steady time."""
    one = _receipt(0, stage_secs={"read": 1.0, "write": 0.5}, num_retries=2)
    two = _receipt(1, started=6.0, ended=7.0, stage_secs={"read": 2.0}, num_retries=1)
    manifest = _manifest([one, two])
    assert (manifest["rows"], manifest["rows_per_sec"]) == (20, 4.0)
    assert (manifest["bytes_read"], manifest["bytes_written"]) == (_PLAN.size_bytes, 14)
    assert manifest["retries"] == 3
    assert manifest["stage_secs"] == {each.value: 0.0 for each in TimedStage} | {
        "read": 3.0,
        "write": 0.5,
        "queue": 0.5,
        "run": 0.0,
    }


def test_loads_of_the_slowest_worker():
    """Of several workers, the manifest has the times of the one that took longest for a model."""
    loads = [
        {
            "a/1": {"load_secs": 1.0, "warmup_secs": 0.0},
            "b/1": {"load_secs": 3.0, "warmup_secs": 1},
        },
        {
            "a/1": {"load_secs": 0.5, "warmup_secs": 2.0},
            "b/1": {"load_secs": 0.5, "warmup_secs": 1},
        },
    ]
    receipts = [
        _receipt(unit, worker=str(unit), model_loads=each) for unit, each in enumerate(loads)
    ]
    found = _manifest(receipts)["model_loads"]
    assert found == {"a/1": loads[1]["a/1"], "b/1": loads[0]["b/1"]}


class TestBottleneck:
    def test_each_worker_has_its_own_threads(self):
        """Two workers one after the other are no more capacity than one: both were busy."""
        receipts = [
            _receipt(0, worker="a", num_batch_threads=2, run_secs=7.0),
            _receipt(1, worker="b", num_batch_threads=2, run_secs=7.0, started=4.0, ended=8.0),
        ]
        found = _manifest(receipts)["bottleneck"]
        assert (found["stage"], found["share"]) == ("run", 14.0 / 16.0)

    def test_units_side_by_side_share_the_threads(self):
        """Two units of one worker at the same time have its threads once."""
        receipts = [
            _receipt(unit, worker="a", num_batch_threads=2, run_secs=7.0, num_batches=unit)
            for unit in range(2)
        ]
        found = _manifest(receipts)["bottleneck"]
        assert (found["stage"], found["share"]) == ("run", 7.0 / 8.0)

    def test_receipts_of_an_older_version(self):
        """They lack the figures, so nothing is said, and nothing fails."""
        assert _manifest([_receipt(0)])["bottleneck"] is None


class TestLineage:
    def test_a_resumed_job(self):
        """Commands and versions are listed in the order in which they ran, each once."""
        old, new = {"tensorflow": "2.20"}, {"tensorflow": "2.21"}
        first = _receipt(3, started=1.0, command_line="first", packages=old)
        later = _receipt(0, started=5.0, command_line="resume", packages=new)
        again = replace(later, unit=1, started_secs=6.0)
        assert _manifest([later, again, first])["lineage"] == {
            "command_lines": ["first", "resume"],
            "packages": [old, new],
        }

    def test_not_from_a_command_line(self):
        """A job that Python code started has no command, which is left out."""
        lineage = _manifest([_receipt(0)])["lineage"]
        assert lineage == {"command_lines": [], "packages": []}


@pytest.mark.parametrize("units", [[0], [0, 1, 2]])
def test_dead_letters_add_up_by_stage(units):
    """Also where units have letters of different stages."""
    receipts = [_receipt(unit, dead_letters={"bind": 1, f"s{unit}": 2}) for unit in units]
    found = _manifest(receipts)["dead_letters"]
    assert found == {"bind": len(units)} | {f"s{unit}": 2 for unit in units}
