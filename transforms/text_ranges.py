"""Reads a planned range of a CSV or JSON Lines file."""

from collections.abc import Iterator

import pyarrow as pa

from servable_core.errors import DataLossError
from transforms.formats import csv_files, json_lines
from transforms.input_batch import InputBatch
from transforms.unit_table import UnitRange


def read_text_range(
    path: str, part: UnitRange, input_format: str, schema: pa.Schema, on_error: str
) -> Iterator[InputBatch]:
    """Yields the rows of a range in order, with bad records beside them.

    Args:
        path: The file.
        part: The range.
        input_format: "csv" or "jsonl".
        schema: Columns wanted, and their types.
        on_error: "fail" or "dead_letter".

    Raises:
        InvalidArgumentError: A row is bad, with "fail".
        DataLossError: The file is damaged, or has fewer rows, good and bad, than were planned.
    """
    num_rows = 0
    for batch in _open(path, part, input_format, schema, on_error):
        num_rows += batch.num_rows + len(batch.bad_records)
        yield batch
    if part.num_rows not in (-1, num_rows):
        raise DataLossError(
            f"{path} gave {num_rows} rows where {part.num_rows} were planned: it changed while the job ran"
        )


def _open(
    path: str, part: UnitRange, input_format: str, schema: pa.Schema, on_error: str
) -> Iterator[InputBatch]:
    num_rows = None if part.num_rows == -1 else part.num_rows
    if input_format == "csv":
        return csv_files.read_batches(path, schema, num_rows=num_rows, on_error=on_error)
    return json_lines.read_batches(
        path,
        schema,
        first_byte=part.first_byte,
        end_byte=None if part.end_byte == -1 else part.end_byte,
        first_row=part.first_row,
        num_rows=num_rows,
        on_error=on_error,
    )
