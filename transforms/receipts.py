"""Receipts: what a unit committed. A unit with a valid receipt is never run again."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from transforms.plan import Plan, Unit
from transforms.storage import is_local, read_bytes, write_bytes

UNITS_DIRECTORY = "_units"
PARTITION_COLUMNS = ("model_name", "model_version")  # what the directories of parts stand for


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
    """

    plan_id: str
    unit: int
    rows_read: int
    files: tuple[OutputFile, ...]
    num_batches: int
    started_secs: float
    ended_secs: float
    peak_rss_bytes: int


def receipt_path(output: str, unit: int) -> str:
    """Returns where the receipt of `unit` lies."""
    return f"{output}/{UNITS_DIRECTORY}/unit-{unit:05d}.json"


def part_path(model_name: str, model_version: int, unit: int, num_units: int) -> str:
    """Returns a part's path relative to the output directory, Hive-style: with odd signs escaped."""
    return (
        f"model_name={quote(model_name, safe='')}/model_version={model_version}"
        f"/part-{unit:05d}-of-{num_units:05d}.parquet"
    )


def write_receipt(receipt: Receipt, output: str) -> None:
    """Writes the receipt atomically: from here on the unit is done."""
    content = json.dumps(asdict(receipt), indent=1).encode()
    write_bytes(output, receipt_path(output, receipt.unit), content)


def read_receipt(plan: Plan, unit: Unit, output: str) -> Receipt | None:
    """Returns the valid receipt of `unit`, or None.

    Valid means: it parses, belongs to this plan, has the planned rows, one part for each model, and
    every local part is there with the size that was written.
    """
    receipt = _parse(read_bytes(receipt_path(output, unit.index)))
    if receipt is None or receipt.plan_id != plan.plan_id or receipt.unit != unit.index:
        return None
    if unit.num_rows is not None and receipt.rows_read != unit.num_rows:
        return None
    num_expected = len(plan.models) if receipt.rows_read else 0
    if len(receipt.files) != num_expected or not _parts_are_there(receipt.files, output):
        return None
    return receipt


def _parse(content: bytes | None) -> Receipt | None:
    if content is None:
        return None
    try:
        fields: dict[str, Any] = json.loads(content)
        files = tuple(OutputFile(**each) for each in fields.pop("files"))
        return Receipt(files=files, **fields)
    except (ValueError, TypeError, KeyError, AttributeError):  # whatever a damaged file may hold
        return None


def _parts_are_there(files: Sequence[OutputFile], output: str) -> bool:
    if not is_local(output):
        return True  # an object appears whole; the last stage reads every footer
    for each in files:
        path = Path(output) / each.path
        if not path.is_file() or path.stat().st_size != each.size_bytes:
            return False
    return True
