"""`_dead_letters/`: the records that have no outputs, each with its place, its error and itself."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from servable_core.errors import ServableCoreError
from transforms.bad_records import BadRecord, Stage
from transforms.formats.text_types import type_to_text
from transforms.input_batch import InputBatch
from transforms.storage import create_file

DEAD_LETTERS_DIRECTORY = "_dead_letters"
# In the metadata of a file: the types of the columns that rows as JSON had, which JSON cannot tell.
ROW_TYPES_KEY = b"row_types"
# What damage may leave: text that is not UTF-8, years beyond Python's, time zones that nobody knows.
_NO_VALUE = (ValueError, OverflowError, LookupError)
SCHEMA = pa.schema(
    [
        ("source_file", pa.string()),
        ("source_row", pa.int64()),
        ("byte_offset", pa.int64()),
        ("stage", pa.string()),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        ("model_name", pa.string()),
        ("model_version", pa.int64()),
        ("record", pa.binary()),
    ]
)


def bad_row(
    batch: InputBatch,
    row: int,
    stage: Stage,
    error: BaseException,
    model: tuple[str, int] | None = None,
) -> BadRecord:
    """Returns the letter for one row of a batch."""
    (letter,) = bad_rows(batch, [row], stage, [error], model)
    return letter


def bad_rows(
    batch: InputBatch,
    rows: Sequence[int],
    stage: Stage,
    errors: Sequence[BaseException],
    model: tuple[str, int] | None = None,
) -> list[BadRecord]:
    """Returns the letters for some rows of a batch, each with an error of its own.

    For many rows a tenth of the work that `bad_row` is for each.
    """
    schema = batch.columns.schema if batch.records is None else None
    places = [batch.place(row) for row in rows]
    records = raw_records(batch, rows)
    return [
        BadRecord(
            source_file=path,
            source_row=source_row,
            byte_offset=None,
            stage=stage,
            code=error_code(error),
            message=str(error) or type(error).__name__,
            record=record,
            model=model,
            schema=schema,
        )
        for (path, source_row), error, record in zip(places, errors, records, strict=True)
    ]


def error_code(error: BaseException) -> str:
    """Returns the canonical code of an error; of one that has none, INTERNAL."""
    return error.code.name if isinstance(error, ServableCoreError) else "INTERNAL"


def raw_records(batch: InputBatch, rows: Sequence[int]) -> list[bytes]:
    """Returns rows as they were read: TFRecords' payloads, or else JSON objects of their columns."""
    if batch.records is not None:
        records = [batch.records[row] for row in rows]
        return [bytes(each if isinstance(each, bytes) else each.numpy()) for each in records]
    if not batch.columns.schema.names:
        return [b"{}"] * len(rows)
    try:
        values = batch.columns.take(pa.array(rows, pa.int64())).to_pylist()
    except (*_NO_VALUE, pa.ArrowNotImplementedError):  # Arrow cannot take values of some types
        values = [_values(batch.columns, row) for row in rows]
    return [_to_json(each).encode() for each in values]


def _values(columns: pa.RecordBatch, row: int) -> dict[str, Any]:
    pairs = zip(columns.schema.names, columns.columns, strict=True)
    return {name: _value(column[row]) for name, column in pairs}


def _value(scalar: pa.Scalar) -> Any:
    """Returns a value; where Python has none for it, text as bytes, and a time as its number."""
    try:
        return scalar.as_py()
    except _NO_VALUE:
        if isinstance(scalar, pa.ListScalar | pa.LargeListScalar | pa.FixedSizeListScalar):
            return [_value(each) for each in scalar.values]
        if isinstance(scalar, pa.StructScalar):
            return {name: _value(scalar[name]) for name in scalar}
        if isinstance(scalar, pa.DictionaryScalar):
            return _value(scalar.value)
        if pa.types.is_temporal(scalar.type):
            return scalar.value
        return scalar.as_buffer().to_pybytes()


def _as_json(value: Any) -> Any:
    """Returns what JSON has no type for: bytes as a model server's REST takes them."""
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return str(value)


_to_json = json.JSONEncoder(default=_as_json).encode


def dead_letters_path(unit: int, num_units: int) -> str:
    """Returns where the letters of a unit lie, relative to the output directory."""
    digits = max(5, len(str(num_units)))
    name = f"part-{unit:0{digits}d}-of-{num_units:0{digits}d}.parquet"
    return f"{DEAD_LETTERS_DIRECTORY}/{name}"


def write_dead_letters(output: str, path: str, letters: Sequence[BadRecord]) -> None:
    """Writes the letters of a unit, at once or not at all."""
    with create_file(output, f"{output}/{path}") as sink:
        table = to_table(letters).replace_schema_metadata({ROW_TYPES_KEY: _row_types(letters)})
        pq.write_table(table, sink, compression="zstd")


def _row_types(letters: Sequence[BadRecord]) -> str:
    """Returns the type of each column of rows as JSON; of those that `--preprocess` changes, none."""
    schemas = {id(each.schema): each.schema for each in letters if each.schema is not None}
    fields = [field for schema in schemas.values() for field in schema]
    types = {field.name: field.type for field in fields}
    changed = {field.name for field in fields if field.type != types[field.name]}
    return json.dumps(
        {name: type_to_text(each) for name, each in types.items() if name not in changed}
    )


def to_table(letters: Sequence[BadRecord]) -> pa.Table:
    """Returns letters as a table of `SCHEMA`."""
    columns = [
        [each.source_file for each in letters],
        [each.source_row for each in letters],
        [each.byte_offset for each in letters],
        [each.stage.value for each in letters],
        [each.code for each in letters],
        [each.message for each in letters],
        [each.model[0] if each.model else None for each in letters],
        [each.model[1] if each.model else None for each in letters],
        [each.record for each in letters],
    ]
    return pa.Table.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)],
        schema=SCHEMA,
    )
