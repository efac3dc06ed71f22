"""TensorFlow's threads are set before anything else can make it start with others."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.datasets import write_parquet
from tests.models import save_scalars
from transforms.plan_files import read_plan

_ROOT = Path(__file__).resolve().parents[2]
_FUNCTION = """
import pyarrow as pa
import tensorflow as tf

def doubled(batch):
    a = (tf.constant(batch["a"].to_numpy()) * 2.0).numpy()
    return batch.set_column(batch.schema.get_field_index("a"), "a", pa.array(a))
"""


def _precompute(tmp_path, *flags):
    command = [sys.executable, str(_ROOT / "run_pipeline.py"), "precompute"]
    return subprocess.run(
        [*command, f"--output={tmp_path}/out", *flags],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_preprocessing_function_that_runs_tensorflow(tmp_path):
    """Its use while planning comes too late to change the threads that the plan records."""
    (tmp_path / "functions.py").write_text(_FUNCTION)
    table = pa.table({"id": np.arange(10), "a": np.ones(10, np.float32)})
    write_parquet(table, tmp_path / "in", [10], 10)
    save_scalars(tmp_path / "m", 1, ["a"])
    flags = ("--input=in", "--model_base_path=m", "--key=id", "--num_batch_threads=64")
    result = _precompute(tmp_path, *flags, "--deterministic", "--preprocess=functions:doubled")
    assert result.returncode == 0, result.stderr
    threads = read_plan(str(tmp_path / "out")).content.deterministic_threads
    assert threads[0] == 1
    assert threads[1] >= 2
