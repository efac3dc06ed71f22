"""Columns as JSON, with the conventions of a model server's REST interface.

Arrow type                  JSON
integers, decimals, bool    as they are; durations are integers in their own unit
half, float, double         shortest digits that read back the same, 1.0 rather than 1;
                            NaN, Infinity and -Infinity, as Python's and JavaScript's readers take them
string, binary              text; bytes that are not UTF-8, and all values of a column whose name ends
                            in `_bytes`, are {"b64": "..."}
dates, times, timestamps    ISO 8601 text
lists, structs, maps        arrays, objects, arrays of {"key": ..., "value": ...}
null                        null
"""

import json
from base64 import b64encode
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from servable_core.errors import InvalidArgumentError
from transforms.formats.nested import is_list, list_offsets

_TEXT = pa.large_string()
_BYTES_SUFFIX = "_bytes"
_TO_ESCAPE = r'[\x00-\x1f"\\]'
_INTEGRAL = r"^(-?[0-9]+)$"
_NOT_NUMBERS = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def json_lines(columns: pa.RecordBatch) -> pa.LargeStringArray:
    """Returns a JSON object for each row, with the line's end.

    Raises:
        InvalidArgumentError: A column is of a type that has no JSON.
    """
    pieces: list[pa.Scalar | pa.Array] = []
    separator = "{"
    for name, column in zip(columns.schema.names, columns.columns, strict=True):
        pieces += [_scalar(f"{separator}{_quoted(name)}: "), json_values(name, column)]
        separator = ", "
    if not pieces:
        return pa.repeat(_scalar("{}\n"), columns.num_rows)
    return _concat(*pieces, _scalar("}\n"))


def json_values(name: str, values: pa.Array) -> pa.LargeStringArray:
    """Returns the JSON of each value; `name` is the column's, for its suffix and for messages."""
    return pc.fill_null(_json_or_null(name, values), "null")


def _json_or_null(name: str, values: pa.Array) -> pa.LargeStringArray:
    data_type, types = values.type, pa.types
    if types.is_dictionary(data_type):
        return _json_or_null(name, values.dictionary_decode())
    for holds, encode in _ENCODERS:
        if holds(data_type):
            return encode(name, values)
    if types.is_map(data_type):
        return _list(name, values.cast(_as_list(data_type)))
    raise InvalidArgumentError(
        f"column {name!r} is {data_type}, which has no JSON; turn it into numbers or text with --postprocess, or write --output_format=parquet"
    )


def _plain(_: str, values: pa.Array) -> pa.LargeStringArray:
    return values.cast(_TEXT)


def _duration(_: str, values: pa.Array) -> pa.LargeStringArray:
    return values.cast(pa.int64()).cast(_TEXT)


def _float(_: str, values: pa.Array) -> pa.LargeStringArray:
    text = values.cast(_TEXT)
    numbers = pc.fill_null(values, 0.5).to_numpy(zero_copy_only=False)
    is_finite = np.isfinite(numbers)
    if (np.trunc(numbers) == numbers)[is_finite].any():
        text = pc.replace_substring_regex(text, _INTEGRAL, r"\1.0")
    if not is_finite.all():
        for arrow, token in _NOT_NUMBERS.items():
            text = pc.if_else(pc.equal(text, arrow), _scalar(token), text)
    return text


def _time(_: str, values: pa.Array) -> pa.LargeStringArray:
    return _concat(_scalar('"'), values.cast(_TEXT), _scalar('"'))


def _string(_: str, values: pa.Array) -> pa.LargeStringArray:
    try:  # what is called text may come from a damaged file, and Arrow has not looked at it
        text = values.cast(pa.large_binary()).cast(_TEXT)
    except pa.ArrowInvalid:
        return _each(values.cast(pa.large_binary()), _text_or_base64)
    quoted = _concat(_scalar('"'), text, _scalar('"'))
    to_escape = pc.fill_null(pc.match_substring_regex(text, _TO_ESCAPE), False)
    if not pc.any(to_escape).as_py():
        return quoted
    escaped = [_quoted(each) for each in text.filter(to_escape).to_pylist()]
    return pc.replace_with_mask(quoted, to_escape, pa.array(escaped, _TEXT))


def _binary(name: str, values: pa.Array) -> pa.LargeStringArray:
    return _each(values, _base64) if name.endswith(_BYTES_SUFFIX) else _string(name, values)


def _each(values: pa.Array, encode: Callable[[bytes], str]) -> pa.LargeStringArray:
    texts = [None if each is None else encode(each) for each in values.to_pylist()]
    return pa.array(texts, _TEXT)


def _base64(value: bytes) -> str:
    return f'{{"b64": "{b64encode(value).decode()}"}}'


def _text_or_base64(value: bytes) -> str:
    try:
        return _quoted(value.decode())
    except UnicodeDecodeError:
        return _base64(value)


def _list(name: str, values: pa.Array) -> pa.LargeStringArray:
    offsets, items = list_offsets(values)
    texts = json_values(name, items)
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), texts)
    arrays = _concat(_scalar("["), pc.binary_join(lists, _scalar(", ")), _scalar("]"))
    if not values.null_count:
        return arrays
    return pc.if_else(values.is_valid(), arrays, pa.scalar(None, _TEXT))


def _struct(name: str, values: pa.Array) -> pa.LargeStringArray:
    pieces: list[pa.Scalar | pa.Array] = []
    separator = "{"
    for field, column in zip(values.type, values.flatten(), strict=True):
        pieces += [_scalar(f"{separator}{_quoted(field.name)}: "), json_values(name, column)]
        separator = ", "
    objects = _concat(*pieces, _scalar("}")) if pieces else pa.repeat(_scalar("{}"), len(values))
    return pc.if_else(values.is_valid(), objects, pa.scalar(None, _TEXT))


def _as_list(data_type: pa.DataType) -> pa.DataType:
    fields = [pa.field("key", data_type.key_type), pa.field("value", data_type.item_type)]
    return pa.list_(pa.struct(fields))


def _is_text(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_string(data_type) or pa.types.is_large_string(data_type))


def _is_bytes(data_type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_binary(data_type)
        or types.is_large_binary(data_type)
        or types.is_fixed_size_binary(data_type)
    )


def _is_time(data_type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_date(data_type) or types.is_time(data_type) or types.is_timestamp(data_type)
    )


_Encoder = Callable[[str, pa.Array], pa.LargeStringArray]
_ENCODERS: list[tuple[Callable[[pa.DataType], bool], _Encoder]] = [
    (pa.types.is_null, _plain),
    (pa.types.is_boolean, _plain),
    (pa.types.is_integer, _plain),
    (pa.types.is_decimal, _plain),
    (pa.types.is_floating, _float),
    (_is_text, _string),
    (_is_bytes, _binary),
    (is_list, _list),
    (_is_time, _time),
    (pa.types.is_duration, _duration),
    (pa.types.is_struct, _struct),
]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _scalar(text: str) -> pa.Scalar:
    return pa.scalar(text, _TEXT)


def _concat(*pieces: pa.Scalar | pa.Array) -> pa.LargeStringArray:
    """Returns the pieces side by side; null where one of them is."""
    return pc.binary_join_element_wise(*pieces, _scalar(""))
