"""`--dry_run`: the plan, what it would take, and one batch; nothing is written."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.jobs import run_job
from tests.models import save_signatures

NUM_ROWS = 50_000


@pytest.fixture(scope="module", name="base")
def _base(tmp_path_factory):
    """A model that doubles x, and refuses 600 and more."""
    tf = import_tensorflow()

    def call(x):
        fits = tf.debugging.assert_less(x, 600.0, message="too large")
        with tf.control_dependencies([fits]):
            return {"y": 2.0 * x}

    base = tmp_path_factory.mktemp("models") / "limited"
    signature = {"x": tf.TensorSpec([None], tf.float32, name="x")}
    save_signatures(base, 1, {"serving_default": (call, signature)})
    return base


def _write(tmp_path, values):
    table = pa.table({"id": range(len(values)), "x": pa.array(values, pa.float32())})
    path = tmp_path / "in.parquet"
    pq.write_table(table, path)
    return path


def _dry_run(base, inputs, output, *flags):
    return main(
        [
            "precompute",
            f"--model_base_path={base}",
            f"--input={inputs}",
            f"--output={output}",
            "--key=id",
            "--dry_run",
            *flags,
        ]
    )


def test_the_estimate_is_near_what_the_job_writes(base, tmp_path, capsys):
    """One batch of a fifth of the rows tells the size within a quarter; and nothing is written."""
    values = np.random.default_rng(0).uniform(0, 100, NUM_ROWS)
    inputs, output = _write(tmp_path, values), tmp_path / "out"
    assert _dry_run(base, inputs, output, "--max_batch_size=10000") == 0
    printed = capsys.readouterr().out
    assert not output.exists()
    kibibytes, rows = re.search(
        r"write about ([\d.]+) KiB, for about ([\d,]+) rows", printed
    ).groups()
    assert rows == f"{NUM_ROWS:,}"
    report = run_job(base, inputs, output, key="id")
    assert float(kibibytes) * 1024 == pytest.approx(report.manifest["bytes_written"], rel=0.25)


def test_bad_records_are_told(base, tmp_path, capsys):
    """With dead letters, a record that the model refuses does not hide the others."""
    inputs = _write(tmp_path, [1.0, 700.0, 3.0])
    assert _dry_run(base, inputs, tmp_path / "out", "--on_error=dead_letter") == 0
    printed = capsys.readouterr().out
    assert "would put aside 1 records" in printed
    assert "too large" in printed
    assert "one batch of 2 rows" in printed


def _fails(_batch):
    raise KeyError("no such column")


def test_a_function_that_fails_is_one_message(base, tmp_path, capsys):
    """As in a job: the dry run is there to find it."""
    flags = [f"--postprocess={__name__}:_fails"]
    assert _dry_run(base, _write(tmp_path, [1.0]), tmp_path / "out", *flags) == 2
    told = capsys.readouterr().err
    assert told == f"error: {flags[0]} failed: KeyError: 'no such column'\n"


def test_a_batch_of_nothing_but_bad_records(base, tmp_path, capsys):
    """There is no row to show, and no reason to fail."""
    inputs = _write(tmp_path, [700.0, 800.0])
    assert _dry_run(base, inputs, tmp_path / "out", "--on_error=dead_letter") == 0
    printed = capsys.readouterr().out
    assert "would put aside 2 records" in printed
    assert "no row of its first batch went through limited/1" in printed
