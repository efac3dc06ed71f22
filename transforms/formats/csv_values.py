"""Fields of CSV, made values of the planned types; the rows where that cannot be are told. Pure."""

import base64
import json
import re
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.formats.parsed_stretches import parse_stretches

_HEXADECIMAL = re.compile(r"\s*-?0[xX]")
_MAX_DIGITS = 4000  # of an int, for Python
_to_json = json.JSONEncoder(ensure_ascii=False).encode
_MAX_QUOTED = 100  # characters of a value in a message


def convert(texts: pa.RecordBatch, schema: pa.Schema) -> tuple[pa.RecordBatch, dict[int, str]]:
    """Returns the rows all of whose values are of their types, and what is wrong with each other row.

    Args:
        texts: The fields as they are in the file, as binary; an empty one is a null.
        schema: The columns wanted, and their types.
    """
    try:
        return _typed(texts, schema), {}
    except pa.ArrowInvalid:
        wrong = _wrong_rows(texts, schema)
    is_good = np.ones(texts.num_rows, np.bool_)
    is_good[list(wrong)] = False
    return _typed(texts.filter(pa.array(is_good)), schema), wrong


def rows_as_json(texts: pa.RecordBatch, rows: list[int]) -> list[bytes]:
    """Returns the fields of some rows as JSON objects, bytes as a model server's REST takes them."""
    fields = texts.take(pa.array(rows, pa.int64())).to_pylist()
    return [_to_json({name: _text(each) for name, each in row.items()}).encode() for row in fields]


def _text(value: bytes | None) -> str | dict[str, str] | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value or b"").decode()}


def is_castable(strings: pa.Array, data_type: pa.DataType) -> bool:
    """Whether all values are of a type."""
    try:
        _parsed(strings, data_type)
    except pa.ArrowInvalid:
        return False
    return True


def _typed(texts: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    arrays = [_values(texts.column(field.name), field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _values(texts: pa.Array, data_type: pa.DataType) -> pa.Array:
    if pa.types.is_binary(data_type):
        return texts.fill_null(b"")
    strings = texts.cast(pa.string())
    return strings.fill_null("") if pa.types.is_string(data_type) else _parsed(strings, data_type)


def _parsed(strings: pa.Array, data_type: pa.DataType) -> pa.Array:
    try:
        return strings.cast(data_type)
    except pa.ArrowInvalid:
        return _trimmed(strings).cast(data_type)


def _trimmed(strings: pa.Array) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(strings)
    return pc.if_else(pc.equal(trimmed, ""), None, trimmed)


def _wrong_rows(texts: pa.RecordBatch, schema: pa.Schema) -> dict[int, str]:
    """Returns what is wrong with rows, by the first of their columns that is."""
    wrong: dict[int, str] = {}
    for field in schema:
        if pa.types.is_binary(field.type):
            continue
        for row, words in _wrong_values(texts.column(field.name), field.type).items():
            wrong.setdefault(row, f"column {field.name!r}: {words}")
    return wrong


def _wrong_values(texts: pa.Array, data_type: pa.DataType) -> dict[int, str]:
    strings, wrong = _strings(texts)
    if pa.types.is_string(data_type):
        return wrong
    bad = _bad_values(_trimmed(strings).unique().drop_null(), data_type)
    if len(bad):
        rows = np.flatnonzero(pc.is_in(_trimmed(strings), value_set=bad)).tolist()
        values = strings.take(pa.array(rows, pa.int64())).to_pylist()
        wrong |= {
            row: f"{_quoted(value)} is no {data_type}"
            for row, value in zip(rows, values, strict=True)
        }
    return wrong


def _quoted(value: str) -> str:
    return repr(value if len(value) <= _MAX_QUOTED else f"{value[:_MAX_QUOTED]}...")


def _strings(texts: pa.Array) -> tuple[pa.Array, dict[int, str]]:
    """Returns the values as text, nulls for those that are none, and which these are."""
    try:
        return texts.cast(pa.string()), {}
    except pa.ArrowInvalid:
        decoded = [None if each is None else _decoded(each) for each in texts.to_pylist()]
    wrong = {row: "it is not UTF-8" for row, each in enumerate(decoded) if each is False}
    return pa.array([each or None for each in decoded], pa.string()), wrong


def _decoded(value: bytes) -> str | bool:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return False


def _bad_values(values: pa.Array, data_type: pa.DataType) -> pa.Array:
    """Returns those of some different values that Arrow does not take for values of a type."""
    is_surely_bad = _SURELY_BAD.get(data_type, _may_be_good)
    surely = pa.array([is_surely_bad(each) for each in values.to_pylist()], pa.bool_())
    doubtful = values.filter(pc.invert(surely))

    def cast(start: int, stop: int) -> None:
        doubtful.slice(start, stop - start).cast(data_type)

    found = parse_stretches(cast, len(doubtful), (pa.ArrowInvalid,))
    bad = [each.start for each in found if each.error is not None]
    return pa.concat_arrays([values.filter(surely), doubtful.take(pa.array(bad, pa.int64()))])


def _may_be_good(_value: str) -> bool:
    return False


def _is_no_int(value: str) -> bool:
    """Whether it is none for Python, nor hexadecimal: of these Arrow refuses all, and some others."""
    try:
        int(value)
    except ValueError:
        return not (_HEXADECIMAL.match(value) or len(value) > _MAX_DIGITS)
    return False


def _is_no_float(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return "(" not in value  # "nan(...)" is one
    return False


# Exceptions of Python cost a tenth of Arrow's.
_SURELY_BAD: Mapping[pa.DataType, Callable[[str], bool]] = {
    pa.int64(): _is_no_int,
    pa.float64(): _is_no_float,
}
