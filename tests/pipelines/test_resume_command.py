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


def test_defaults_are_left_out():
    """A job without special limits has the short command."""
    options = PrecomputeOptions(output="/out")
    assert options.how_to_resume.splitlines()[1].split() == [
        *("python", "run_pipeline.py", "precompute", "--output=/out", "--if_exists=resume"),
    ]
