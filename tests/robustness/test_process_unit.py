import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.options import PrecomputeOptions
from servable_core.errors import AbortedError, DataLossError
from servable_core.runtime.clock import SystemClock
from servable_core.testing.fake_clock import FakeClock
from tests.datasets import write_parquet, write_tfrecord
from tests.models import save_linear
from transforms import model_stage
from transforms import process_unit as process_unit_module
from transforms.byte_budget import ByteBudget
from transforms.dead_letters import dead_letters_path
from transforms.execution import ExecutionOptions
from transforms.job_state import JobCounters, JobState
from transforms.output_errors import OutputError
from transforms.plan_files import write_plan
from transforms.planning import make_plan
from transforms.prefetch import Prefetcher
from transforms.process_unit import process_unit
from transforms.receipts import part_path
from transforms.submission import Submission
from transforms.unit_job import create_unit_job
from transforms.worker_core import WorkerCore, WorkerCoreConfig

_NUM_ROWS = 100
_BATCH_ROWS = 10


@pytest.fixture(name="job", params=["", "GZIP"])
def _job(request, tmp_path):
    """A job of one TFRecord file, whose rows the plan does not know, read in ten batches."""
    numbers = np.arange(_NUM_ROWS)
    features = np.ones((_NUM_ROWS, 4), np.float32) * numbers[:, None]
    path = write_tfrecord(
        {"id": numbers, "features": features},
        tmp_path / "in/a.tfrecord",
        compression=request.param,
    )
    yield from _open_job(path, save_linear(tmp_path / "m", 1), tmp_path / "out")


def _open_job(path, model, output, **more):
    execution = ExecutionOptions(max_batch_size=_BATCH_ROWS)
    options = PrecomputeOptions(
        model_base_path=model.rpartition("/")[0],
        input=(path,),
        output=str(output),
        key="id",
        execution=execution,
        **more,
    )
    plan = make_plan(options.plan_request(), execution)
    with WorkerCore(WorkerCoreConfig(models=plan.models, execution=execution)) as core:
        yield create_unit_job(
            plan,
            str(output),
            execution,
            core=core,
            state=JobState(stops_siblings=True),
            clock=SystemClock(),
        )


def _without_first_row(batch):
    return batch.slice(1)


class TestRowsReadAreRowsWritten:
    def test_rows_lost_behind_the_reader(self, job):
        """Rows that vanish between reader and writer are data loss, though no plan knows their number."""
        unit = job.plan.units[0]
        assert unit.num_rows is None
        with pytest.raises(DataLossError, match="100 rows were read, but 90 written"):
            process_unit(unit, replace(job, postprocess=_without_first_row))
        assert job.state.counters() == JobCounters()

    def test_rows_lost_before_the_model(self, job):
        """Rows count when they are read, before anything of ours or the user's touches them."""
        with pytest.raises(DataLossError, match="100 rows were read, but 90 written"):
            process_unit(job.plan.units[0], replace(job, preprocess=_without_first_row))

    def test_nothing_lost(self, job):
        """The receipt holds the rows that were read."""
        receipt = process_unit(job.plan.units[0], job)
        assert receipt.rows_read == _NUM_ROWS
        assert [each.rows for each in receipt.files] == [_NUM_ROWS]


class TestTwoAttempts:
    """Another worker, or another job, may be at the same unit."""

    @pytest.fixture(name="planned")
    def _planned(self, job):
        """Returns the job with its plan in the output directory."""
        return replace(job, plan=write_plan(job.plan, job.output))

    def test_the_later_one_leaves_all_as_the_first_committed_it(self, planned):
        """It finds the receipt before its own parts appear, and returns it."""
        unit = planned.plan.units[0]
        first = []

        def overtaken(batch):
            if not first:
                first.append(process_unit(unit, planned))
            return batch

        part = f"{planned.output}/" + part_path("m", 1, 0, 1)
        receipt = process_unit(unit, replace(planned, postprocess=overtaken))
        assert receipt == first[0]
        assert Path(part).stat().st_size == first[0].files[0].size_bytes
        assert planned.state.counters().units == 1
        assert planned.state.counters().rows == _NUM_ROWS
        assert not list(Path(planned.output, "_tmp").iterdir())

    @pytest.mark.parametrize("is_deleted", [False, True])
    def test_of_a_plan_that_was_replaced_nothing_is_committed(self, planned, is_deleted):
        """A worker that another job's launcher knows nothing of must not write among its parts."""

        def overwrite(batch):
            if is_deleted:
                Path(planned.output, "_plan/plan.json").unlink(missing_ok=True)
            else:
                write_plan(replace(planned.plan, batch_size_hint=7), planned.output)
            return batch

        with pytest.raises(AbortedError, match=f"{planned.output} .*another job"):
            process_unit(planned.plan.units[0], replace(planned, postprocess=overwrite))
        assert planned.state.abort.is_set
        names = {each.name for each in Path(planned.output).rglob("*") if each.is_file()}
        assert names <= {"plan.json", "inputs.parquet", "units.parquet"}


class TestLetters:
    def test_are_in_the_order_of_the_input(self, tmp_path):
        """Whichever thread finds them: one reads and preprocesses, the other binds and infers."""
        features = [[float(row)] * (3 if row % 20 == 5 else 4) for row in range(_NUM_ROWS)]
        ids = np.arange(_NUM_ROWS)
        path = tmp_path / "in/a.jsonl"
        path.parent.mkdir()
        rows = zip(ids.tolist(), features, strict=True)
        lines = [json.dumps({"id": row, "features": values}) for row, values in rows]
        lines[17::20] = ["no object"] * len(lines[17::20])
        path.write_text("\n".join(lines))
        model = save_linear(tmp_path / "m", 1)
        for job in _open_job(str(path), model, tmp_path / "out", on_error="dead_letter"):
            process_unit(job.plan.units[0], job)
        letters = pq.read_table(tmp_path / "out" / dead_letters_path(0, 1))
        assert letters["source_row"].to_pylist() == [5, 17, 25, 37, 45, 57, 65, 77, 85, 97]
        assert len(set(letters["stage"].to_pylist())) == 2


class _RecordingBudget(ByteBudget):
    """Notes the most that was ever held, and the largest claim."""

    def __init__(self, max_bytes):
        super().__init__(max_bytes)
        self.most_held = self.largest = 0

    def acquire(self, holder, num_bytes, on_wait=lambda: None):
        is_granted = super().acquire(holder, num_bytes, on_wait)
        self.most_held = max(self.most_held, self.held_bytes)
        self.largest = max(self.largest, num_bytes)
        return is_granted


class TestBytesInFlight:
    @pytest.mark.parametrize("max_bytes", [1, 2000, 1 << 30])
    def test_units_share_one_budget(self, tmp_path, max_bytes):
        """Units that run side by side all end, and hold no more than the budget and a batch each."""
        numbers = np.arange(_NUM_ROWS)
        features = np.ones((_NUM_ROWS, 4), np.float32) * numbers[:, None]
        table = pa.table({"id": numbers, "features": list(features)})
        write_parquet(table, tmp_path / "in", [25] * 4, 25)
        model = save_linear(tmp_path / "m", 1)
        for job in _open_job(f"{tmp_path}/in", model, tmp_path / "out", unit_rows=25):
            job.core.in_flight = budget = _RecordingBudget(max_bytes)
            with ThreadPoolExecutor(4) as pool:
                receipts = pool.map(partial(process_unit, job=job), job.plan.units)
                assert [each.rows_read for each in receipts] == [25] * 4
            assert budget.held_bytes == 0
            assert budget.most_held <= max_bytes + 4 * budget.largest

    def test_a_unit_that_fails_gives_all_back(self, job):
        """Its siblings can go on."""
        with pytest.raises(DataLossError):
            process_unit(job.plan.units[0], replace(job, preprocess=_without_first_row))
        assert job.core.in_flight.held_bytes == 0


class TestThreads:
    def test_closing_the_core_ends_those_that_watch_calls(self, job):
        """They do not sleep on until the last call would have taken too long."""
        before = set(threading.enumerate())
        process_unit(job.plan.units[0], job)
        watching = [
            each
            for each in threading.enumerate()
            if each.name == "run_watch" and each not in before
        ]
        assert watching
        job.core.close()
        for each in watching:
            each.join(20)
            assert not each.is_alive()


class TestProgress:
    def test_a_receipt_that_fails_takes_its_rows_back(self, job, tmp_path):
        """An attempt that failed at its last step does not count beside its retry."""
        unit = job.plan.units[0]
        obstacle = tmp_path / "out/_units"
        obstacle.parent.mkdir(exist_ok=True)
        obstacle.write_text("a file where a directory should be")
        with pytest.raises(OutputError, match="_units"):
            process_unit(unit, job)
        assert job.state.counters() == JobCounters()

        obstacle.unlink()
        process_unit(unit, job)
        counters = job.state.counters()
        assert (counters.rows, counters.bytes) == (_NUM_ROWS, unit.size_bytes)

    def test_bytes_grow_with_each_batch(self, job):
        """A unit of a single file is seen to proceed before it is committed."""
        unit = job.plan.units[0]
        seen = []

        def note(batch):
            seen.append(job.state.counters().bytes)
            return batch

        process_unit(unit, replace(job, postprocess=note))
        expected = [unit.size_bytes * index / 10 for index in range(10)]
        np.testing.assert_allclose(seen, expected, atol=0.02 * unit.size_bytes)
        assert job.state.counters().bytes == unit.size_bytes


class TestStageTimes:
    """Each patches one step so that it takes a second for each of the ten batches."""

    @pytest.fixture(name="clock")
    def _clock(self):
        return FakeClock()

    def _secs(self, job, clock, **changes):
        receipt = process_unit(job.plan.units[0], replace(job, clock=clock, **changes))
        return receipt.stage_secs

    def test_nothing_takes_time(self, job, clock):
        """Where the clock stands still, all stages are there, and none took any time."""
        secs = self._secs(job, clock)
        assert set(secs) >= {"read", "parse", "bind", "convert", "write"}
        assert not any(secs.values())

    @pytest.mark.parametrize(
        ("flag", "stage"), [("preprocess", "preprocess"), ("postprocess", "convert")]
    )
    def test_functions_of_the_user(self, job, clock, flag, stage):
        """Preprocessing is a stage, postprocessing a part of converting."""

        def slow(columns):
            clock.advance(1.0)
            return columns

        assert self._secs(job, clock, **{flag: slow})[stage] == 10.0

    def test_binding(self, job, clock, monkeypatch):
        """Making tensors counts as such, and not as waiting for the model."""
        to_tensors = model_stage.to_tensors

        def slow(*args):
            clock.advance(1.0)
            return to_tensors(*args)

        monkeypatch.setattr(model_stage, "to_tensors", slow)
        secs = self._secs(job, clock)
        assert (secs["bind"], secs["wait_for_model"], secs["write"]) == (10.0, 0.0, 0.0)

    def test_waiting_for_rows(self, job, clock, monkeypatch):
        """The time until the reader has the next batch."""

        class SlowPrefetcher(Prefetcher):
            def __iter__(self):
                for each in super().__iter__():
                    clock.advance(1.0)
                    yield each

        monkeypatch.setattr(process_unit_module, "Prefetcher", SlowPrefetcher)
        secs = self._secs(job, clock)
        assert (secs["wait_for_rows"], secs["wait_for_model"], secs["write"]) == (10.0, 0.0, 0.0)

    def test_waiting_for_the_model(self, job, clock, monkeypatch):
        """The time until the oldest batch is through the model."""
        outcome = Submission.outcome

        def slow(submission, timeout_secs):
            clock.advance(1.0)
            return outcome(submission, timeout_secs)

        monkeypatch.setattr(Submission, "outcome", slow)
        secs = self._secs(job, clock)
        assert (secs["wait_for_model"], secs["convert"], secs["write"]) == (10.0, 0.0, 0.0)

    def test_writing(self, job, clock, monkeypatch):
        """What makes the parts visible counts, too."""
        part_writers = process_unit_module.part_writers

        @contextmanager
        def slow(*args):
            with part_writers(*args) as writers:
                yield writers
            clock.advance(2.0)

        monkeypatch.setattr(process_unit_module, "part_writers", slow)
        assert self._secs(job, clock)["write"] == 2.0

    def test_retries_are_told(self, job):
        """The receipt says how many attempts failed before."""
        assert process_unit(job.plan.units[0], job, 2).num_retries == 2
