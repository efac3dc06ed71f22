"""One case: a file is damaged, a job reads it, and what comes of it is judged."""

import gzip
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipelines.options import PrecomputeOptions
from servable_core.errors import ServableCoreError
from servable_core.runtime.clock import SystemClock
from tests.fuzz import corpora, mutations
from tests.fuzz.corpora import Original, Part
from transforms.execution import ExecutionOptions
from transforms.job_state import JobState
from transforms.planning import make_plan
from transforms.process_unit import process_unit
from transforms.unit_job import create_unit_job
from transforms.worker_core import WorkerCore, WorkerCoreConfig

EXECUTION = ExecutionOptions(max_batch_size=16, num_batch_threads=1, max_unit_retries=0)
_MAX_BYTES = 32 << 20  # of damaged content, so that cases are quick
ON_ERROR = ("fail", "dead_letter")
_TEXT_BORDERS = frozenset(b'\n\r"')  # where one of these comes or goes, neighbours are concerned


class BrokenPromiseError(AssertionError):
    """What came of a case is not what is promised; the message says why."""


@dataclass(frozen=True)
class Rows:
    """The rows of a job that went well: outputs, and letters, by the number of the row."""

    scores: dict[int, float]
    letters: list[int | None]


def seeded(corpus: str, number: int) -> np.random.Generator:
    """Returns the generator of one case: the same for the same case, whatever ran before."""
    return np.random.default_rng([number, *corpus.encode()])


def damaged(original: Original, rng: np.random.Generator) -> tuple[bytes, Part | None]:
    """Returns the bytes of a damaged file, and the part that they were confined to, if they were."""
    if original.parts and rng.integers(2):
        part = original.parts[int(rng.integers(len(original.parts)))]
        inside = original.content[part.start : part.end]
        mutation = mutations.IN_PLACE[int(rng.integers(len(mutations.IN_PLACE)))]
        changed = mutation(inside, rng)
        assert len(changed) == len(inside)
        content = original.content[: part.start] + changed + original.content[part.end :]
        return content, part if _is_confined(original, inside, changed) else None
    if original.is_damaged:
        return original.content, None
    if not rng.integers(30):
        others = list(corpora.MAKERS.values())
        return others[int(rng.integers(len(others)))](rng).content, None
    content = original.content
    if rng.integers(2):
        content = _damaged_inside(original, rng)
    if content is original.content or not rng.integers(4):
        for _ in range(int(rng.integers(1, 3))):
            mutation = mutations.ANYWHERE[int(rng.integers(len(mutations.ANYWHERE)))]
            content = mutation(content, rng)
    return content, None


def _damaged_inside(original: Original, rng: np.random.Generator) -> bytes:
    """Returns the file with damage that its format gives rise to; if compressed, in what it holds."""
    is_compressed = original.name.endswith(".gz")
    content = gzip.decompress(original.content) if is_compressed else original.content
    fitting = mutations.OF_FORMAT[Path(original.name.removesuffix(".gz")).suffix]
    for _ in range(int(rng.integers(1, 3))):
        content = fitting[int(rng.integers(len(fitting)))](content, rng)[:_MAX_BYTES]
    return gzip.compress(content, mtime=0) if is_compressed else content


def _is_confined(original: Original, before: bytes, after: bytes) -> bool:
    """Whether a row of text still ends where it did."""
    if not original.name.endswith((".csv", ".jsonl")):
        return True
    changed = {
        octet for pair in zip(before, after, strict=True) if len(set(pair)) > 1 for octet in pair
    }
    return not changed & _TEXT_BORDERS


class DataCases:
    """Runs jobs on damaged files, with one model for all."""

    def __init__(self, model: str, scratch: Path) -> None:
        self._model = model
        self._scratch = scratch
        self._core: WorkerCore | None = None

    def run(self, corpus: str, number: int) -> Iterator[str]:
        """Runs a case both ways, and yields how it ended.

        Raises:
            BrokenPromiseError: Not as it should.
        """
        rng = seeded(corpus, number)
        original = corpora.MAKERS[corpus](rng)
        content, part = damaged(original, rng)
        shutil.rmtree(self._scratch, ignore_errors=True)
        path = self._scratch / "in" / original.name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        output = {"output_format": str(rng.choice(["parquet", "parquet", "jsonl"]))}
        for on_error in ON_ERROR:
            try:
                rows = self._job(path, on_error, original.flags | output)
            except ServableCoreError as error:
                check_message(error)
                if part is not None and on_error == "dead_letter":
                    raise BrokenPromiseError(f"{on_error}: {part} failed all: {error}") from error
                yield type(error).__name__
            else:
                if on_error == "fail" and rows.letters:
                    raise BrokenPromiseError("letters were written that nobody has asked for")
                if part is not None:
                    _check_others(rows, part)
                if path.suffix == ".jsonl":
                    _check_lines(rows, content)
                yield "letters" if rows.letters else "rows"

    def _job(self, path: Path, on_error: str, flags: Mapping[str, Any]) -> Rows:
        output = self._scratch / on_error
        options = PrecomputeOptions(
            model_base_path=self._model,
            input=(str(path),),
            output=str(output),
            passthrough=("id", "s"),
            on_error=on_error,
            execution=EXECUTION,
            **flags,
        )
        plan = make_plan(options.plan_request(), EXECUTION)
        if self._core is None:
            config = WorkerCoreConfig(models=plan.models, execution=EXECUTION)
            self._core = WorkerCore(config)
        job = create_unit_job(
            plan,
            str(output),
            EXECUTION,
            core=self._core,
            state=JobState(stops_siblings=True),
            clock=SystemClock(),
        )
        receipts = [process_unit(unit, job) for unit in plan.units]
        rows = _read_rows(output)
        _check_sums(receipts, rows)
        return rows

    def close(self) -> None:
        """Lets go of the model."""
        if self._core is not None:
            self._core.close()


def check_message(error: ServableCoreError) -> None:
    """Checks that an error is a clear line, or a few."""
    message = str(error)
    lines = message.split("\n")
    if not message or not all(map(str.isprintable, lines)) or len(message) > 2000:
        raise BrokenPromiseError(f"no clear message: {message[:3000]!r}") from error


def _read_rows(output: Path) -> Rows:
    scores: dict[int, float] = {}
    for part in sorted(output.glob("model_name=*/model_version=*/part-*")):
        for row, score in _read_part(part):
            if row in scores:
                raise BrokenPromiseError(f"row {row} was written twice")
            scores[row] = score
    letters = [
        row
        for path in sorted(output.glob("_dead_letters/part-*.parquet"))
        for row in pq.read_table(path, columns=["source_row"], partitioning=None)[0].to_pylist()
    ]
    return Rows(scores, letters)


def _read_part(part: Path) -> list[tuple[int, float]]:
    if part.suffix == ".jsonl":
        rows = [json.loads(line) for line in part.read_bytes().splitlines()]
    else:
        columns = ["source_row", "score"]
        rows = pq.read_table(part, columns=columns, partitioning=None).to_pylist()
    return [(row["source_row"], row["score"]) for row in rows]


def _check_sums(receipts, rows: Rows) -> None:
    read = sum(each.rows_read for each in receipts)
    failed = sum(sum(each.rows_failed) for each in receipts)
    written = sum(file.rows for each in receipts for file in each.files)
    if read != written + failed or (written, failed) != (len(rows.scores), len(rows.letters)):
        raise BrokenPromiseError(
            f"{read} rows read, {written} written ({len(rows.scores)} found), {failed} failed ({len(rows.letters)} letters)"
        )
    if both := set(rows.letters) & set(rows.scores):
        raise BrokenPromiseError(f"rows {sorted(both)} were written and put aside")
    if len(set(rows.letters)) != len(rows.letters):
        raise BrokenPromiseError(f"letters come twice: {rows.letters}")


def _check_lines(rows: Rows, content: bytes) -> None:
    """Checks that each line is a row or a letter, in their order; none of a file of other content."""
    if content.startswith(b"\x1f\x8b"):
        return
    num_lines = sum(bool(line.strip()) for line in content.split(b"\n"))
    found = sorted([*rows.scores, *(row for row in rows.letters if row is not None)])
    if found != list(range(num_lines)):
        raise BrokenPromiseError(f"{num_lines} lines, but {len(found)} rows and letters: {found}")


def _check_others(rows: Rows, part: Part) -> None:
    """Checks that each row outside a damaged part is there, with its own outputs."""
    given = corpora.columns()
    expected = given["a"] + 2 * given["b"]
    for row in range(corpora.NUM_ROWS):
        if row in part.rows:
            continue
        if row not in rows.scores:
            raise BrokenPromiseError(f"row {row} is lost, but only {part} was damaged")
        if abs(rows.scores[row] - expected[row]) > 1e-3:
            raise BrokenPromiseError(f"row {row} has other outputs, but only {part} was damaged")
    if any(row not in part.rows for row in rows.letters):
        raise BrokenPromiseError(f"letters {rows.letters}, but only {part} was damaged")
