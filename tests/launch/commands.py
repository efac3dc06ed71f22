"""Runs the command line in this process, for Dataflow without Dataflow."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines.cli import main


def dataflow_args(directory: Path) -> tuple[str, ...]:
    """Returns Beam's flags for a template below `directory`, without credentials or network.

    With an endpoint on localhost Beam takes local directories for its buckets. Nobody listens there:
    rendering a template calls no service.
    """
    return (
        "--runner=DataflowRunner",
        "--project=some-project",
        "--region=us-central1",
        "--no_auth",
        "--dataflow_endpoint=http://localhost:1",
        f"--temp_location={directory}/tmp",
        f"--staging_location={directory}/staging",
        f"--template_location={directory}/template.json",
    )


def run_command(args: Sequence[str]) -> tuple[int, str, str]:
    """Runs the command line in this process and returns exit code, stdout and stderr."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_GCE_CHECK", "true")  # else Google's client asks the network where it runs
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            exit_code = main(args)
    return exit_code, stdout.getvalue(), stderr.getvalue()
