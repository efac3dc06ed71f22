"""Columns with one value a row, however a file has wrapped them."""

import pyarrow as pa
import pyarrow.compute as pc


def single_values(column: pa.Array) -> pa.Array:
    """Returns a column without what only wraps its values: lists of one, and dictionaries."""
    if pa.types.is_fixed_size_list(column.type) and column.type.list_size == 1:
        column = pc.list_element(column, 0)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def single_type(data_type: pa.DataType) -> pa.DataType:
    """Returns the type of the values that `single_values` gives of such a column."""
    if pa.types.is_fixed_size_list(data_type) and data_type.list_size == 1:
        data_type = data_type.value_type
    return data_type.value_type if pa.types.is_dictionary(data_type) else data_type


def is_text(data_type: pa.DataType) -> bool:
    """Whether values are strings or bytes, which TFRecords have for strings."""
    types = pa.types
    return any(
        is_such(data_type)
        for is_such in (
            types.is_string,
            types.is_large_string,
            types.is_binary,
            types.is_large_binary,
            types.is_fixed_size_binary,
        )
    )
