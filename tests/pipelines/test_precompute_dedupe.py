"""`--dedupe`: each distinct input of a unit is computed once, and all rows are as without it."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.precompute import summary
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.datasets import write_parquet, write_tfrecord
from tests.jobs import read_output, run_job
from tests.models import save_examples, save_linear, save_ragged, save_signatures, save_text

NUM_ROWS = 1200
NUM_DISTINCT = 7


def _rows_run(report):
    """The rows that the models were called with."""
    return sum(each["num_rows"] for each in report.manifest["batching"].values())


def _reused(report):
    return [each["rows_reused"] for each in report.manifest["models"]]


def _both(base, inputs, tmp_path, **options):
    """The reports of a job without the flag and of one with it, whose outputs are the same."""
    plain = run_job(base, inputs, tmp_path / "plain", key="id", **options)
    deduped = run_job(base, inputs, tmp_path / "deduped", key="id", dedupe=True, **options)
    expected, found = (read_output(each.output) for each in (plain, deduped))
    assert found.num_rows == plain.rows
    assert found.equals(expected)
    return plain, deduped


@pytest.fixture(name="ids")
def _ids():
    """A number below `NUM_DISTINCT` for each row, in no order."""
    return np.random.default_rng(0).integers(0, NUM_DISTINCT, NUM_ROWS)


def test_each_distinct_row_of_a_unit_runs_once(ids, tmp_path):
    """Over batches, and columns that are no inputs do not count."""
    save_linear(tmp_path / "model", 1, num_features=3)
    features = pa.FixedSizeListArray.from_arrays(
        pa.array(np.arange(3 * NUM_DISTINCT, dtype=np.float32).reshape(-1, 3)[ids].reshape(-1)), 3
    )
    table = pa.table({"id": range(NUM_ROWS), "features": features})
    write_parquet(table, tmp_path / "in", [400, 800], 100)
    plain, deduped = _both(
        tmp_path / "model", tmp_path / "in", tmp_path, unit_rows=400, max_batch_size=64
    )
    assert len(deduped.plan.units) == 3
    assert _rows_run(deduped) == 3 * NUM_DISTINCT
    assert _reused(deduped) == [NUM_ROWS - 3 * NUM_DISTINCT]
    assert _reused(plain) == [0]
    assert "1,179 of them with the outputs of an equal row" in summary(deduped)
    assert "equal row" not in summary(plain)


def test_text(ids, tmp_path):
    """Strings are compared whole."""
    save_text(tmp_path / "model", 1)
    words = np.array(["", "a", "b", "ab", "aa", "aaa", "\u00e9"])
    table = pa.table({"id": range(NUM_ROWS), "text": words[ids]})
    write_parquet(table, tmp_path / "in", [NUM_ROWS], NUM_ROWS)
    _, deduped = _both(tmp_path / "model", tmp_path / "in", tmp_path, max_batch_size=64)
    assert _rows_run(deduped) == NUM_DISTINCT


def test_lists_of_varying_length(ids, tmp_path):
    """With the outputs that are as long as each row."""
    save_ragged(tmp_path / "model", 1)
    lists = [list(range(each)) for each in range(NUM_DISTINCT)]
    table = pa.table({"id": range(NUM_ROWS), "ids": pa.array([lists[each] for each in ids])})
    write_parquet(table, tmp_path / "in", [NUM_ROWS], NUM_ROWS)
    _, deduped = _both(
        tmp_path / "model",
        tmp_path / "in",
        tmp_path,
        max_batch_size=100,
        input_map=("mask=mask(ids)", "length=len(ids)"),
    )
    assert _rows_run(deduped) == NUM_DISTINCT


def test_records(ids, tmp_path):
    """Serialized Examples are compared as they are."""
    save_examples(tmp_path / "model", 1, ["x"])
    values = np.arange(NUM_DISTINCT, dtype=np.float32)[ids]
    write_tfrecord({"x": values}, tmp_path / "in" / "a.tfrecord")
    report = run_job(
        tmp_path / "model", tmp_path / "in", tmp_path / "out", dedupe=True, max_batch_size=64
    )
    output = read_output(report.output, "source_row")
    np.testing.assert_array_equal(output["score"].to_numpy(), values)
    assert _rows_run(report) == NUM_DISTINCT


def test_each_row_of_a_bad_input_has_a_letter(ids, tmp_path):
    """Those that the model refuses, and nulls, which do not even get that far."""
    tf = import_tensorflow()

    def call(x):
        fits = tf.debugging.assert_less(x, 5.0, message="too large")
        with tf.control_dependencies([fits]):
            return {"y": 2.0 * x}

    specs = {"x": tf.TensorSpec([None], tf.float32)}
    save_signatures(tmp_path / "model", 1, {"serving_default": (call, specs)})
    values = [None if each == 6 else float(each) for each in ids]
    table = pa.table({"id": range(NUM_ROWS), "x": pa.array(values, pa.float32())})
    write_parquet(table, tmp_path / "in", [NUM_ROWS], NUM_ROWS)
    options = {"on_error": "dead_letter", "max_batch_size": 64}
    plain = run_job(tmp_path / "model", tmp_path / "in", tmp_path / "plain", key="id", **options)
    report = run_job(
        tmp_path / "model", tmp_path / "in", tmp_path / "out", key="id", dedupe=True, **options
    )
    assert read_output(report.output).equals(read_output(plain.output))
    letters = pq.read_table(Path(report.output) / "_dead_letters").to_pylist()
    found = sorted((each["source_row"], each["stage"]) for each in letters)
    assert found == [
        (row, "predict" if each == 5 else "bind") for row, each in enumerate(ids) if each >= 5
    ]
    assert report.manifest["dead_letters"] == plain.manifest["dead_letters"]
    assert _reused(report) == [int((ids < 6).sum()) - 6]


def test_deterministic(ids, tmp_path):
    """The same bytes from every run."""
    save_linear(tmp_path / "model", 1, num_features=1)
    table = pa.table({"id": range(NUM_ROWS), "features": ids.astype(np.float32)})
    write_parquet(table, tmp_path / "in", [NUM_ROWS], 100)
    digests = []
    for name in ("one", "other"):
        report = run_job(
            tmp_path / "model",
            tmp_path / "in",
            tmp_path / name,
            key="id",
            dedupe=True,
            deterministic=True,
            max_batch_size=32,
            unit_rows=500,
        )
        parts = sorted((tmp_path / name).rglob("part-*.parquet"))
        digests.append([hashlib.sha256(each.read_bytes()).hexdigest() for each in parts])
        assert _rows_run(report) == len(report.plan.units) * NUM_DISTINCT
    assert digests[0] == digests[1]
