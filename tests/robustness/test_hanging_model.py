"""A model call that does not end: its unit fails in time, with the stacks of all threads."""

import os
import signal
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.models import save_signatures
from tests.robustness.jobs import JobProcess, run_process

_NUM_ROWS = 4000


def _save_looping_model(base_path):
    """Saves a model that counts up to the largest value of its input before it answers."""
    tf = import_tensorflow()

    def call(x):
        limit = tf.cast(tf.reduce_max(x), tf.int64)
        count = tf.while_loop(lambda i: i < limit, lambda i: (i + 1,), (tf.constant(0, tf.int64),))
        return {"y": x + tf.cast(count[0], tf.float32)}

    specs = {"x": tf.TensorSpec([None], tf.float32)}
    save_signatures(base_path, 1, {"serving_default": (call, specs)})


@pytest.fixture(name="args")
def _args(tmp_path):
    """Returns the arguments of a job whose every batch would take hours."""
    _save_looping_model(tmp_path / "looper")
    x = np.full(_NUM_ROWS, 1e12, np.float32)
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"id": np.arange(_NUM_ROWS), "x": x}), tmp_path / "data/in.parquet")
    return [
        "precompute",
        f"--model_base_path={tmp_path / 'looper'}",
        f"--input={tmp_path / 'data'}/*.parquet",
        f"--output={tmp_path / 'output'}",
        "--key=id",
        "--num_batch_threads=2",
    ]


@pytest.mark.parametrize("num_batches", [2, 40], ids=["queue with room", "full queue"])
def test_the_unit_fails_in_time_with_the_stacks(args, tmp_path, num_batches):
    """Whether the reader waits for a result or for room in the queue, the job ends with exit code 1."""
    size = f"--max_batch_size={_NUM_ROWS // num_batches}"
    started_secs = time.monotonic()

    result = run_process([*args, size, "--batch_timeout_secs=2"])

    assert time.monotonic() - started_secs < 60
    assert result.code == 1, result
    assert "unit 0 of 1" in result.err
    assert "--batch_timeout_secs=2" in result.err
    assert "Thread" in result.err
    assert "--if_exists=resume" in result.err
    assert not list((tmp_path / "output").glob("model_name=*"))


@pytest.mark.long
def test_a_signal_ends_it_before_its_time(args, tmp_path):
    """Nobody waits for a model that hangs: the process ends ten seconds after Ctrl-C."""
    with JobProcess([*args, "--max_batch_size=100"]) as process:
        process.wait_until(lambda: list((tmp_path / "output").glob("_plan/plan.json")), "it ran")
        time.sleep(6)  # until the model is loaded and called
        started_secs = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        result = process.result()
    assert result.code == 130, result
    assert time.monotonic() - started_secs < 15
    assert "--if_exists=resume" in result.err
