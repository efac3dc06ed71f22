"""Jobs whose input, model and output are objects of a store that only Beam's FileSystems reach."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines import remote_lock
from pipelines.cli import main
from pipelines.options import PrecomputeOptions
from pipelines.precompute import run
from servable_core.runtime.clock import SystemClock
from tests import memory_file_system as memory
from tests.datasets import write_parquet, write_tfrecord
from tests.jobs import read_output, run_job
from tests.models import save_linear
from tests.pipelines import batch_functions
from transforms import process_unit as process_unit_module
from transforms.execution import ExecutionOptions
from transforms.finalize import finalize
from transforms.job_state import JobState, job_state
from transforms.plan_files import write_plan
from transforms.planning import make_plan
from transforms.unit_job import create_unit_job
from transforms.worker_core import WorkerCore, WorkerCoreConfig

NUM_ROWS = 20_000
FILE_ROWS = (12_000, 8_000)
FORMATS = ("parquet", "tfrecord", "tfrecord.gz")


@pytest.fixture(scope="module", name="local")
def _local(tmp_path_factory):
    """A directory with a model of three versions and, for each format, two files of the same rows."""
    root = tmp_path_factory.mktemp("local")
    for version in (1, 2, 3):
        save_linear(root / "ranker", version, num_features=16)
    random = np.random.default_rng(0)
    matrix = random.normal(size=(NUM_ROWS, 16)).astype(np.float32)
    ids = random.permutation(NUM_ROWS)
    features = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), 16)
    write_parquet(pa.table({"id": ids, "features": features}), root / "parquet", FILE_ROWS, 4000)
    columns = {"id": ids, "features": matrix}
    for suffix, compression in (("tfrecord", ""), ("tfrecord.gz", "GZIP")):
        for index, rows in enumerate((slice(12_000), slice(12_000, None))):
            path = root / suffix / f"part-{index}.{suffix}"
            write_tfrecord(columns, path, compression=compression, rows=rows)
    return root


@pytest.fixture(name="store")
def _store(local):
    """The same as objects, for one test."""
    memory.clear()
    memory.put_tree(local, "mem://bucket")
    yield "mem://bucket"
    memory.clear()


def _count_reads(store, input_format, model_version, **options):
    """Runs a job whose plan is there already, and returns opens and bytes of each input file.

    Planning reads footers, too; only what the units read is counted.
    """
    output = f"mem://bucket/out-{model_version}"
    request = PrecomputeOptions(
        model_base_path=f"{store}/ranker",
        input=(f"{store}/{input_format}/*",),
        output=output,
        key="id",
        model_version=model_version,
        if_exists="resume",
        execution=ExecutionOptions(max_batch_size=1000),
        **options,
    )
    plan = write_plan(make_plan(request.plan_request(), request.execution), output)
    memory.reset_counts()
    report = run(request)
    assert report.plan.plan_id == plan.plan_id
    assert report.rows == NUM_ROWS
    inputs = [each.path for each in plan.inputs]
    return {path: (memory.opens(path), memory.bytes_read(path)) for path in inputs}


class TestRemote:
    @pytest.mark.parametrize("input_format", FORMATS)
    def test_equals_the_local_job(self, input_format, local, store, tmp_path):
        """Input, model and output in a store: the same rows and values as from local files."""
        options = {"key": "id", "model_version": "2,3", "unit_rows": 7000, "deterministic": True}
        run_job(local / "ranker", local / input_format, tmp_path / "local", **options)
        report = run_job(f"{store}/ranker", f"{store}/{input_format}", f"{store}/out", **options)
        memory.get_tree(f"{store}/out", tmp_path / "remote")
        key = ["model_version", "id"]
        expected = read_output(tmp_path / "local", key)
        assert expected.num_rows == 2 * NUM_ROWS
        assert read_output(tmp_path / "remote", key).equals(expected)
        assert report.rows == NUM_ROWS

    def test_the_store_holds_a_finished_job_and_no_leftovers(self, store, tmp_path):
        """Nothing temporary and no lock stay behind, and the manifest tells what was done."""
        run_job(f"{store}/ranker", f"{store}/parquet", f"{store}/out", key="id")
        names = {each.removeprefix(f"{store}/out/") for each in memory.paths(f"{store}/out/")}
        part = "model_name=ranker/model_version=3/part-00000-of-00001.parquet"
        assert names == {
            part,
            "_SUCCESS",
            "_manifest.json",
            "_plan/inputs.parquet",
            "_plan/plan.json",
            "_plan/units.parquet",
            "_units/unit-00000.json",
            "_units/units.parquet",
        }
        memory.get_tree(f"{store}/out", tmp_path)
        manifest = json.loads(Path(tmp_path / "_manifest.json").read_text())
        assert (manifest["rows"], manifest["files"]) == (NUM_ROWS, 1)

    def test_model_is_copied_once(self, store):
        """Several units on several threads fetch the variables from the store once."""
        report = run_job(
            f"{store}/ranker", f"{store}/parquet", f"{store}/out", key="id", unit_rows=4000
        )
        assert report.manifest["units"] == 5
        (path,) = memory.paths(f"{store}/ranker/3/variables/variables.data-")
        assert memory.opens(path) == 1
        assert memory.bytes_read(path) == len(memory.content(path))

    def test_resume_of_a_finished_job_reads_no_input(self, store):
        """A finished job is not run again."""
        run_job(f"{store}/ranker", f"{store}/parquet", f"{store}/out", key="id")
        memory.reset_counts()
        run_job(f"{store}/ranker", f"{store}/parquet", f"{store}/out", key="id", if_exists="resume")
        assert [memory.opens(path) for path in memory.paths(f"{store}/parquet/")] == [0, 0]

    def test_overwrite_replaces_the_job(self, store, tmp_path):
        """`--if_exists=overwrite` deletes the parts of the job that was there."""
        options = {"key": "id", "model_version": "1"}
        run_job(f"{store}/ranker", f"{store}/parquet", f"{store}/out", unit_rows=4000, **options)
        assert len(memory.paths(f"{store}/out/model_name=ranker")) == 5
        run_job(
            f"{store}/ranker", f"{store}/parquet", f"{store}/out", if_exists="overwrite", **options
        )
        assert len(memory.paths(f"{store}/out/model_name=ranker")) == 1
        memory.get_tree(f"{store}/out", tmp_path)
        assert read_output(tmp_path)["id"].to_pylist() == list(range(NUM_ROWS))


class TestTakenOver:
    """Another launcher takes the output directory of a job that runs."""

    @pytest.fixture(name="take_over")
    def _take_over(self, store, monkeypatch):
        """Returns what claims the directory, and waits until the job knows."""
        monkeypatch.setattr(remote_lock, "_HEARTBEAT_SECS", 0.02)

        def take_over():
            (path,) = memory.paths(f"{store}/out/_plan/lock-")
            fields = json.loads(memory.content(path))
            fields |= {"owner": "process 7 on elsewhere", "replaces": [path.rpartition("/")[2]]}
            memory.put(f"{store}/out/_plan/lock-{'0' * 32}", json.dumps(fields).encode())
            assert job_state(f"{store}/out").abort.wait(20)

        return take_over

    def test_the_job_ends_and_commits_nothing_more(self, store, take_over, monkeypatch, capsys):
        """With one message that says who has it, and the code of a job that failed."""
        files = []

        def postprocess(batch):
            if len(memory.paths(f"{store}/out/_units/")) == 2 and not files:
                files.append(None)
                take_over()
                files[:] = memory.paths(f"{store}/out/")
            return batch

        monkeypatch.setattr(batch_functions, "unchanged", postprocess, raising=False)
        code = main(
            [
                *("precompute", f"--model_base_path={store}/ranker", f"--output={store}/out"),
                *(f"--input={store}/parquet/*", "--key=id", "--unit_rows=4000"),
                *("--direct_num_workers=1", "--max_batch_size=1000"),
                "--postprocess=tests.pipelines.batch_functions:unchanged",
            ]
        )
        assert code == 1
        error = capsys.readouterr().err
        assert error.startswith(f"error: --output={store}/out was taken over by process 7 on else")
        assert "Traceback" not in error
        assert len(memory.paths(f"{store}/out/_units/")) == 2
        left = set(memory.paths(f"{store}/out/"))
        assert left < set(files)
        assert all("_plan/lock-" in each for each in set(files) - left)
        assert f"{store}/out/_plan/lock-{'0' * 32}" in left


class TestTwoJobs:
    """Two with one plan, as if there were no lock: workers may outlive the launcher that held it."""

    @pytest.mark.parametrize("at_once", [False, True], ids=["as it comes", "each unit at once"])
    def test_every_row_is_there_once(self, store, tmp_path, monkeypatch, at_once):
        """Parts and receipts of a unit have the same names in both, and the same rows."""
        output = f"{store}/out"
        options = PrecomputeOptions(
            model_base_path=f"{store}/ranker",
            input=(f"{store}/parquet/*",),
            output=output,
            key="id",
            unit_rows=4000,
        )
        plan = write_plan(make_plan(options.plan_request(), options.execution), output)
        if at_once:  # neither knows of the other when it commits
            both, check = threading.Barrier(2), process_unit_module.check_may_commit

            def check_at_once(unit, job):
                check(unit, job)
                both.wait(20)

            monkeypatch.setattr(process_unit_module, "check_may_commit", check_at_once)

        def work(max_batch_size):
            execution = ExecutionOptions(max_batch_size=max_batch_size)
            with WorkerCore(WorkerCoreConfig(models=plan.models, execution=execution)) as core:
                job = create_unit_job(
                    plan,
                    output,
                    execution,
                    core=core,
                    state=JobState(stops_siblings=True),
                    clock=SystemClock(),
                )
                for unit in plan.units:
                    process_unit_module.process_unit(unit, job)
                finalize(plan, output)

        with ThreadPoolExecutor(2) as pool:
            for each in [pool.submit(work, size) for size in (1000, 700)]:
                each.result()
        memory.get_tree(output, tmp_path)
        table = read_output(tmp_path)
        assert table["id"].to_pylist() == list(range(NUM_ROWS))
        assert len(memory.paths(f"{output}/_units/unit-")) == len(plan.units) == 5
        assert len(memory.paths(f"{output}/model_name=ranker")) == 5


class TestOneRead:
    @pytest.mark.parametrize("input_format", FORMATS)
    def test_versions_share_one_read_of_the_input(self, input_format, store):
        """While units run, each file is opened once and read once, for one version and for three."""
        single = _count_reads(store, input_format, "3")
        triple = _count_reads(store, input_format, "all")
        assert len(single) == len(FILE_ROWS)
        assert triple == single
        for path, (opens, num_bytes) in triple.items():
            size = len(memory.content(path))
            assert opens == 1
            footer = 64 << 10 if input_format == "parquet" else 0  # Arrow reads so much of the end
            assert size * 0.99 <= num_bytes <= size + footer

    def test_only_needed_columns_are_read(self, store):
        """Of a wide Parquet file, the bytes of the columns that the job needs are read."""
        random = np.random.default_rng(1)
        num_rows = 40_000
        table = {f"x{index}": random.random(num_rows) for index in range(8)}
        matrix = random.random((num_rows, 16)).astype(np.float32)
        table["features"] = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), 16)
        table["id"] = np.arange(num_rows)
        memory.put_table(f"{store}/wide/a.parquet", pa.table(table))
        run_job(f"{store}/ranker", f"{store}/wide", f"{store}/out", key="id")
        path = f"{store}/wide/a.parquet"
        assert 0 < memory.bytes_read(path) < 0.75 * len(memory.content(path))
