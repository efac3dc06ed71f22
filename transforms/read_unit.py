"""Reads the rows of one unit in batches: the first stage of the data flow."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np
import pyarrow as pa

from servable_core.errors import Code, DataLossError
from servable_core.runtime.clock import SystemClock
from transforms.bad_records import BadRecord, Stage
from transforms.byte_budget import ByteBudget
from transforms.dead_letter_inputs import (
    RECORD_LETTERS,
    ROW_LETTERS,
    read_record_letters,
    read_row_letters,
)
from transforms.formats import parquet, tfrecord
from transforms.formats.tfrecord_blocks import FilePart, RecordBlock, read_blocks
from transforms.formats.tfrecord_options import TFRecordOptions
from transforms.input_batch import (
    SOURCE_FILE_COLUMN,
    SOURCE_ROW_COLUMN,
    InputBatch,
    Origin,
    only_rows,
)
from transforms.plan import InputFile
from transforms.rebatch import rebatch_cheaply, rebatch_exactly
from transforms.sampling import sampled
from transforms.stage_times import StageTimes, TimedStage
from transforms.text_ranges import read_text_range
from transforms.unit_table import Unit, UnitRange

_MAX_BATCH_BYTES = 32 << 20
_MAX_LOST_ROWS = (
    4 << 20
)  # of one row group; each is a letter, and letters are held until the commit
_LOST_ROWS_AT_A_TIME = 4096

Rows = TypeVar("Rows", InputBatch, RecordBlock)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOptions:
    """What is read of the input.

    Attributes:
        input_format: "parquet", "tfrecord", "csv" or "jsonl", or what dead letters hold.
        columns: Columns or features wanted.
        features: How each of `columns` is parsed; not for Parquet.
        with_records: Whether serialized Examples are kept beside the columns.
        with_source: Whether `source_file` and `source_row` are added.
        batch_rows: Tells the rows of a batch; asked again and again, for they may change.
        fixed_rows: Whether batches are cut at fixed rows, however large, so that runs are alike.
        sample: Share of the rows that is wanted, chosen by their files and numbers; None for all.
        sample_seed: Another one gives another sample.
        on_error: What becomes of rows of CSV and JSON Lines, and of row groups of Parquet, that
            cannot be read: "fail", or "dead_letter".
        tfrecord: For TFRecord, what is checked, and what becomes of records that fail.
        in_flight: What counts the bytes of row groups that wait until all of them is decoded; None
            where nothing else is in flight.
    """

    input_format: str
    columns: tuple[str, ...]
    features: tuple[tfrecord.Feature, ...]
    with_records: bool
    with_source: bool
    batch_rows: Callable[[], int]
    fixed_rows: bool = False
    sample: float | None = None
    sample_seed: int = 0
    on_error: str = "fail"
    tfrecord: TFRecordOptions = field(default_factory=TFRecordOptions)
    in_flight: ByteBudget | None = None


def _refuse(records: Sequence[BadRecord]) -> None:
    record = records[0]
    raise DataLossError(f"{record.source_file}: {record.message}")


def read_unit(
    unit: Unit,
    inputs: Sequence[InputFile],
    options: ReadOptions,
    on_bad_records: Callable[[Sequence[BadRecord]], None] = _refuse,
    times: StageTimes | None = None,
) -> Iterator[InputBatch]:
    """Yields the unit's rows in order, at most `batch_rows` at a time.

    Each range is opened once and read once, front to back, on the caller's thread.

    Args:
        unit: What to read.
        inputs: The plan's input files.
        options: What is read of them.
        on_bad_records: Takes those records that cannot be read, some at a time, where the options
            say that they are no errors.
        times: Takes the time of reading; of TFRecords, that of parsing apart.

    Raises:
        DataLossError: The input is corrupt, or has not the rows that were planned.
    """
    times = times or StageTimes(SystemClock().now)
    found = _READ[options.input_format](unit, inputs, options, times)
    if options.sample is not None:
        found = map(partial(sampled, fraction=options.sample, seed=options.sample_seed), found)
    batches = _set_aside(found, on_bad_records)
    if options.fixed_rows:
        batches = rebatch_exactly(batches, options.batch_rows())
    else:
        batches = rebatch_cheaply(batches, options.batch_rows, _MAX_BATCH_BYTES)
    if options.with_source:
        batches = map(_with_source, batches)
    return times.iterate(TimedStage.READ, batches)


def _set_aside(
    batches: Iterable[InputBatch], on_bad_records: Callable[[Sequence[BadRecord]], None]
) -> Iterator[InputBatch]:
    """Yields the batches with rows, and hands over the bad records that came with them."""
    for batch in batches:
        if batch.bad_records:
            on_bad_records(batch.bad_records)
        if batch.num_rows:
            yield replace(batch, bad_records=()) if batch.bad_records else batch


def _read_tfrecord(
    unit: Unit, inputs: Sequence[InputFile], options: ReadOptions, times: StageTimes
) -> Iterator[InputBatch]:
    batches = tfrecord.parse_blocks(
        times.iterate(TimedStage.READ, _blocks(unit, inputs, options.tfrecord)),
        options.features,
        options.batch_rows,
        with_records=options.with_records,
        options=options.tfrecord,
    )
    return times.iterate(TimedStage.PARSE, batches)


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
    unit: Unit, inputs: Sequence[InputFile], options: ReadOptions, _times: StageTimes
) -> Iterator[InputBatch]:
    for each in unit.ranges:
        path = inputs[each.file_index].path
        yield from _planned_rows(_parquet_range(path, each, options), path, each)


def _parquet_range(path: str, part: UnitRange, options: ReadOptions) -> Iterator[InputBatch]:
    read = parquet.read_rows
    if options.on_error != "fail":
        read = partial(parquet.read_good_groups, budget=options.in_flight)
    row, end_row = part.first_row, part.first_row + part.num_rows
    for found in read(
        path, part.first_group, part.end_group, options.columns, options.batch_rows()
    ):
        if isinstance(found, parquet.DamagedGroup):
            yield from _lost_rows(path, found, row, min(end_row, row + found.num_rows))
        else:
            origin = Origin(path=path, first_row=row, num_rows=found.num_rows)
            yield InputBatch(columns=found.replace_schema_metadata(None), origins=(origin,))
        row += found.num_rows


def _lost_rows(
    path: str, group: parquet.DamagedGroup, first_row: int, end_row: int
) -> Iterator[InputBatch]:
    """Yields a bad record for each wanted row of a row group, some at a time."""
    if end_row - first_row > _MAX_LOST_ROWS:
        raise DataLossError(
            f"{path} is a corrupt Parquet file: row group {group.index} cannot be read: {group.reason}; its {group.num_rows} rows are more than the {_MAX_LOST_ROWS} that are put aside one by one: copy or write it again"
        )
    message = f"row group {group.index} cannot be read: {group.reason}"
    for start in range(first_row, end_row, _LOST_ROWS_AT_A_TIME):
        rows = range(start, min(start + _LOST_ROWS_AT_A_TIME, end_row))
        bad_records = tuple(_lost_row(path, row, message) for row in rows)
        yield InputBatch(columns=only_rows(0), bad_records=bad_records)


def _lost_row(path: str, row: int, message: str) -> BadRecord:
    return BadRecord(
        source_file=path,
        source_row=row,
        byte_offset=None,
        stage=Stage.READ,
        code=Code.DATA_LOSS.name,
        message=message,
    )


def _read_text(
    unit: Unit, inputs: Sequence[InputFile], options: ReadOptions, _times: StageTimes
) -> Iterator[InputBatch]:
    schema = pa.schema([each.field for each in options.features])
    for each in unit.ranges:
        path = inputs[each.file_index].path
        yield from read_text_range(path, each, options.input_format, schema, options.on_error)


def _read_record_letters(
    unit: Unit, inputs: Sequence[InputFile], options: ReadOptions, _times: StageTimes
) -> Iterator[InputBatch]:
    paths = [(inputs[each.file_index].path, each) for each in unit.ranges]
    blocks = (
        block
        for path, each in paths
        for block in _planned_rows(read_record_letters(path), path, each)
    )
    return tfrecord.parse_blocks(
        blocks,
        options.features,
        options.batch_rows,
        with_records=options.with_records,
        options=options.tfrecord,
    )


def _read_row_letters(
    unit: Unit, inputs: Sequence[InputFile], options: ReadOptions, _times: StageTimes
) -> Iterator[InputBatch]:
    schema = pa.schema([each.field for each in options.features])
    for each in unit.ranges:
        path = inputs[each.file_index].path
        yield from _planned_rows(read_row_letters(path, schema, options.on_error), path, each)


_Read: TypeAlias = Callable[
    [Unit, Sequence[InputFile], ReadOptions, StageTimes], Iterator[InputBatch]
]
_READ: Mapping[str, _Read] = {
    "parquet": _read_parquet,
    "tfrecord": _read_tfrecord,
    "csv": _read_text,
    "jsonl": _read_text,
    RECORD_LETTERS: _read_record_letters,
    ROW_LETTERS: _read_row_letters,
}


def _planned_rows(batches: Iterator[Rows], path: str, part: UnitRange) -> Iterator[Rows]:
    """Yields the range's rows and no more, and checks that all are there; -1 means any number.

    Bad records count: each of them stands for a row.
    """
    num_rows = 0
    for batch in batches:
        num_rows += len(batch.bad_records)
        left = batch.num_rows if part.num_rows == -1 else max(0, part.num_rows - num_rows)
        num_rows += min(left, batch.num_rows)
        yield batch if batch.num_rows <= left else batch.slice(0, left)
        if part.num_rows != -1 and num_rows >= part.num_rows:
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
