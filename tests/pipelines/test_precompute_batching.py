"""How jobs batch: the sizes that flags and files ask for, those that are found, and what is told of it."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pipelines.cli import _precompute_options, main
from pipelines.options import PrecomputeOptions
from pipelines.precompute import run, summary
from pipelines.predict import predict
from servable_core.config import BatchingParameters
from tests.datasets import write_parquet
from tests.jobs import read_output, values
from tests.models import call_model, save_batch_facts, save_ragged
from transforms.execution import ExecutionOptions, batch_threads
from transforms.worker_sessions import _scheduler_options

NUM_ROWS = 400
MATRIX = np.random.default_rng(0).normal(size=(NUM_ROWS, 4)).astype(np.float32)
SESSION = "facts/1:serving_default"


@pytest.fixture(name="base")
def _base(tmp_path):
    """A model that tells of the batch each row was in."""
    save_batch_facts(tmp_path / "facts", 1)
    return tmp_path / "facts"


def _table():
    features = pa.FixedSizeListArray.from_arrays(pa.array(MATRIX.ravel()), 4)
    return pa.table({"id": range(NUM_ROWS), "features": features})


@pytest.fixture(scope="module", name="inputs")
def _inputs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("inputs")
    write_parquet(_table(), directory, [NUM_ROWS], NUM_ROWS)
    return directory


@pytest.fixture(name="job")
def _job(base, inputs, tmp_path):
    """Runs a job with these execution options, others among them; returns its report."""

    def job(output="out", *, model_version="1", deterministic=None, **execution):
        options = PrecomputeOptions(
            model_base_path=str(base),
            model_version=model_version,
            input=(str(inputs),),
            output=str(tmp_path / output),
            key="id",
            deterministic=deterministic,
            execution=ExecutionOptions(**execution),
        )
        return run(options)

    return job


def _batch_rows(report, version=1):
    """Returns for each row how many rows its model call had; checks its score on the way."""
    table = read_output(report.output)
    table = table.filter(pa.array(np.asarray(table["model_version"]) == version))
    path = report.plan.models[[each.version for each in report.plan.models].index(version)].path
    expected = call_model(path, features=MATRIX)["score"]
    np.testing.assert_allclose(values(table["score"]), expected, rtol=1e-5, atol=1e-5)
    return values(table["batch_rows"])


def _write_own_file(base, text, version=1):
    (base / str(version) / "batching_params.pbtxt").write_text(text)


class TestAuto:
    @pytest.mark.parametrize("flag", [None, "auto"])
    def test_small_job_stays_at_the_hint(self, job, flag):
        """Where there is too little to measure, the size planned for the data is used to the end."""
        report = job(max_batch_size=flag)
        found = report.manifest["batching"][SESSION]["batch_size"]
        hint = report.plan.batch_size_hint
        assert found == [{"size": hint, "is_frozen": False, "curve": []}]
        assert set(_batch_rows(report)) == {NUM_ROWS}

    def test_number_pins(self, job):
        """With a number nothing is measured."""
        report = job(max_batch_size=100)
        assert report.manifest["batching"][SESSION]["batch_size"] == []
        assert set(_batch_rows(report)) == {100}
        assert report.mean_batch_size == 100

    def test_among_allowed_sizes(self, job):
        """Calibration chooses among the allowed sizes, and no batch has another."""
        report = job(allowed_batch_sizes=(8, 16))
        assert set(_batch_rows(report)) <= {8, 16}
        assert report.manifest["batching"][SESSION]["batch_size"][0]["size"] in (8, 16)


class TestFiles:
    def test_server_file(self, base, inputs, tmp_path):
        """The command takes a file of a model server, and a flag overrides it."""
        (tmp_path / "batching.pbtxt").write_text("max_batch_size { value: 20 }")
        args = [
            "precompute",
            f"--model_base_path={base}",
            f"--input={inputs}",
            "--key=id",
            f"--batching_parameters_file={tmp_path}/batching.pbtxt",
        ]
        assert main([*args, f"--output={tmp_path}/file"]) == 0
        assert main([*args, f"--output={tmp_path}/flag", "--max_batch_size=50"]) == 0
        assert set(values(read_output(tmp_path / "file")["batch_rows"])) == {20}
        assert set(values(read_output(tmp_path / "flag")["batch_rows"])) == {50}

    def test_own_file(self, job, base):
        """A model's own file goes over the server's."""
        _write_own_file(base, "max_batch_size { value: 25 }")
        report = job(batching_parameters=BatchingParameters(max_batch_size=20))
        assert set(_batch_rows(report)) == {25}

    @pytest.mark.parametrize("own", ["max_batch_size { value: 16 }", "allowed_batch_sizes: 16"])
    def test_versions_of_different_sizes(self, job, base, own):
        """Each version has batches of its own size, on one read of the input."""
        save_batch_facts(base, 2)
        _write_own_file(base, own)
        _write_own_file(base, "max_batch_size { value: 64 }", version=2)
        report = job(model_version="all")
        assert _batch_rows(report).max() == 16
        assert _batch_rows(report, version=2).max() <= 64

    def test_splitting(self, job, base):
        """A file that lets requests be cut bounds the calls, not the requests."""
        _write_own_file(
            base,
            "max_batch_size { value: 64 } enable_large_batch_splitting { value: true }"
            " max_execution_batch_size { value: 16 }",
        )
        assert _batch_rows(job()).max() <= 16

    def test_predict(self, base):
        """`predict` keeps to a model's own file as well."""
        _write_own_file(base, "max_batch_size { value: 16 }")
        table = predict(_table(), str(base))
        assert set(values(table["batch_rows"])) == {16}


class TestDeterministic:
    def test_sizes_of_files_are_recorded(self, job, base, inputs, tmp_path):
        """The plan has the size of the model's file; what the file says later changes nothing."""
        _write_own_file(base, "max_batch_size { value: 32 }")
        report = job(deterministic=True)
        assert report.plan.content.deterministic_batch_size == 32
        assert set(_batch_rows(report)) == {32, NUM_ROWS % 32}

    def test_resumed_with_another_file(self, job, tmp_path):
        """A resumed job has the sizes of its plan, and refuses others by flag."""
        report = job(deterministic=True, max_batch_size=32)
        (tmp_path / "other.pbtxt").write_text("max_batch_size { value: 8 }")
        for name in ("_SUCCESS", "_manifest.json", "_units/unit-00000.json"):
            (tmp_path / "out" / name).unlink()
        again = ["precompute", f"--output={tmp_path}/out", "--if_exists=resume"]
        assert main([*again, "--max_batch_size=8"]) == 2
        assert main([*again, f"--batching_parameters_file={tmp_path}/other.pbtxt"]) == 0
        assert set(_batch_rows(report)) == {32, NUM_ROWS % 32}

    def test_resumed_with_the_word_auto(self, job, tmp_path):
        """The word says nothing against a recorded size, so the command that began it may repeat it."""
        report = job(deterministic=True, max_batch_size="auto")
        assert report.plan.content.deterministic_batch_size == report.plan.batch_size_hint
        again = ["precompute", f"--output={tmp_path}/out", "--if_exists=resume"]
        assert main([*again, "--max_batch_size=auto"]) == 0


def test_end_of_the_input_does_not_wait(job):
    """However long batches wait for rows, the last ones run when no more will come."""
    report = job(max_batch_size=300, batch_timeout_micros=30_000_000)
    assert sum(np.unique(_batch_rows(report))) == NUM_ROWS
    assert report.manifest["batching"][SESSION]["max_queue_secs"] < 20


class TestTold:
    def test_totals(self, job):
        """The manifest adds up the receipts of all workers: every row once."""
        report = job(max_batch_size=64)
        session = report.manifest["batching"][SESSION]
        assert session["num_rows"] == NUM_ROWS
        assert session["num_batches"] == session["num_runs"] == 7
        assert session["mean_batch_size"] == pytest.approx(report.mean_batch_size)
        assert session["num_failed_rows"] == session["num_cells"] == 0

    def test_summary_of_a_given_size(self, job):
        """The summary says how full batches were, and nothing of a size that was given."""
        lines = summary(job(max_batch_size=64)).splitlines()
        assert "  mean batch   57 rows, 89% full" in lines
        assert not [each for each in lines if each.startswith("  batch size")]

    def test_summary_of_a_size_that_was_not_found(self, job):
        """The summary says that a small job has not measured."""
        report = job()
        hint = report.plan.batch_size_hint
        expected = f"  batch size   {hint:,} rows, not final: too few batches to measure others"
        assert expected in summary(report).splitlines()

    def test_summary_of_ragged_rows(self, tmp_path):
        """With padding the summary tells the waste and the shapes."""
        save_ragged(tmp_path / "ragged", 1)
        rows = [[1] * 12, [1] * 16, [1] * 20] * 10
        table = pa.table({"id": range(30), "ids": pa.array(rows, pa.list_(pa.int32()))})
        write_parquet(table, tmp_path / "in", [30], 30)
        report = run(
            PrecomputeOptions(
                model_base_path=str(tmp_path / "ragged"),
                input=(str(tmp_path / "in"),),
                output=str(tmp_path / "out"),
                key="id",
                signature_name="largest",
                pad_variable_length_inputs=True,
                execution=ExecutionOptions(max_batch_size=10, num_batch_threads=1),
            )
        )
        # 40 of 20 * 16 + 10 * 20 cells, in batches of ten rows of 16, and of 20, values.
        assert "  mean batch   10 rows, 100% full; 8% padding, 2 shapes" in summary(report)
        assert "batch size" not in summary(report)

    def test_summary_of_what_was_found(self, job):
        """The summary gives the flag that pins what the workers found; a size for each model."""
        report = job()
        manifest = json.loads(json.dumps(report.manifest))
        session = manifest["batching"][SESSION]

        def lines(**sessions):
            manifest["batching"] = {
                name: {**session, **values} for name, values in sessions.items()
            }
            found = summary(_with_manifest(report, manifest)).splitlines()
            return [each for each in found if each.startswith("  batch size")]

        def sizes(*pairs):
            return [{"size": size, "is_frozen": frozen, "curve": []} for size, frozen in pairs]

        pinned = "rows, the best that was measured; pin it with --max_batch_size"
        assert lines(a={"batch_size": sizes((1024, True), (64, False))}) == [
            f"  batch size   1,024 {pinned}=1024"
        ]
        assert lines(a={"batch_size": sizes((8, True))}, b={"batch_size": sizes((16, True))}) == [
            f"  batch size   a: 8 {pinned}=8",
            f"  batch size   b: 16 {pinned}=16",
        ]
        [line] = lines(a={"batch_size": sizes((4096, True)), "num_cells": 5})
        assert line.startswith("  batch size   4,096 cells, the best that was measured; ")
        assert line.endswith(" pin it with --max_batch_cells=4096")


def _with_manifest(report, manifest):
    return replace(report, manifest=manifest)


def test_a_file_of_the_server_says_how_threads_are_called_and_what_is_padded(
    base, inputs, tmp_path
):
    """What concerns the job of it holds: the pool's name and size, and whether lists are padded."""
    path = tmp_path / "batching.config"
    path.write_text(
        'thread_pool_name { value: "scorers" }\n'
        "num_batch_threads { value: 3 }\n"
        "pad_variable_length_inputs: true\n"
    )
    args = [f"--model_base_path={base}", f"--input={inputs}", f"--output={tmp_path / 'out'}"]
    options = _precompute_options([*args, f"--batching_parameters_file={path}"])
    assert options.pad_variable_length_inputs is True
    pools = _scheduler_options(options.execution, batch_threads(options.execution, 0))
    assert (pools.thread_name_prefix, pools.num_batch_threads) == ("scorers", 3)
