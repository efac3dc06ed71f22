"""The last steps before a unit's parts appear: may they still, and what was put aside."""

import math
from collections.abc import Sequence
from typing import Any

from servable_core.errors import AbortedError
from transforms.bad_records import BadRecord, Stage
from transforms.dead_letters import dead_letters_path, write_dead_letters
from transforms.plan_files import check_in_place
from transforms.receipts import Receipt, read_receipt
from transforms.storage import delete_file
from transforms.unit_job import UnitJob
from transforms.unit_table import Unit

_STAGES = tuple(Stage)


class CommittedElsewhereError(Exception):
    """Another attempt at the unit was quicker; this one has nothing to add.

    Attributes:
        receipt: What that one committed.
    """

    def __init__(self, receipt: Receipt) -> None:
        super().__init__(f"unit {receipt.unit} was committed by another attempt")
        self.receipt = receipt


def check_may_commit(unit: Unit, job: UnitJob) -> None:
    """Checks that nobody has overtaken this attempt; to be called right before its parts appear.

    Two attempts that pass it at the same moment write the same names, so no row is there twice.

    Raises:
        AbortedError: The job was stopped, or its plan is no longer the one in the output directory.
        CommittedElsewhereError: The unit has a valid receipt by now.
    """
    job.state.abort.check()
    try:
        check_in_place(job.plan, job.output)
    except AbortedError as error:
        job.state.abort.set(str(error))  # holds for the units in flight here, too
        raise
    done = read_receipt(job.plan, unit, job.output)
    if done is not None:
        raise CommittedElsewhereError(done)


def write_unit_letters(unit: Unit, job: UnitJob, bad_records: Sequence[BadRecord]) -> None:
    """Writes what the unit has put aside, in the order of the input; none replace older letters."""
    path = dead_letters_path(unit.index, len(job.plan.units))
    if bad_records:
        # Two threads have found them, each in order, but in turns that nobody can foretell.
        write_dead_letters(job.output, path, sorted(bad_records, key=_place_in_input))
    elif job.plan.content.keeps_bad_records:
        delete_file(f"{job.output}/{path}")  # an earlier attempt may have been killed behind it


def _place_in_input(record: BadRecord) -> tuple[Any, ...]:
    row = math.inf if record.source_row is None else record.source_row  # the rest of a file
    offset = record.byte_offset or 0
    return (record.source_file, row, offset, _STAGES.index(record.stage), record.model or ())
