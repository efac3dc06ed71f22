"""The last stage: recounts everything from receipts and parts, then declares the job done."""

import json
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from servable_core.errors import DataLossError
from servable_core.runtime.executor import create_executor
from transforms.failure_budget import FailureBudget
from transforms.failures import read_unit_failure
from transforms.manifest import create_manifest
from transforms.output_formats import count_rows, is_part
from transforms.plan import Plan, Unit
from transforms.receipts import (
    UNITS_DIRECTORY,
    OutputFile,
    Receipt,
    part_path,
    read_receipt,
)
from transforms.storage import (
    TEMPORARY_DIRECTORY,
    create_file,
    discard_tree,
    file_system_for,
    write_bytes,
)

MANIFEST_FILE = "_manifest.json"
SUCCESS_FILE = "_SUCCESS"
UNIT_TABLE_FILE = f"{UNITS_DIRECTORY}/units.parquet"
_NUM_THREADS = 8


def finalize(plan: Plan, output: str, budget: FailureBudget = FailureBudget()) -> None:  # noqa: B008 - frozen
    """Checks that every unit is done and every row is there, then writes manifest and `_SUCCESS`.

    In a job that puts aside what fails, the manifest is written although units failed, and lists
    them; `_SUCCESS` is not.

    Raises:
        DataLossError: A receipt is missing, a part has other rows than its receipt says, or no
            receipt names it.
        TooManyFailuresError: More records were put aside than `budget` allows.
    """
    receipts, missing = _read_receipts(plan, output)
    if missing and not (receipts and plan.content.keeps_bad_records):
        raise _incomplete(plan, missing)
    files = [each for receipt in receipts for each in receipt.files]
    _check_rows(files, output)
    _check_no_strays(plan, files, output)
    _write_unit_table(receipts, output)
    document = create_manifest(plan, receipts)
    document["failed_units"] = [_failed_unit(plan, unit, output) for unit in missing]
    write_bytes(output, f"{output}/{MANIFEST_FILE}", json.dumps(document, indent=2).encode())
    budget.check(_rows_failed(receipts), document["rows"], is_final=True)
    if missing:
        raise _incomplete(plan, missing)
    write_bytes(output, f"{output}/{SUCCESS_FILE}", b"")
    discard_tree(f"{output}/{TEMPORARY_DIRECTORY}")


def _read_receipts(plan: Plan, output: str) -> tuple[list[Receipt], list[Unit]]:
    """Returns the valid receipts, and the units that have none."""
    with create_executor(_NUM_THREADS, "receipts") as executor:
        found = list(executor.map(lambda unit: read_receipt(plan, unit, output), plan.units))
    missing = [unit for unit, receipt in zip(plan.units, found, strict=True) if receipt is None]
    return [receipt for receipt in found if receipt is not None], missing


def _rows_failed(receipts: Sequence[Receipt]) -> int:
    """Returns the records that lack the outputs of the model that failed most often."""
    by_model = zip(*(each.rows_failed for each in receipts if each.rows_failed), strict=True)
    return max((sum(counts) for counts in by_model), default=0)


def _incomplete(plan: Plan, missing: Sequence[Unit]) -> DataLossError:
    return DataLossError(
        f"{len(missing)} of {len(plan.units)} units have no valid receipt, the first is unit {missing[0].index}; run the job again with --if_exists=resume"
    )


def _failed_unit(plan: Plan, unit: Unit, output: str) -> dict[str, Any]:
    indices = dict.fromkeys(each.file_index for each in unit.ranges)
    return {
        "unit": unit.index,
        "files": [plan.inputs[index].path for index in indices],
        "error": read_unit_failure(output, unit.index),
    }


def _check_rows(files: Sequence[OutputFile], output: str) -> None:
    executor: Executor
    with create_executor(_NUM_THREADS, "count_rows") as executor:
        counts = executor.map(lambda each: count_rows(f"{output}/{each.path}"), files)
        for each, rows in zip(files, counts, strict=True):
            if rows != each.rows:
                raise DataLossError(
                    f"{each.path} has {rows} rows, its receipt says {each.rows}: something else wrote to {output}"
                )


def _check_no_strays(plan: Plan, files: Sequence[OutputFile], output: str) -> None:
    """Checks that readers of the output will find no rows but those that were just counted."""
    named = {each.path for each in files}
    for directory in version_directories(plan):
        found = file_system_for(output).list_files(f"{output}/{directory}")
        paths = [each.path.removeprefix(f"{output}/") for each in found]
        strays = [each for each in paths if each not in named and _is_read_as_part(each)]
        if strays:
            raise DataLossError(
                f"{output}/{strays[0]} is in the output but of no unit of this job ({len(strays)} such files in {directory}): an earlier job left it there, or something else writes to {output}; delete it, then run the job again with --if_exists=resume"
            )


def _is_read_as_part(path: str) -> bool:
    hidden = any(part.startswith(("_", ".")) for part in path.split("/"))
    return is_part(path) and not hidden


def version_directories(plan: Plan) -> list[str]:
    """Returns the directories that the plan's parts lie in, relative to the output directory."""
    return [part_path(each.name, each.version, 0, 1).rpartition("/")[0] for each in plan.models]


def _write_unit_table(receipts: Sequence[Receipt], output: str) -> None:
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
    with create_file(output, f"{output}/{UNIT_TABLE_FILE}") as sink:
        pq.write_table(pa.Table.from_pylist(rows), sink)
