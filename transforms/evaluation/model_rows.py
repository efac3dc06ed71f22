"""The rows of a unit with the predictions of each version, straight from the models."""

from collections.abc import Generator, Sequence
from contextlib import closing

import numpy as np
import pyarrow as pa

from transforms.bad_records import BadRecord
from transforms.evaluation.predicted_rows import PredictedRows
from transforms.formats.part_writer import OutputRows
from transforms.input_batch import InputBatch
from transforms.plan import PinnedModel
from transforms.process_unit import OutputBatch, infer_unit
from transforms.unit_attempt import UnitAttempt
from transforms.unit_job import UnitJob
from transforms.unit_table import Unit


def model_rows(
    unit: Unit, job: UnitJob, attempt: UnitAttempt
) -> Generator[PredictedRows, None, None]:
    """Yields the rows of a unit in order, those included that some of the versions failed at.

    Args:
        unit: The unit.
        job: What it is part of; its models are the versions.
        attempt: Gets the rows, and the records that failed.

    Raises:
        DataLossError: Not all rows that were planned came by.
    """
    num_rows = [0] * len(job.plan.models)
    with closing(infer_unit(unit, job, attempt)) as batches:
        for each in batches:
            attempt.add_written(each.batch, each.bad_records)
            for index, pieces in enumerate(each.outputs):
                num_rows[index] += sum(piece.columns.num_rows for piece in pieces)
            yield _predicted(each, job.plan.models)
    attempt.check_rows(num_rows)


def _predicted(batch: OutputBatch, models: Sequence[PinnedModel]) -> PredictedRows:
    return PredictedRows(
        columns=batch.batch.columns,
        outputs=tuple(
            _whole(pieces, batch, model)
            for pieces, model in zip(batch.outputs, models, strict=True)
        ),
    )


def _whole(
    pieces: Sequence[OutputRows], batch: OutputBatch, model: PinnedModel
) -> pa.RecordBatch | None:
    """Returns a version's outputs for all rows, nulls where it failed; None where it always did."""
    if not pieces:
        return None
    columns = [each.columns for each in pieces]
    rows = columns[0] if len(columns) == 1 else pa.concat_batches(columns)
    if rows.num_rows == batch.batch.num_rows:
        return rows
    own = [each for each in batch.bad_records if each.model == (model.name, model.version)]
    return rows.take(pa.array(_places(batch.batch, own)))


def _places(batch: InputBatch, failed: Sequence[BadRecord]) -> np.ma.MaskedArray:
    """Returns for each row its place among those that did not fail, masked where it did."""
    has_failed = np.zeros(batch.num_rows, dtype=bool)
    has_failed[[_row_of(batch, each) for each in failed]] = True
    places = np.cumsum(~has_failed) - 1
    return np.ma.masked_array(places, mask=has_failed)


def _row_of(batch: InputBatch, record: BadRecord) -> int:
    before = 0
    for each in batch.origins:
        row = (record.source_row or 0) - each.first_row
        if each.path == record.source_file and 0 <= row < each.num_rows:
            return before + row
        before += each.num_rows
    raise AssertionError(f"{record.source_file}, row {record.source_row}: not in the batch")
