"""The files of an earlier job's `_dead_letters/`, read again: which records they hold, and of what rows."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.dead_letters import ROW_TYPES_KEY, SCHEMA
from transforms.formats.parquet import read_footer, read_rows
from transforms.formats.parquet_access import corrupt
from transforms.formats.text_types import type_from_text
from transforms.storage import file_system_for

_COLUMNS = ("source_file", "source_row", "byte_offset", "record")
_BATCH_ROWS = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class LetterRecord:
    """A record that was put aside.

    Attributes:
        source_file: The file that it was in.
        source_row: Its index in that file.
        byte_offset: Where it began in there; None where the letter does not tell.
        record: Its raw bytes: a TFRecord's payload, or a row as JSON.
    """

    source_file: str
    source_row: int
    byte_offset: int | None
    record: bytes


def is_letter_file(path: str) -> bool:
    """Whether the Parquet file at `path` is one of dead letters.

    Raises:
        DataLossError: It is no Parquet file.
    """
    return bool(read_footer(path).schema.equals(SCHEMA))


def read_records(path: str) -> Iterator[LetterRecord]:
    """Yields the records of a file of letters in order, each once, however many letters it has.

    Letters without a record, or without the number of its row, are left out: nothing is known of
    what they stood for.

    Raises:
        DataLossError: The data cannot be decoded.
    """
    seen: set[tuple[str, int]] = set()
    for batch in read_rows(path, 0, len(read_footer(path).row_groups), _COLUMNS, _BATCH_ROWS):
        for source_file, source_row, byte_offset, record in zip(
            *(batch.column(name).to_pylist() for name in _COLUMNS), strict=True
        ):
            if record is None or source_row is None or (source_file, source_row) in seen:
                continue
            seen.add((source_file, source_row))
            yield LetterRecord(
                source_file=source_file,
                source_row=source_row,
                byte_offset=byte_offset,
                record=record,
            )


def read_row_types(path: str) -> dict[str, pa.DataType]:
    """Returns the types that columns of the rows had, as far as the file tells.

    Raises:
        DataLossError: What it tells is damaged.
    """
    with file_system_for(path).open(path) as stream:
        metadata = pq.read_schema(stream).metadata or {}
    try:
        types = json.loads(metadata.get(ROW_TYPES_KEY, b"{}"))
        return {name: type_from_text(text) for name, text in types.items()}
    except (ValueError, TypeError, AttributeError, OSError) as error:  # of JSON, or of Arrow
        raise corrupt(path, "the types of its rows are damaged") from error
