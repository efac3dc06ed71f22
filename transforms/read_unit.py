"""Reads the rows of one unit in batches: the first stage of the data flow."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import pyarrow as pa

from servable_core.errors import DataLossError
from transforms.formats import parquet, tfrecord
from transforms.formats.tfrecord_blocks import FilePart, RecordBlock, read_blocks
from transforms.formats.tfrecord_options import TFRecordOptions
from transforms.input_batch import SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN, InputBatch, Origin
from transforms.plan import InputFile, Unit, UnitRange
from transforms.rebatch import rebatch_cheaply, rebatch_exactly

_MAX_BATCH_BYTES = 32 << 20

Rows = TypeVar("Rows", InputBatch, RecordBlock)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOptions:
    """What is read of the input.

    Attributes:
        input_format: "parquet" or "tfrecord".
        columns: Columns or features wanted.
        features: For TFRecord, how each of `columns` is parsed.
        with_records: Whether serialized Examples are kept beside the columns.
        with_source: Whether `source_file` and `source_row` are added.
        batch_rows: Tells the rows of a batch; asked again and again, for they may change.
        fixed_rows: Whether batches are cut at fixed rows, however large, so that runs are alike.
        tfrecord: For TFRecord, what is checked, and what becomes of records that fail.
    """

    input_format: str
    columns: tuple[str, ...]
    features: tuple[tfrecord.Feature, ...]
    with_records: bool
    with_source: bool
    batch_rows: Callable[[], int]
    fixed_rows: bool = False
    tfrecord: TFRecordOptions = field(default_factory=TFRecordOptions)


def read_unit(
    unit: Unit, inputs: Sequence[InputFile], options: ReadOptions
) -> Iterator[InputBatch]:
    """Yields the unit's rows in order, at most `batch_rows` at a time.

    Each range is opened once and read once, front to back, on the caller's thread.

    Raises:
        DataLossError: The input is corrupt, or has not the rows that were planned.
    """
    is_tfrecord = options.input_format == "tfrecord"
    read = _read_tfrecord if is_tfrecord else _read_parquet
    batches = read(unit, inputs, options)
    if options.fixed_rows:
        batches = rebatch_exactly(batches, options.batch_rows())
    else:
        batches = rebatch_cheaply(batches, options.batch_rows, _MAX_BATCH_BYTES)
    return map(_with_source, batches) if options.with_source else batches


def _read_tfrecord(
    unit: Unit, inputs: Sequence[InputFile], options: ReadOptions
) -> Iterator[InputBatch]:
    return tfrecord.parse_blocks(
        _blocks(unit, inputs, options.tfrecord),
        options.features,
        options.batch_rows,
        with_records=options.with_records,
        options=options.tfrecord,
    )


def _blocks(
    unit: Unit, inputs: Sequence[InputFile], options: TFRecordOptions
) -> Iterator[RecordBlock]:
    for each in unit.ranges:
        path = inputs[each.file_index].path
        part = FilePart(
            path=path,
            first_byte=each.first_byte,
            end_byte=None if each.end_byte == -1 else each.end_byte,
            first_row=each.first_row,
        )
        yield from _planned_rows(read_blocks(part, options), path, each)


def _read_parquet(
    unit: Unit, inputs: Sequence[InputFile], options: ReadOptions
) -> Iterator[InputBatch]:
    for each in unit.ranges:
        path = inputs[each.file_index].path
        yield from _planned_rows(_parquet_range(path, each, options), path, each)


def _parquet_range(path: str, part: UnitRange, options: ReadOptions) -> Iterator[InputBatch]:
    first_row = part.first_row
    for columns in parquet.read_rows(
        path, part.first_group, part.end_group, options.columns, options.batch_rows()
    ):
        origin = Origin(path=path, first_row=first_row, num_rows=columns.num_rows)
        yield InputBatch(columns=columns.replace_schema_metadata(None), origins=(origin,))
        first_row += columns.num_rows


def _planned_rows(batches: Iterator[Rows], path: str, part: UnitRange) -> Iterator[Rows]:
    """Yields the range's rows and no more, and checks that all are there; -1 means any number."""
    num_rows = 0
    for batch in batches:
        left = batch.num_rows if part.num_rows == -1 else part.num_rows - num_rows
        num_rows += min(left, batch.num_rows)
        yield batch if batch.num_rows <= left else batch.slice(0, left)
        if num_rows == part.num_rows:
            return
    if part.num_rows not in (-1, num_rows):
        raise DataLossError(
            f"{path} gave {num_rows} rows where {part.num_rows} were planned: it changed while the job ran"
        )


def _with_source(batch: InputBatch) -> InputBatch:
    paths = [pa.repeat(each.path, each.num_rows) for each in batch.origins]
    rows = [np.arange(each.num_rows, dtype=np.int64) + each.first_row for each in batch.origins]
    added = {
        SOURCE_FILE_COLUMN: pa.concat_arrays(paths),
        SOURCE_ROW_COLUMN: pa.array(np.concatenate(rows)),
    }
    names = [*batch.columns.schema.names, *added]
    arrays = [*batch.columns.columns, *added.values()]
    return replace(batch, columns=pa.RecordBatch.from_arrays(arrays, names=names))
