"""Dead letters of an earlier job as input: found out, described, and read with their rows' identity."""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor

import numpy as np
import pyarrow as pa

from servable_core.errors import Code, InvalidArgumentError
from servable_core.runtime.file_system import FileInfo
from transforms.bad_records import BadRecord, Stage
from transforms.dead_letter_files import (
    LetterRecord,
    is_letter_file,
    read_records,
    read_row_types,
)
from transforms.dead_letter_rows import parse_row, row_schema, to_columns
from transforms.dead_letters import DEAD_LETTERS_DIRECTORY
from transforms.formats.text_types import agreed_types
from transforms.formats.tfrecord_blocks import NO_OFFSET, RecordBlock
from transforms.input_batch import InputBatch, Origin
from transforms.text_inputs import TextDescription
from transforms.unit_table import UnitRange

RECORD_LETTERS = "tfrecord_letters"
ROW_LETTERS = "row_letters"
_BATCH_ROWS = 1024


def letters_format(files: Sequence[FileInfo]) -> str | None:
    """Returns what dead letters hold, `RECORD_LETTERS` or `ROW_LETTERS`; None if they are others.

    A job's letters may hold both rows and bytes of files that could not be made rows. Then they are
    rows, and the bytes are bad ones.

    Args:
        files: Parquet files; if neither of the first two is one of dead letters, in a directory
            of that name, none is.

    Raises:
        InvalidArgumentError: Only some of them are dead letters.
    """
    # Told by their place first: to open files only for this would delay every other job.
    placed = [each for each in files[:2] if DEAD_LETTERS_DIRECTORY in each.path.split("/")]
    if not any(is_letter_file(each.path) for each in placed):
        return None
    mixed = [each.path for each in files if not is_letter_file(each.path)]
    if mixed:
        raise InvalidArgumentError(
            f"--input matches dead letters and other files, such as {mixed[0]}; run a job for each"
        )
    letters = itertools.chain.from_iterable(read_records(each.path) for each in files)
    return ROW_LETTERS if any(parse_row(each) is not None for each in letters) else RECORD_LETTERS


def letter_pieces(files: Sequence[FileInfo]) -> tuple[UnitRange, ...]:
    """Returns a range for each file that has records."""
    counts = [sum(1 for _ in read_records(each.path)) for each in files]
    return tuple(
        UnitRange(
            file_index=index,
            first_group=0,
            end_group=0,
            first_row=0,
            num_rows=num_rows,
            size_bytes=file.size_bytes,
        )
        for index, (file, num_rows) in enumerate(zip(files, counts, strict=True))
        if num_rows
    )


def describe_row_letters(
    files: Sequence[FileInfo], _limit: int | None, executor: Executor
) -> TextDescription:
    """Reads all letters, for the columns of their rows.

    Raises:
        DataLossError: A file is damaged, or the values of a column have no type in common.
        InvalidArgumentError: The types of a column differ between files.
    """
    paths = [each.path for each in files]
    schemas = list(executor.map(_row_schema, paths))
    types = agreed_types(list(zip(paths, schemas, strict=True)), all_is_text=False)
    return TextDescription(
        schemas=(pa.schema(list(types.items())),), types=types, pieces=letter_pieces(files)
    )


def _row_schema(path: str) -> pa.Schema:
    rows = [row for row in map(parse_row, read_records(path)) if row is not None]
    return row_schema(rows, read_row_types(path), path)


def read_record_letters(path: str) -> Iterator[RecordBlock]:
    """Yields the payloads of a file of letters, each with the place that it came from."""
    for letters in _batches(path):
        offsets = [NO_OFFSET if each.byte_offset is None else each.byte_offset for each in letters]
        yield RecordBlock(
            records=[each.record for each in letters],
            offsets=np.array(offsets, np.int64),
            input_bytes=sum(len(each.record) for each in letters),
            origins=tuple(map(_origin, letters)),
        )


def read_row_letters(path: str, schema: pa.Schema, on_error: str) -> Iterator[InputBatch]:
    """Yields the rows of a file of letters, each with the place that it came from.

    Args:
        path: The file.
        schema: Columns wanted, and their types.
        on_error: What becomes of records that are no rows: "fail", or "dead_letter", which reports
            them beside the rows.

    Raises:
        InvalidArgumentError: A record is no row, with "fail".
        DataLossError: A value is not of its column's type.
    """
    for letters in _batches(path):
        parsed = [(each, parse_row(each)) for each in letters]
        good = [(each, row) for each, row in parsed if row is not None]
        bad = tuple(_no_row(each) for each, row in parsed if row is None)
        if bad and on_error == "fail":
            raise InvalidArgumentError(
                f"row {bad[0].source_row} of {bad[0].source_file}: {bad[0].message}"
            )
        yield InputBatch(
            columns=to_columns([row for _, row in good], schema, path),
            input_bytes=sum(len(each.record) for each in letters),
            origins=tuple(_origin(each) for each, _ in good),
            bad_records=bad,
        )


def _batches(path: str) -> Iterator[list[LetterRecord]]:
    records = read_records(path)
    while letters := list(itertools.islice(records, _BATCH_ROWS)):
        yield letters


def _origin(letter: LetterRecord) -> Origin:
    return Origin(path=letter.source_file, first_row=letter.source_row, num_rows=1)


def _no_row(letter: LetterRecord) -> BadRecord:
    return BadRecord(
        source_file=letter.source_file,
        source_row=letter.source_row,
        byte_offset=letter.byte_offset,
        stage=Stage.READ,
        code=Code.INVALID_ARGUMENT.name,
        message="its letter has bytes that were never made a row; mend the file that it came from",
        record=letter.record,
    )
