"""Receipts: what a unit committed. A unit with a valid receipt is never run again."""

import json
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from transforms.plan import Plan
from transforms.storage import is_local, read_bytes, write_bytes
from transforms.unit_table import Unit

UNITS_DIRECTORY = "_units"
PARTITION_COLUMNS = ("model_name", "model_version")  # what the directories of parts stand for
_MIN_DIGITS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputFile:
    """A committed part.

    Attributes:
        model_name: Model that made it.
        model_version: Its version.
        path: Relative to the output directory.
        rows: Rows in it.
        size_bytes: Its length.
        sha256: Digest of its content.
    """

    model_name: str
    model_version: int
    path: str
    rows: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """A committed unit.

    Attributes:
        plan_id: The plan it belongs to.
        unit: Index of the unit.
        rows_read: Input rows.
        files: One part for each model; none if the unit had no rows.
        num_batches: Batches that were submitted, per model.
        started_secs: Start in Unix seconds.
        ended_secs: End in Unix seconds.
        peak_rss_bytes: Largest resident memory of the worker process so far.
        worker: Token of the worker core that ran it.
        rows_failed: For each model of the plan, the records put aside without its outputs.
        rows_reused: For each model of the plan, the rows that got the outputs of an equal one.
        dead_letters: Letters by stage.
        batching: What that core's batching sessions had done by then, in all.
        stage_secs: What this attempt's time went to, by stage.
        num_retries: Attempts that failed before it.
        num_batch_threads: Batch threads of that core.
        model_loads: What each model took to load there: `load_secs` and `warmup_secs`.
        command_line: The command that the job was started with; empty if it was no command.
        packages: Versions of what ran it.
    """

    plan_id: str
    unit: int
    rows_read: int
    files: tuple[OutputFile, ...]
    num_batches: int
    started_secs: float
    ended_secs: float
    peak_rss_bytes: int
    worker: str = ""
    batching: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows_failed: tuple[int, ...] = ()
    rows_reused: tuple[int, ...] = ()
    dead_letters: dict[str, int] = field(default_factory=dict)
    stage_secs: dict[str, float] = field(default_factory=dict)
    num_retries: int = 0
    num_batch_threads: int = 0
    model_loads: dict[str, dict[str, float]] = field(default_factory=dict)
    command_line: str = ""
    packages: dict[str, str] = field(default_factory=dict)


def receipt_path(output: str, unit: int, num_units: int = 0) -> str:
    """Returns where the receipt of `unit` lies; names sort by unit where `num_units` is right."""
    return f"{output}/{UNITS_DIRECTORY}/unit-{_padded(unit, num_units)}.json"


def part_path(
    model_name: str, model_version: int, unit: int, num_units: int, suffix: str = ".parquet"
) -> str:
    """Returns a part's path relative to the output directory, Hive-style: with odd signs escaped."""
    return (
        f"model_name={quote(model_name, safe='')}/model_version={model_version}"
        f"/part-{_padded(unit, num_units)}-of-{_padded(num_units, num_units)}{suffix}"
    )


def _padded(number: int, num_units: int) -> str:
    return str(number).zfill(max(_MIN_DIGITS, len(str(num_units))))


def write_receipt(receipt: Receipt, output: str, num_units: int = 0) -> None:
    """Writes the receipt atomically: from here on the unit is done."""
    content = json.dumps(asdict(receipt), indent=1).encode()
    write_bytes(output, receipt_path(output, receipt.unit, num_units), content)


def read_receipt(plan: Plan, unit: Unit, output: str) -> Receipt | None:
    """Returns the valid receipt of `unit`, or None.

    Valid means: it parses, belongs to this plan, has the planned rows, each model's rows written or
    put aside, and every local part is there with the size that was written.
    """
    names = [receipt_path(output, unit.index, each) for each in (len(plan.units), 0)]
    contents = (read_bytes(name) for name in dict.fromkeys(names))
    found = (
        parse_receipt(content, plan, unit, output) for content in contents if content is not None
    )
    return next((receipt for receipt in found if receipt is not None), None)


def parse_receipt(content: bytes, plan: Plan, unit: Unit, output: str) -> Receipt | None:
    """Returns the receipt of `unit`, or None if it is not valid, as `read_receipt` says."""
    receipt = _parse(content)
    if receipt is None or receipt.plan_id != plan.plan_id or receipt.unit != unit.index:
        return None
    planned = plan.planned_rows(unit)
    if planned is not None and receipt.rows_read != planned:
        return None
    if not _is_complete(receipt, plan) or not _parts_are_there(receipt.files, output):
        return None
    return receipt


def _is_complete(receipt: Receipt, plan: Plan) -> bool:
    """Whether each model has written, or put aside, every record; a part without rows is none."""
    rows = {(each.model_name, each.model_version): each.rows for each in receipt.files}
    failed = receipt.rows_failed or (0,) * len(plan.models)
    if len(failed) != len(plan.models) or len(rows) != len(receipt.files):
        return False
    written = [rows.pop((each.name, each.version), 0) for each in plan.models]
    counts = [a + b for a, b in zip(written, failed, strict=True)]
    return not rows and counts == [receipt.rows_read] * len(plan.models)


def _parse(content: bytes) -> Receipt | None:
    try:
        fields: dict[str, Any] = json.loads(content)
        files = tuple(OutputFile(**each) for each in fields.pop("files"))
        failed, reused = (tuple(fields.pop(each, ())) for each in ("rows_failed", "rows_reused"))
        return Receipt(files=files, rows_failed=failed, rows_reused=reused, **fields)
    except (ValueError, TypeError, KeyError, AttributeError):  # whatever a damaged file may hold
        return None


def _parts_are_there(files: Sequence[OutputFile], output: str) -> bool:
    if not is_local(output):
        return True  # an object appears whole; the last stage reads every footer
    return all(_is_file_of(f"{output}/{each.path}", each.size_bytes) for each in files)


def _is_file_of(path: str, size_bytes: int) -> bool:
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes
