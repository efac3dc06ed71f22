"""Rows that letters have as JSON, made columns again. Pure."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from servable_core.errors import DataLossError
from transforms.dead_letter_files import LetterRecord
from transforms.formats.parquet_access import one_line
from transforms.input_batch import SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN, only_rows

_BASE64_KEY = "b64"
_MAX_WORDS = 200  # of Arrow's, which quotes values of any length
# The first is also what Arrow says of values, and Python of text that is half a surrogate pair.
_ARROW_ERRORS = (ValueError, OverflowError, pa.ArrowTypeError, pa.ArrowNotImplementedError)


def parse_row(letter: LetterRecord) -> dict[str, Any] | None:
    """Returns a row's values by column; None if the record is no row, but a file's own bytes.

    The columns that told where the row comes from are left out: the letter says it, too.
    """
    if not letter.record.startswith(b"{"):  # as no Example does
        return None
    try:
        found = json.loads(letter.record)
        row = {name: _decoded(value) for name, value in found.items()}
    except (ValueError, RecursionError):  # the latter where it is nested too deep
        return None
    place = (letter.source_file, letter.source_row)
    if (row.get(SOURCE_FILE_COLUMN), row.get(SOURCE_ROW_COLUMN)) == place:
        del row[SOURCE_FILE_COLUMN], row[SOURCE_ROW_COLUMN]
    return row


def _decoded(value: Any) -> Any:
    """Returns a value with its bytes as such."""
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_BASE64_KEY} and isinstance(value[_BASE64_KEY], str):
        return base64.b64decode(value[_BASE64_KEY])
    return {name: _decoded(each) for name, each in value.items()}


def row_schema(
    rows: Sequence[Mapping[str, Any]], known: Mapping[str, pa.DataType], path: str
) -> pa.Schema:
    """Returns all columns of the rows: of the type known, or else of what the values are.

    Raises:
        DataLossError: The values of a column have no type in common.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    fields = []
    for name in names:
        data_type = known.get(name)
        if data_type is None:
            values = [row.get(name) for row in rows]
            data_type = _column(values, None, name, path).type
        fields.append(pa.field(name, data_type))
    return pa.schema(fields)


def to_columns(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, path: str) -> pa.RecordBatch:
    """Returns the rows as columns of `schema`; what a row lacks is a null.

    Raises:
        DataLossError: A value is not of its column's type.
    """
    if not schema.names:
        return only_rows(len(rows))
    arrays = [
        _column([row.get(field.name) for row in rows], field.type, field.name, path)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _column(values: Sequence[Any], data_type: pa.DataType | None, name: str, path: str) -> pa.Array:
    try:
        return pa.array(values, data_type)
    except _ARROW_ERRORS as error:
        if data_type is None:
            raise _not_of_a_type(name, path, error) from error
    try:
        return pa.array(values).cast(data_type)  # times and decimals, which JSON has as text
    except _ARROW_ERRORS as error:
        raise _not_of_a_type(name, path, error) from error


def _not_of_a_type(name: str, path: str, error: Exception) -> DataLossError:
    words = one_line(error)[:_MAX_WORDS]
    return DataLossError(
        f"{path}: column {name!r} of the records cannot be read again: {words}; run the job on the files that they came from"
    )
