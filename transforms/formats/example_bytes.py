"""Columns as serialized tf.train.Examples, one a row.

    Arrow type                                      feature
    half, float, double                             float_list, rounded to float32
    integers, bool, dates, times, durations         int64_list, in the column's own unit
    string, binary                                  bytes_list
    lists of these, of any depth and size           the same, flattened
    null, or a null in place of a value or list     no feature of that name in the row's Example

An Example keeps neither the shape of a value nor a null inside a list; the latter is refused.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from servable_core.errors import InvalidArgumentError
from transforms.formats.message_bytes import (
    EMPTY,
    ByteRows,
    constant,
    delimited,
    of_array,
    of_slices,
    repeated,
    varints,
)
from transforms.formats.nested import is_list, list_offsets

# Field numbers of tensorflow/core/example/{example,feature}.proto.
_FEATURES = 1
_ENTRY = 1
_KEY, _VALUE = 1, 2
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
_LIST_VALUES = 1
_INTERVAL = pa.month_day_nano_interval()
_REMEDY = "change it with --postprocess, or write --output_format=parquet"


class _NoPlaceError(Exception):
    """An Example has no place for a value; the message says which and why."""


def to_examples(columns: pa.RecordBatch, remedy: str = _REMEDY) -> pa.LargeBinaryArray:
    """Returns the Example of each row, serialized; features are in the order of the columns.

    Args:
        columns: The rows.
        remedy: What the user can do about a column that Examples have no place for.

    Raises:
        InvalidArgumentError: A column is of a type that Examples lack, an unsigned number is beyond
            int64, or a list holds a null.
    """
    entries = EMPTY
    try:
        for name, column in zip(columns.schema.names, columns.columns, strict=True):
            entries += _entry(name, column)
    except _NoPlaceError as error:
        raise InvalidArgumentError(f"{error}; {remedy}") from error
    return delimited(_FEATURES, entries).joined(columns.num_rows)


def _entry(name: str, column: pa.Array) -> ByteRows:
    """Returns the entry of the map of features, of no bytes where the row has none."""
    if pa.types.is_null(column.type):
        return EMPTY
    values, offsets = _flatten(name, _plain(column))
    key = delimited(_KEY, constant(name.encode()))
    entry = delimited(_ENTRY, key + delimited(_VALUE, _feature(name, values, offsets)))
    if not column.null_count:
        return entry
    whole = entry.joined(len(column))
    return of_array(pc.if_else(column.is_valid(), whole, pa.scalar(b"", pa.large_binary())))


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _flatten(name: str, column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Returns all values of a column, and where those of each row begin, with the end."""
    offsets = np.arange(len(column) + 1, dtype=np.int64)
    depth = 0
    while is_list(column.type):
        if depth and column.null_count:
            raise _null_in_list(name)
        ends, column = list_offsets(column)
        offsets = ends[offsets]
        depth += 1
    if depth and column.null_count:
        raise _null_in_list(name)
    return column, offsets


def _feature(name: str, values: pa.Array, offsets: np.ndarray) -> ByteRows:
    if pa.types.is_floating(values.type):
        floats = _floats(name, values)
        packed = of_slices(floats.view(np.uint8), offsets * floats.itemsize)
        return delimited(_FLOAT_LIST, delimited(_LIST_VALUES, packed))
    if _is_integral(values.type):
        octets, starts = varints(_integers(name, values))
        packed = of_slices(octets, starts[offsets])
        return delimited(_INT64_LIST, delimited(_LIST_VALUES, packed))
    if _is_text(values.type):
        return delimited(_BYTES_LIST, repeated(_LIST_VALUES, _bytes(values), offsets))
    raise _NoPlaceError(
        f"column {name!r} is {values.type}, which a tf.train.Example has no feature for"
    )


def _is_integral(data_type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_integer(data_type)
        or types.is_boolean(data_type)
        or (types.is_temporal(data_type) and data_type != _INTERVAL)
    )


def _floats(name: str, values: pa.Array) -> np.ndarray:
    floats = _numpy(values, pa.float32())
    if values.type == pa.float64():
        given = _numpy(values, pa.float64())
        beyond = np.isinf(floats) & np.isfinite(given)
        if beyond.any():
            raise _NoPlaceError(
                f"column {name!r} has {given[beyond][0]}, which is beyond float32, the only floats of a tf.train.Example"
            )
    return floats


def _integers(name: str, values: pa.Array) -> np.ndarray:
    try:
        return _numpy(_storage(values), pa.int64())
    except pa.ArrowInvalid as error:
        raise _NoPlaceError(
            f"column {name!r} is {values.type} with a value beyond int64, the only integers of a tf.train.Example ({error})"
        ) from error


def _storage(values: pa.Array) -> pa.Array:
    """Returns the integers that dates, times and durations are stored as."""
    if not pa.types.is_temporal(values.type):
        return values
    return values.cast(pa.int32() if values.type.bit_width == 32 else pa.int64())


def _numpy(values: pa.Array, data_type: pa.DataType) -> np.ndarray:
    """Returns the values as that type; where one is null, anything."""
    if values.type != data_type:
        values = values.cast(data_type, safe=not pa.types.is_floating(data_type))
    if values.null_count:
        values = pc.fill_null(values, 0)
    return np.ascontiguousarray(values.to_numpy(zero_copy_only=False))


def _is_text(data_type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(data_type)
        or types.is_binary(data_type)
        or types.is_large_string(data_type)
        or types.is_large_binary(data_type)
        or types.is_fixed_size_binary(data_type)
    )


def _bytes(values: pa.Array) -> pa.LargeBinaryArray:
    content = values.cast(pa.large_binary())
    return pc.fill_null(content, b"") if content.null_count else content


def _null_in_list(name: str) -> _NoPlaceError:
    return _NoPlaceError(
        f"column {name!r} has a list with a null in it, which a tf.train.Example cannot hold"
    )
