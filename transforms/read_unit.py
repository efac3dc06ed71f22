"""Reads the rows of one unit as batches cut at fixed offsets: the first stage of the data flow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from servable_core.errors import DataLossError
from transforms.formats import parquet, tfrecord
from transforms.input_batch import (
    SOURCE_FILE_COLUMN,
    SOURCE_ROW_COLUMN,
    InputBatch,
    concat_batches,
    rebatch,
)
from transforms.plan import InputFile, Unit, UnitRange


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOptions:
    """What is read of the input.

    Attributes:
        input_format: "parquet" or "tfrecord".
        columns: Columns or features wanted.
        features: For TFRecord, how each of `columns` is parsed.
        with_records: Whether serialized Examples are kept beside the columns.
        with_source: Whether `source_file` and `source_row` are added.
        batch_rows: Rows of a batch.
    """

    input_format: str
    columns: tuple[str, ...]
    features: tuple[tfrecord.Feature, ...]
    with_records: bool
    with_source: bool
    batch_rows: int


def read_unit(
    unit: Unit, inputs: Sequence[InputFile], options: ReadOptions
) -> Iterator[InputBatch]:
    """Yields the unit's rows in order, `batch_rows` at a time; the last batch may be smaller.

    Each range is opened once and read once, front to back, on the caller's thread.

    Raises:
        DataLossError: The input is corrupt, or has not the rows that were planned.
    """
    return rebatch(_read_ranges(unit, inputs, options), options.batch_rows)


def _read_ranges(
    unit: Unit, inputs: Sequence[InputFile], options: ReadOptions
) -> Iterator[InputBatch]:
    for each in unit.ranges:
        path = inputs[each.file_index].path
        num_rows = 0
        for batch in _limit(_read_range(path, each, options), each.num_rows):
            first_row = each.first_row + num_rows
            num_rows += batch.num_rows
            yield _with_source(batch, path, first_row) if options.with_source else batch
        if each.num_rows not in (-1, num_rows):
            raise DataLossError(
                f"{path} gave {num_rows} rows where {each.num_rows} were planned: it changed while the job ran"
            )


def _read_range(path: str, part: UnitRange, options: ReadOptions) -> Iterator[InputBatch]:
    if options.input_format == "tfrecord":
        yield from tfrecord.read_batches(
            path, options.features, options.batch_rows, with_records=options.with_records
        )
        return
    for columns in parquet.read_rows(
        path, part.first_group, part.end_group, options.columns, options.batch_rows
    ):
        yield InputBatch(columns=columns.replace_schema_metadata(None))


def _limit(batches: Iterator[InputBatch], num_rows: int) -> Iterator[InputBatch]:
    """Stops after `num_rows` rows; -1 means never."""
    left = num_rows
    for batch in batches:
        if num_rows == -1 or batch.num_rows < left:
            left -= batch.num_rows
            yield batch
            continue
        yield batch.slice(0, left)
        return


def _with_source(batch: InputBatch, path: str, first_row: int) -> InputBatch:
    num_rows = batch.num_rows
    added = {
        SOURCE_FILE_COLUMN: pa.repeat(path, num_rows),
        SOURCE_ROW_COLUMN: pa.array(np.arange(first_row, first_row + num_rows, dtype=np.int64)),
    }
    names = [*batch.columns.schema.names, *added]
    arrays = [*batch.columns.columns, *added.values()]
    return replace(batch, columns=pa.RecordBatch.from_arrays(arrays, names=names))


def read_whole_unit(
    unit: Unit, inputs: Sequence[InputFile], options: ReadOptions
) -> InputBatch | None:
    """Returns all rows of a small unit in one batch, or None when it has none."""
    batches = list(read_unit(unit, inputs, options))
    return concat_batches(batches) if batches else None
