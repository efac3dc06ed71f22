"""Jobs with replicas on devices, compiled models, warm-up at every size, and 16 bits."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from pipelines.cli import main
from pipelines.options import PrecomputeOptions
from pipelines.precompute import run
from tests.datasets import write_parquet
from tests.jobs import read_output, values
from tests.models import call_model, save_linear
from transforms.execution import ExecutionOptions

NUM_ROWS = 200
MATRIX = np.random.default_rng(3).normal(size=(NUM_ROWS, 4)).astype(np.float32)


@pytest.fixture(scope="module", name="base")
def _base(tmp_path_factory):
    base = tmp_path_factory.mktemp("models") / "linear"
    save_linear(base, 1)
    return base


@pytest.fixture(scope="module", name="inputs")
def _inputs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("inputs")
    features = pa.FixedSizeListArray.from_arrays(pa.array(MATRIX.reshape(-1)), 4)
    write_parquet(pa.table({"id": range(NUM_ROWS), "features": features}), directory, [200], 50)
    return directory


def _run(base, inputs, output, *, jit_compile=None, **execution):
    return run(
        PrecomputeOptions(
            model_base_path=str(base),
            input=(str(inputs),),
            output=str(output),
            key="id",
            jit_compile=jit_compile,
            execution=ExecutionOptions(**execution),
        )
    )


@pytest.mark.parametrize(
    "options",
    [
        {"devices": "CPU:0"},
        {"devices": "auto"},
        {"jit_compile": True, "allowed_batch_sizes": (32, 64)},
        {
            "jit_compile": True,
            "allowed_batch_sizes": (32, 64),
            "max_batch_size": 64,
            "warm_up_batch_sizes": True,
        },
    ],
)
def test_the_scores_are_the_models(base, inputs, tmp_path, options):
    """Where and how it is computed changes nothing but rounding."""
    report = _run(base, inputs, tmp_path / "out", **options)
    expected = call_model(str(base / "1"), features=MATRIX)
    output = read_output(report.output)
    for name in expected:
        found = values(output[name]).reshape(expected[name].shape)
        np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-6)


def test_a_device_that_is_not_there(base, inputs, tmp_path, capsys):
    """One message, before anything is written."""
    args = [f"--model_base_path={base}", f"--input={inputs}", f"--output={tmp_path / 'out'}"]
    assert main(["precompute", *args, "--devices=GPU:7"]) == 2
    assert "GPU:7" in capsys.readouterr().err
    assert not (tmp_path / "out" / "_plan").exists()


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--devices=TPU:0", "device 'TPU:0' is not known"),
        ("--devices=CPU:0,CPU:0", "devices must differ"),
        ("--gpu_memory_limit_mib=0", "gpu_memory_limit_mib must be 1 or more"),
    ],
)
def test_flags_that_mean_nothing(base, inputs, tmp_path, capsys, flag, words):
    """Each is told as it is written."""
    args = [f"--model_base_path={base}", f"--input={inputs}", f"--output={tmp_path / 'out'}"]
    assert main(["precompute", *args, flag]) == 2
    assert words in capsys.readouterr().err


def test_mixed_precision_in_a_process_of_its_own(base, inputs, tmp_path):
    """TensorFlow takes it before it starts; the scores are about the same."""
    output = tmp_path / "out"
    command = [sys.executable, "run_pipeline.py", "precompute", f"--model_base_path={base}"]
    command += [f"--input={inputs}", f"--output={output}", "--key=id", "--mixed_precision"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    expected = call_model(str(base / "1"), features=MATRIX)
    table = read_output(output)
    for name in expected:
        found = values(table[name]).reshape(expected[name].shape)
        np.testing.assert_allclose(found, expected[name], rtol=0.1, atol=0.1)
