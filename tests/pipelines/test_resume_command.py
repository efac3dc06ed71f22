import shlex

import pytest

from pipelines.cli import _precompute_options
from pipelines.options import PrecomputeOptions
from pipelines.program import program_words
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


class TestProgram:
    """The words before the flags are those that the user began with."""

    @pytest.mark.parametrize(
        "words",
        [
            ["python", "run_pipeline.py"],
            ["../.venv/bin/python3.11", "-X", "utf8", "/opt/a b/run_pipeline.py"],
            ["python", "-m", "run_pipeline"],
        ],
    )
    def test_as_it_was_started(self, words):
        """Interpreter, its options, script or module."""
        args = ["precompute", "--output=o"]
        assert program_words([*words, *args], args) == tuple(words)

    @pytest.mark.parametrize(
        "started_as",
        [
            ["python", "-m", "pytest", "-q"],
            ["python", "-c", "main()", "precompute", "--output=o"],
            ["precompute", "--output=o"],
        ],
    )
    def test_of_another_program(self, started_as):
        """Where the flags are not the process's own, or no command, the documented words stand in."""
        args = ["precompute", "--output=o"]
        assert program_words(started_as, args) == ("python", "run_pipeline.py")

    @pytest.mark.parametrize("is_on_path", [False, True])
    def test_a_script_that_runs_by_itself(self, tmp_path, monkeypatch, is_on_path):
        """Which is how the installed command is started: the system adds the interpreter."""
        script = tmp_path / "bulk-inference"
        script.write_text("#!/usr/bin/python3\n")
        script.chmod(0o755)
        if is_on_path:
            monkeypatch.setenv("PATH", str(tmp_path))
        args = ["precompute", "--output=o"]
        expected = "bulk-inference" if is_on_path else str(script)
        assert program_words(["/usr/bin/python3", str(script), *args], args) == (expected,)

    @pytest.mark.parametrize("script", ["run.py", "./run.py"])
    @pytest.mark.parametrize("first_line", ["", "#!/usr/bin/env python3", "#!/opt/python"])
    def test_a_script_that_only_seems_to_run_by_itself(
        self, tmp_path, monkeypatch, script, first_line
    ):
        """All files may be executable; without its interpreter the command may not run, or in another."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "run.py").write_text(f"{first_line}\n")
        (tmp_path / "run.py").chmod(0o755)
        words = ["/opt/python" if script == "run.py" else "/venv/python", script]
        assert program_words([*words, "precompute"], ["precompute"]) == tuple(words)

    def test_is_in_the_command(self):
        """Quoted for a shell."""
        options = PrecomputeOptions(output="/out", program=("a b/python", "-m", "run_pipeline"))
        command = options.how_to_resume.splitlines()[1].strip()
        assert command.startswith("'a b/python' -m run_pipeline precompute --output=/out")
