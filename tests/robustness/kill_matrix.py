"""What the kill tests run: jobs of every kind, moments to kill them at, and what must come out."""

import gzip
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.datasets import to_examples
from tests.models import save_scalars
from tests.record_frames import frame
from tests.robustness.file_faults import FileFault

NUM_FILES = 3
FILE_ROWS = 120
UNIT_ROWS = 60
NUM_UNITS = NUM_FILES * FILE_ROWS // UNIT_ROWS
RECEIPT = r"/unit-\d+\.json"
_BAD_ROWS = (3, 61, 62, 130, 199, 255, 340)
_OUTPUT_FORMATS = ("parquet", "tfrecord_gzip", "jsonl", "prediction_log")
_KINDS = ("after_receipt", "before_receipt", "in_write", "between_files", "slow_model", "any_file")
_LETTERS = "_dead_letters/"


def write_originals(directory: str) -> None:
    """Writes two versions of a model, and its input with and without bad rows, as two formats.

    The model adds small whole numbers, which no order of additions and no batch size changes. Few rows
    are distinct, so that `--dedupe` has something to do.
    """
    root = Path(directory)
    for version in (1, 2):
        save_scalars(root / "adder", version, ["a", "b"])
    rng = np.random.default_rng(3)
    for name, bad_rows in (("good", ()), ("bad", _BAD_ROWS)):
        columns = {each: rng.integers(0, 5, NUM_FILES * FILE_ROWS) for each in ("a", "b")}
        _write_parquet(root / f"parquet-{name}", columns, bad_rows)
        _write_tfrecord(root / f"tfrecord-{name}", columns, bad_rows)


def _write_parquet(directory, columns, bad_rows):
    """A bad row has a null."""
    directory.mkdir(parents=True)
    is_bad = np.isin(np.arange(NUM_FILES * FILE_ROWS), bad_rows)
    table = pa.table(
        {
            "id": np.arange(NUM_FILES * FILE_ROWS),
            "a": pa.array(columns["a"].astype(np.float32), mask=is_bad),
            "b": columns["b"].astype(np.float32),
        }
    )
    for index in range(NUM_FILES):
        rows = table.slice(index * FILE_ROWS, FILE_ROWS)
        pq.write_table(rows, directory / f"in-{index}.parquet", row_group_size=UNIT_ROWS)


def _write_tfrecord(directory, columns, bad_rows):
    """A bad row is no Example."""
    directory.mkdir(parents=True)
    floats = {name: each.astype(np.float32) for name, each in columns.items()}
    records = to_examples({"id": np.arange(NUM_FILES * FILE_ROWS), **floats})
    records = [b"\xff" if row in bad_rows else each for row, each in enumerate(records)]
    for index in range(NUM_UNITS):
        rows = records[index * UNIT_ROWS : (index + 1) * UNIT_ROWS]
        path = directory / f"in-{index}.tfrecord"
        path.write_bytes(b"".join(frame(each) for each in rows))


@dataclass(frozen=True, kw_only=True)
class KindOfJob:
    """A job, but for where it writes.

    Attributes:
        input_format: "parquet" or "tfrecord".
        output_format: Format of the parts.
        has_bad_rows: Whether the input has bad rows, which are then put aside.
        dedupe: Whether rows of equal inputs share one computation.
        deterministic: Whether the files must be the same bytes.
    """

    input_format: str
    output_format: str
    has_bad_rows: bool
    dedupe: bool
    deterministic: bool

    @property
    def name(self) -> str:
        """Returns what it is, short."""
        words = [self.input_format, self.output_format]
        words += [each for each in ("has_bad_rows", "dedupe", "deterministic") if self.has(each)]
        return "-".join(words)

    def has(self, option: str) -> bool:
        """Whether an option is set."""
        return bool(getattr(self, option))

    def args(self, root: Path, output: Path) -> list[str]:
        """Returns the arguments that begin the job."""
        directory = root / f"{self.input_format}-{'bad' if self.has_bad_rows else 'good'}"
        args = [
            "precompute",
            f"--model_base_path={root / 'adder'}",
            "--model_version=all",
            f"--input={directory}/*.{self.input_format}",
            f"--output={output}",
            f"--output_format={self.output_format}",
            "--unit_bytes=4000" if self.input_format == "tfrecord" else f"--unit_rows={UNIT_ROWS}",
            "--max_batch_size=16",
            "--num_batch_threads=1",
        ]
        if self.output_format != "prediction_log":
            args.append("--key=id")
        if self.has_bad_rows:
            args.append("--on_error=dead_letter")
            args += ["--on_null=dead_letter"] if self.input_format == "parquet" else []
        return args + [f"--{each}" for each in ("dedupe", "deterministic") if self.has(each)]


def all_kinds() -> list[KindOfJob]:
    """Returns every combination; the formats of the input take turns."""
    combinations = itertools.product(_OUTPUT_FORMATS, *[(False, True)] * 3)
    return [
        KindOfJob(
            input_format=("parquet", "tfrecord")[(index + index // 8) % 2],
            output_format=output_format,
            has_bad_rows=has_bad_rows,
            dedupe=dedupe,
            deterministic=deterministic,
        )
        for index, (output_format, has_bad_rows, dedupe, deterministic) in enumerate(combinations)
    ]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When a job is killed.

    Attributes:
        kind: What to call it.
        fault: The file and the moment of its life; None for a time.
        kill_after_secs: Seconds after the first call of a model; None for a file.
    """

    kind: str
    fault: FileFault | None = None
    kill_after_secs: float | None = None

    @property
    def call_secs(self) -> float:
        """Returns how long each call of a model takes, so that the job is not done too early."""
        return 0.0 if self.kill_after_secs is None else 0.03


def random_moments(
    choice: random.Random, files: "JobFiles", has_bad_rows: bool
) -> Iterator[Moment]:
    """Yields moments for ever, each kind in turn, at random places of a job that writes `files`."""
    between = _LETTERS if has_bad_rows else "model_version=1/"
    order = list(_KINDS)
    choice.shuffle(order)
    for kind in itertools.cycle(order):
        match kind:
            case "slow_model":
                yield Moment(kind=kind, kill_after_secs=choice.uniform(0, 0.3))
            case "after_receipt":
                yield _file_moment(choice, kind, files, "committed", RECEIPT)
            case "before_receipt":
                yield _file_moment(choice, kind, files, "committing", RECEIPT)
            case "between_files":
                yield _file_moment(choice, kind, files, "committed", between)
            case "in_write":
                of = choice.choice(["/part-", "/unit", "/_plan/", _LETTERS if has_bad_rows else ""])
                yield _file_moment(choice, kind, files, "writing", of)
            case "any_file":
                at = choice.choice(["committing", "committed"])
                yield _file_moment(choice, kind, files, at, "")


def _file_moment(choice, kind, files, moment, pattern):
    number = choice.randint(1, files.count(pattern))
    return Moment(kind=kind, fault=FileFault(moment=moment, path=pattern, number=number))


class JobFiles:
    """What a job has written."""

    def __init__(self, output: Path) -> None:
        self.output = output

    def count(self, pattern: str) -> int:
        """Returns how many files' paths hold the regular expression; links and locks are none."""
        return sum(re.search(pattern, str(each)) is not None for each in self._files())

    def _files(self):
        found = (each for each in self.output.rglob("*") if each.is_file())
        return [each for each in found if each.name != "lock"]

    @property
    def parts(self) -> dict[str, Path]:
        """Returns the data files by their path in the output directory."""
        found = sorted(self.output.glob("model_name=*/model_version=*/part-*"))
        return {str(each.relative_to(self.output)): each for each in found}

    def part_bytes(self) -> dict[str, bytes]:
        """Returns the content of the data files."""
        return {name: each.read_bytes() for name, each in self.parts.items()}

    def rows(self) -> dict[str, object]:
        """Returns the rows of each data file, in order: a table, or bytes without compression."""
        return {name: _rows_of(each) for name, each in self.parts.items()}

    def letters(self) -> list[dict]:
        """Returns the dead letters, in order."""
        return [row for each in self._letter_files for row in pq.read_table(each).to_pylist()]

    def letter_bytes(self) -> dict[str, bytes]:
        """Returns the content of the files of dead letters by their names."""
        return {each.name: each.read_bytes() for each in self._letter_files}

    @property
    def _letter_files(self) -> list[Path]:
        return sorted((self.output / "_dead_letters").glob("*"))

    @property
    def receipts(self) -> list[Path]:
        """Returns the receipts."""
        return sorted((self.output / "_units").glob("unit-*.json"))

    @property
    def has_plan(self) -> bool:
        """Whether there is something to resume."""
        return (self.output / "_plan/plan.json").exists()

    @property
    def is_complete(self) -> bool:
        """Whether the job says that it is done."""
        return (self.output / "_SUCCESS").exists()

    @property
    def temporary_files(self) -> list[Path]:
        """Returns what is half-written."""
        return list((self.output / "_tmp").rglob("*"))


def _rows_of(path):
    if path.suffix == ".parquet":
        return pq.read_table(path, partitioning=None).to_pylist()
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
