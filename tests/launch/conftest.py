"""One small job with many files, and the template that the command line renders of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.datasets import write_parquet
from tests.launch.commands import dataflow_args, run_command
from tests.models import save_scalars

_NUM_SMALL_FILES = 300
_ROWS_OF_SMALL_FILE = 3
_UNIT_ROWS = _NUM_SMALL_FILES * _ROWS_OF_SMALL_FILE
_NUM_UNITS = 4  # one of many small files, and one large file cut in three
_NUM_ROWS = _NUM_UNITS * _UNIT_ROWS


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job to launch in several ways.

    Attributes:
        args: The command line, without the output and Beam's own flags.
        table: Its input: 300 files of 3 rows make the first unit, one large file all others.
        num_units: Units that it is cut into.
    """

    args: tuple[str, ...]
    table: pa.Table
    num_units: int


@dataclass(frozen=True, kw_only=True)
class Template:
    """What rendering a template wrote, and what the command said."""

    exit_code: int
    stdout: str
    stderr: str
    output: Path
    job_file: Path
    staging: Path


@pytest.fixture(scope="module", name="job")
def _job(tmp_path_factory):
    directory = tmp_path_factory.mktemp("job")
    rng = np.random.default_rng(7)
    table = pa.table(
        {"id": np.arange(_NUM_ROWS), "x": rng.normal(size=_NUM_ROWS).astype(np.float32)}
    )
    small_files = [_ROWS_OF_SMALL_FILE] * _NUM_SMALL_FILES
    write_parquet(table[:_UNIT_ROWS], directory / "1_a_long_name_for_a_directory", small_files, 100)
    write_parquet(table[_UNIT_ROWS:], directory / "2_large", [_NUM_ROWS - _UNIT_ROWS], 100)
    for version in (1, 2, 3):
        save_scalars(directory / "model", version, ["x"])
    args = (
        "precompute",
        f"--model_base_path={directory}/model",
        "--model_version=all",
        f"--input={directory}/*/*.parquet",
        "--key=id",
        f"--unit_rows={_UNIT_ROWS}",
    )
    return Job(args=args, table=table, num_units=_NUM_UNITS)


@pytest.fixture(scope="module", name="template")
def _template(job, tmp_path_factory):
    directory = tmp_path_factory.mktemp("template")
    for name in ("staging", "tmp"):
        (directory / name).mkdir()
    args = (*job.args, f"--output={directory}/out", *dataflow_args(directory))
    exit_code, stdout, stderr = run_command(args)
    return Template(
        exit_code=exit_code,
        stdout=stdout,
        stderr=stderr,
        output=directory / "out",
        job_file=directory / "template.json",
        staging=directory / "staging",
    )


@pytest.fixture(scope="module", name="local_output")
def _local_output(job, tmp_path_factory):
    output = tmp_path_factory.mktemp("local") / "out"
    exit_code, _, stderr = run_command((*job.args, f"--output={output}"))
    assert exit_code == 0, stderr
    return output
