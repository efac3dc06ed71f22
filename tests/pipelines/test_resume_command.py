import shlex

from pipelines.cli import _precompute_options
from pipelines.options import PrecomputeOptions
from transforms.execution import ExecutionOptions


def test_limits_are_carried_on(tmp_path):
    """What the job ran with, beyond the defaults, is in the command that continues it."""
    execution = ExecutionOptions(max_batch_size=7, batch_timeout_secs=1.5)
    options = PrecomputeOptions(output=str(tmp_path / "a b"), execution=execution)
    words = shlex.split(options.how_to_resume.splitlines()[1])
    assert words[:3] == ["python", "run_pipeline.py", "precompute"]
    resumed = _precompute_options(words[3:])
    assert resumed.execution == execution
    assert resumed.output == str(tmp_path / "a b")
    assert resumed.if_exists == "resume"


def test_batching_is_carried_on(tmp_path):
    """So are all flags of batching, and the file that the rest came from."""
    (tmp_path / "batching.pbtxt").write_text("num_batch_threads { value: 3 }")
    first = _precompute_options(
        [
            "--output=out",
            f"--batching_parameters_file={tmp_path}/batching.pbtxt",
            "--max_batch_size=32",
            "--max_batch_cells=500",
            "--allowed_batch_sizes=8,32",
            "--batch_padding_policy=BATCH_DOWN",
            "--batch_timeout_micros=100",
            "--max_enqueued_batches=9",
        ]
    )
    words = shlex.split(first.how_to_resume.splitlines()[1])
    assert _precompute_options(words[3:]).execution == first.execution
    assert first.execution.batching_parameters.num_batch_threads == 3


def test_defaults_are_left_out():
    """A job without special limits has the short command."""
    options = PrecomputeOptions(output="/out")
    assert options.how_to_resume.splitlines()[1].split() == [
        *("python", "run_pipeline.py", "precompute", "--output=/out", "--if_exists=resume"),
    ]
