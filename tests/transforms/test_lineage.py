import platform
import shlex

import numpy as np
import pyarrow as pa
import pytest

from transforms.lineage import command_line, package_versions


def test_versions():
    """The versions are those that run here."""
    found = package_versions()
    assert found["python"] == platform.python_version()
    assert (found["numpy"], found["pyarrow"]) == (np.__version__, pa.__version__)
    assert set(found) >= {"tensorflow", "apache-beam", "bulk-inference"}


def test_command_can_be_pasted():
    """A shell splits the line into the arguments again."""
    args = ["run_pipeline.py", "precompute", "--input=a b/*.parquet", "--key", "id"]
    assert shlex.split(command_line(args)) == args


@pytest.mark.parametrize(
    "args",
    [["--s3_secret_access_key=hunter2"], ["--azure_connection_string", "hunter2"]],
)
def test_secrets_are_masked(args):
    """Values of Beam's credential flags do not go into files, whichever way they are written."""
    line = command_line(["run_pipeline.py", *args, "--key=id"])
    assert "hunter2" not in line
    assert args[0].partition("=")[0] in line
    assert shlex.split(line)[-1] == "--key=id"


def test_a_secret_flag_without_value():
    """A flag that follows is not taken for the value."""
    assert command_line(["--password", "--key=id"]) == "--password --key=id"
