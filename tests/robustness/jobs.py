"""Jobs for robustness tests: a tiny model and input, run here or in a process of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.cli import main

ROOT = Path(__file__).resolve().parents[2]
NUM_FILES = 3
FILE_ROWS = 400
UNIT_ROWS = 200  # each file makes two units
BATCH_ROWS = 50
NUM_UNITS = NUM_FILES * FILE_ROWS // UNIT_ROWS
NUM_ROWS = NUM_FILES * FILE_ROWS
PATIENCE_SECS = 120.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """A precompute job over the shared kind of data.

    Attributes:
        model: Base path of its model.
        data: Directory of its input files.
        output: Its output directory.
    """

    model: Path
    data: Path
    output: Path

    def args(self, *more: str) -> list[str]:
        """Returns the arguments that begin the job."""
        return [
            "precompute",
            f"--model_base_path={self.model}",
            f"--input={self.data}/*.parquet",
            f"--output={self.output}",
            "--key=id",
            f"--unit_rows={UNIT_ROWS}",
            f"--max_batch_size={BATCH_ROWS}",
            "--preprocess=tests.robustness.hooks:preprocess",
            "--postprocess=tests.robustness.hooks:postprocess",
            *more,
        ]

    def resume_args(self, *more: str) -> list[str]:
        """Returns the arguments that continue the job, the only two that are needed."""
        return ["precompute", f"--output={self.output}", "--if_exists=resume", *more]

    @property
    def receipts(self) -> list[Path]:
        """Returns the receipts that are there."""
        return sorted((self.output / "_units").glob("unit-*.json"))

    @property
    def parts(self) -> list[Path]:
        """Returns the data files that are there."""
        return sorted(self.output.glob("model_name=*/model_version=*/part-*.parquet"))

    @property
    def temporary_files(self) -> list[Path]:
        """Returns what is half-written."""
        return [each for each in (self.output / "_tmp").rglob("*") if each.is_file()]

    @property
    def is_complete(self) -> bool:
        """Whether it says that it is done."""
        return (self.output / "_SUCCESS").exists()

    def table(self) -> pa.Table:
        """Returns all rows, sorted by key."""
        table = pa.concat_tables([pq.read_table(each, partitioning=None) for each in self.parts])
        return table.sort_by("id")

    def part_bytes(self) -> dict[str, bytes]:
        """Returns the content of the data files by their path in the output directory."""
        return {str(each.relative_to(self.output)): each.read_bytes() for each in self.parts}

    def letter_bytes(self) -> dict[str, bytes]:
        """Returns the content of the files of dead letters by their names."""
        return {each.name: each.read_bytes() for each in self._letter_files}

    def letters(self) -> list[dict[str, object]]:
        """Returns the dead letters, in order."""
        return [row for each in self._letter_files for row in pq.read_table(each).to_pylist()]

    @property
    def _letter_files(self) -> list[Path]:
        return sorted((self.output / "_dead_letters").glob("*"))

    def all_files(self) -> set[str]:
        """Returns every file below the output directory."""
        return {str(each) for each in self.output.rglob("*") if each.is_file()}


def identities(paths: Sequence[Path]) -> dict[str, tuple[int, int]]:
    """Returns what changes when a file is written anew, by path."""
    return {str(each): (each.stat().st_ino, each.stat().st_mtime_ns) for each in paths}


def write_inputs(directory: Path) -> None:
    """Writes the input files, whose ids count up from 0."""
    directory.mkdir(parents=True)
    features = np.random.default_rng(7).normal(size=(NUM_ROWS, 4)).astype(np.float32)
    table = pa.table(
        {
            "id": pa.array(range(NUM_ROWS), pa.int64()),
            "features": pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), 4),
        }
    )
    for index in range(NUM_FILES):
        rows = table.slice(index * FILE_ROWS, FILE_ROWS)
        pq.write_table(rows, directory / f"in-{index}.parquet", row_group_size=UNIT_ROWS // 2)


def assert_same_rows(job: Job, expected: pa.Table) -> None:
    """Checks that the job's output has the expected rows, each key once."""
    found = job.table()
    assert found.column("id").to_pylist() == expected.column("id").to_pylist()
    assert found.schema.equals(expected.schema)
    np.testing.assert_allclose(
        found.column("score").to_numpy(), expected.column("score").to_numpy(), rtol=1e-5, atol=1e-6
    )


def assert_clean(job: Job) -> None:
    """Checks that the job is complete and left nothing that only a running job needs."""
    assert job.is_complete
    assert job.temporary_files == []
    assert not (job.output / "_errors").exists()
    assert len(job.parts) == len(job.receipts)


def run_here(args: Sequence[str]) -> int:
    """Runs the command line in this process, which has TensorFlow already; returns the exit code."""
    return main(list(args))


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a process ended.

    Attributes:
        code: Exit code; negative for a signal.
        out: What it printed.
        err: Its error output.
    """

    code: int
    out: str
    err: str


class JobProcess:
    """The command line in a process group of its own. A context manager: leaving it kills the group."""

    def __init__(
        self,
        args: Sequence[str],
        environment: Mapping[str, object] | None = None,
        *,
        module: str | None = None,
    ) -> None:
        entry = ["run_pipeline.py"] if module is None else ["-m", module]
        self._process = subprocess.Popen(
            [sys.executable, *entry, *args],
            cwd=ROOT,
            env={**os.environ, **{key: str(value) for key, value in (environment or {}).items()}},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        if self.group_is_alive():
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE_SECS)
        for stream in (self._process.stdout, self._process.stderr):
            stream.close()

    @property
    def pid(self) -> int:
        """Returns the number of the process and of its group."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process itself, not its children, is alive."""
        return self._process.poll() is None

    def wait_until(self, is_true: Callable[[], object], what: str) -> None:
        """Waits for something that the process does."""
        deadline_secs = time.monotonic() + PATIENCE_SECS
        while not is_true():
            if not self.is_running:
                raise AssertionError(f"it ended before {what}: {self.result()}")
            if time.monotonic() > deadline_secs:
                raise AssertionError(f"waited in vain until {what}")
            time.sleep(0.01)

    def has_loaded(self, library: str) -> bool:
        """Whether a library whose path contains `library` is in the process's memory (Linux only)."""
        return library in Path(f"/proc/{self.pid}/maps").read_text()

    def result(self) -> Result:
        """Waits for the end and returns it."""
        out, err = self._process.communicate(timeout=PATIENCE_SECS)
        return Result(code=self._process.returncode, out=out, err=err)

    def group_is_alive(self) -> bool:
        """Whether the process or any of its children is left."""
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True


def run_process(
    args: Sequence[str],
    environment: Mapping[str, object] | None = None,
    *,
    module: str | None = None,
) -> Result:
    """Runs the command line in a process of its own, to its end."""
    with JobProcess(args, environment, module=module) as process:
        return process.result()
