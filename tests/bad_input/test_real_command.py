"""The command as users type it: one message on stderr, nothing of the libraries, exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]


def _run(*args, cwd=None):
    """Runs the command with an environment that asks no library to be quiet."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TF_", "GRPC_", "PYTEST_"))
    }
    return subprocess.run(
        [sys.executable, str(_ROOT / "run_pipeline.py"), *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment,
        cwd=cwd,
    )


def _truncated_graph(tmp_path, base_path):
    version = tmp_path / "model" / "1"
    version.mkdir(parents=True)
    content = Path(base_path, "1", "saved_model.pb").read_bytes()
    (version / "saved_model.pb").write_bytes(content[:-10])
    return [f"--model_base_path={tmp_path}/model"], f"{version}/saved_model.pb is corrupt"


def _truncated_parquet(tmp_path, data_path):
    path = tmp_path / "cut.parquet"
    path.write_bytes(Path(data_path).read_bytes()[:-10])
    return [f"--input={path}"], f"{path} cannot be read as Parquet"


def _text_as_tfrecord(tmp_path):
    path = tmp_path / "text.tfrecord"
    path.write_bytes(b"this is text\n" * 10)
    return [f"--input={path}"], f"{path} is not TFRecord"


@pytest.fixture(name="flags_and_start")
def _flags_and_start(request, base_path, data_path, tmp_path):
    """The flags of one case, and how the message must start."""
    cases = {
        "unknown_flag": lambda: (["--unit_row=5"], "unknown flag --unit_row; did you mean"),
        "graph": lambda: _truncated_graph(tmp_path, base_path),
        "parquet": lambda: _truncated_parquet(tmp_path, data_path),
        "tfrecord": lambda: _text_as_tfrecord(tmp_path),
        "binding": lambda: (["--input_map=x=txt"], "signature 'serving_default' of model"),
        "function": lambda: (
            ["--preprocess=json:loads"],
            "--preprocess=json:loads failed: TypeError",
        ),
        "output": lambda: ([f"--output={data_path}"], f"--output={data_path} is a file"),
    }
    return cases[request.param]()


class TestRefusals:
    @pytest.mark.parametrize(
        ("flags_and_start", "num_lines"),
        [
            ("unknown_flag", 1),
            ("graph", 1),
            ("parquet", 1),
            ("tfrecord", 1),
            ("binding", 2),
            ("function", 1),
            ("output", 1),
        ],
        indirect=["flags_and_start"],
    )
    def test_one_message_and_nothing_else(
        self, flags_and_start, num_lines, precompute_args, output
    ):
        """Whatever had to be imported to find out, stderr holds the one message."""
        flags, start = flags_and_start
        done = _run(*precompute_args(*flags))
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert done.stderr.startswith(f"error: {start}"), done.stderr
        assert done.stderr.count("\n") == num_lines, done.stderr
        assert not output.exists()

    def test_failure_while_running(self, precompute_args, output, tmp_path):
        """A unit that fails prints three lines, the last of which is the command that resumes."""
        module = tmp_path / "late.py"
        module.write_text("def fails(batch):\n    raise ValueError('a bad row')\n")
        done = _run(*precompute_args("--postprocess=late:fails"), cwd=tmp_path)
        assert done.returncode == 1, done.stderr
        message, _, resume = done.stderr.splitlines()
        assert message.startswith("error: unit 0 of 1 (")
        assert message.endswith("failed: ValueError: a bad row")
        program = f"{sys.executable} {_ROOT}/run_pipeline.py"
        assert resume.strip().startswith(f"{program} precompute --output=")
        assert not (output / "_SUCCESS").exists()

    def test_good_input_leaves_stderr_empty(self, precompute_args):
        """The libraries say nothing either where there is nothing to say."""
        done = _run(*precompute_args())
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert "done: 20 rows" in done.stdout


class TestHelp:
    @pytest.mark.parametrize("args", [["--help"], ["precompute", "--help"], ["inspect", "-h"]])
    def test_help(self, args):
        """Help goes to stdout and is no error."""
        done = _run(*args)
        assert (done.returncode, done.stderr) == (0, "")
        assert "run_pipeline.py" in done.stdout

    def test_no_command(self):
        """Without a command the help is shown, and the exit code says that something is missing."""
        done = _run()
        assert (done.returncode, done.stderr) == (2, "")
        assert "precompute" in done.stdout
