"""The last stage: recounts everything from receipts and parts, then declares the job done."""

import itertools
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from servable_core.errors import DataLossError
from transforms.dead_letters import dead_letters_path
from transforms.failure_budget import FailureBudget
from transforms.failures import read_unit_failure
from transforms.manifest import JobTally
from transforms.output_formats import OUTPUT_FORMATS, count_rows, is_part
from transforms.plan import Plan
from transforms.plan_files import check_in_place
from transforms.receipt_reader import create_reading_executor, read_receipts
from transforms.receipts import UNITS_DIRECTORY, Receipt, part_path, receipt_path
from transforms.storage import (
    TEMPORARY_DIRECTORY,
    DigestingSink,
    create_file,
    discard_tree,
    file_system_for,
    write_bytes,
)
from transforms.unit_table import Unit

MANIFEST_FILE = "_manifest.json"
SUCCESS_FILE = "_SUCCESS"
UNIT_TABLE_FILE = f"{UNITS_DIRECTORY}/units.parquet"
_BLOCK_UNITS = 4096
_FILE_TYPE = pa.struct(
    [
        ("model_name", pa.string()),
        ("model_version", pa.int64()),
        ("path", pa.string()),
        ("rows", pa.int64()),
        ("size_bytes", pa.int64()),
        ("sha256", pa.string()),
    ]
)
_UNIT_SCHEMA = pa.schema(
    [
        ("unit", pa.int64()),
        ("rows_read", pa.int64()),
        ("started_secs", pa.float64()),
        ("ended_secs", pa.float64()),
        ("files", pa.list_(_FILE_TYPE)),
    ]
)


def finalize(
    plan: Plan,
    output: str,
    budget: FailureBudget = FailureBudget(),  # noqa: B008 - frozen
    check: Callable[[], None] = lambda: None,
) -> None:
    """Checks that every unit is done and every row is there, then writes manifest and `_SUCCESS`.

    In a job that puts aside what fails, the manifest is written although units failed, and lists
    them; `_SUCCESS` is not.

    Args:
        plan: The job's plan.
        output: Its output directory.
        budget: How many records may fail.
        check: Raises if the job was stopped; called before anything is told of the job.

    Raises:
        AbortedError: Another job has replaced the plan, or what `check` raised.
        DataLossError: A receipt is missing, a part or a file of dead letters has other rows than
            its receipt says, or no receipt names a part.
        TooManyFailuresError: More records were put aside than `budget` allows.
    """
    recount = _Recount(plan, output)
    with create_file(output, f"{output}/{UNIT_TABLE_FILE}") as sink:
        recount.run(sink)
        missing = recount.missing
        if missing and not (recount.num_found and plan.content.keeps_bad_records):
            raise _incomplete(plan, missing, output)
        _check_no_strays(plan, recount.paths | _part_paths(plan, missing), output)
        check()
        check_in_place(plan, output)
    document = recount.tally.manifest()
    document["failed_units"] = [_failed_unit(plan, plan.units[index], output) for index in missing]
    write_bytes(output, f"{output}/{MANIFEST_FILE}", json.dumps(document, indent=2).encode())
    budget.check(max(recount.tally.rows_failed), document["rows"], is_final=True)
    if missing:
        raise _incomplete(plan, missing, output)
    write_bytes(output, f"{output}/{SUCCESS_FILE}", b"")
    discard_tree(f"{output}/{TEMPORARY_DIRECTORY}")


class _Recount:
    """Adds up all receipts and counts the rows of all parts, some at a time.

    Attributes:
        tally: What the receipts add up to.
        paths: The parts that they name.
        missing: The units that have none.
        num_found: The number of those that have one.
    """

    def __init__(self, plan: Plan, output: str) -> None:
        self._plan = plan
        self._output = output
        self._is_done = bytearray(len(plan.units))
        self.tally = JobTally(plan)
        self.paths: set[str] = set()

    @property
    def num_found(self) -> int:
        return sum(self._is_done)

    @property
    def missing(self) -> list[int]:
        return [index for index, is_done in enumerate(self._is_done) if not is_done]

    def run(self, sink: DigestingSink) -> None:
        """Reads the receipts, and writes the table of units.

        Raises:
            DataLossError: A part has other rows than its receipt says, or a unit other letters.
        """
        receipts = read_receipts(self._plan, self._output)
        with (
            create_reading_executor(self._output, "count_rows") as executor,
            pq.ParquetWriter(sink, _UNIT_SCHEMA) as table,
        ):
            while block := list(itertools.islice(receipts, _BLOCK_UNITS)):
                for receipt in block:
                    self.tally.add(receipt)
                    self._is_done[receipt.unit] = True
                self.paths.update(each.path for receipt in block for each in receipt.files)
                _check_rows(self._plan, block, self._output, executor)
                _check_letters(self._plan, block, self._output, executor)
                table.write_table(_unit_rows(block))


def _incomplete(plan: Plan, missing: Sequence[int], output: str) -> DataLossError:
    cause = read_unit_failure(output, missing[0])
    return DataLossError(
        f"{len(missing)} of {len(plan.units)} units have no valid receipt, the first is unit {missing[0]}{f' ({cause})' if cause else ''}; run the job again with --if_exists=resume"
    )


def _failed_unit(plan: Plan, unit: Unit, output: str) -> dict[str, Any]:
    indices = dict.fromkeys(each.file_index for each in unit.ranges)
    return {
        "unit": unit.index,
        "files": [plan.inputs[index].path for index in indices],
        "error": read_unit_failure(output, unit.index),
    }


def _check_rows(plan: Plan, receipts: Sequence[Receipt], output: str, executor: Executor) -> None:
    named = [(receipt.unit, each) for receipt in receipts for each in receipt.files]
    counts = executor.map(_count_rows, [f"{output}/{each.path}" for _, each in named])
    for (unit, each), rows in zip(named, counts, strict=True):
        if rows != each.rows:
            path = receipt_path(output, unit, len(plan.units))
            raise _not_as_written(f"{output}/{each.path}", f"{rows} rows", each.rows, path)


def _check_letters(
    plan: Plan, receipts: Sequence[Receipt], output: str, executor: Executor
) -> None:
    """Checks that the records put aside are all there: with the parts they are the rows read."""
    with_letters = [each for each in receipts if each.dead_letters]
    num_units = len(plan.units)
    paths = [f"{output}/{dead_letters_path(each.unit, num_units)}" for each in with_letters]
    for receipt, path, found in zip(
        with_letters, paths, executor.map(_count_rows, paths), strict=True
    ):
        expected = sum(receipt.dead_letters.values())
        if found != expected:
            place = receipt_path(output, receipt.unit, num_units)
            raise _not_as_written(path, f"{found} dead letters", expected, place)


def _count_rows(path: str) -> int:
    try:
        return count_rows(path)
    except FileNotFoundError:
        return 0


def _not_as_written(path: str, found: str, expected: int, receipt: str) -> DataLossError:
    return DataLossError(
        f"{path} has {found}, its receipt says {expected}: something else wrote there; delete {receipt}, then run the job again with --if_exists=resume"
    )


def _check_no_strays(plan: Plan, named: set[str], output: str) -> None:
    """Checks that readers of the output will find no rows but those that were just counted."""
    for directory in version_directories(plan):
        found = file_system_for(output).list_files(f"{output}/{directory}")
        paths = (each.path.removeprefix(f"{output}/") for each in found)
        strays = [each for each in paths if each not in named and _is_read_as_part(each)]
        if strays:
            raise DataLossError(
                f"{output}/{strays[0]} is in the output but of no unit of this job ({len(strays)} such files in {directory}): an earlier job left it there, or something else writes to {output}; delete it, then run the job again with --if_exists=resume"
            )


def _part_paths(plan: Plan, units: Sequence[int]) -> set[str]:
    """Returns the parts that units have, or will have: without receipts they are to be replaced."""
    suffix = OUTPUT_FORMATS[plan.content.output_format].suffix
    return {
        part_path(each.name, each.version, unit, len(plan.units), suffix)
        for each in plan.models
        for unit in units
    }


def _is_read_as_part(path: str) -> bool:
    hidden = any(part.startswith(("_", ".")) for part in path.split("/"))
    return is_part(path) and not hidden


def version_directories(plan: Plan) -> list[str]:
    """Returns the directories that the plan's parts lie in, relative to the output directory."""
    return [part_path(each.name, each.version, 0, 1).rpartition("/")[0] for each in plan.models]


def _unit_rows(receipts: Sequence[Receipt]) -> pa.Table:
    rows = [
        {
            "unit": receipt.unit,
            "rows_read": receipt.rows_read,
            "started_secs": receipt.started_secs,
            "ended_secs": receipt.ended_secs,
            "files": [asdict(each) for each in receipt.files],
        }
        for receipt in receipts
    ]
    return pa.Table.from_pylist(rows, _UNIT_SCHEMA)
