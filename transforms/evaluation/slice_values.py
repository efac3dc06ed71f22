"""The values of a slice column, as codes and their names: what makes rows of a batch alike."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from servable_core.errors import InvalidArgumentError
from transforms.binding import closest
from transforms.evaluation.single_values import is_text, single_values
from transforms.evaluation.slices import NULL_VALUE, bucket_names
from transforms.metrics.array_types import Integers


class NamedCodes(NamedTuple):
    """The values of a column in some rows.

    Attributes:
        codes: For each row, an index of `names`.
        names: What values are called; null and NaN alike. A name may be there twice.
    """

    codes: Integers
    names: pa.StringArray


def slice_column(columns: pa.RecordBatch, name: str) -> pa.Array:
    """Returns a column that rows are sliced by.

    Raises:
        InvalidArgumentError: There is none of this name.
    """
    if name not in columns.schema.names:
        raise InvalidArgumentError(
            f"slice column {name!r} is not among the columns{closest(name, columns.schema.names)}"
        )
    return columns.column(name)


def encode_values(column: pa.Array, name: str) -> NamedCodes:
    """Returns the values of a column; equal ones have one name in every batch and every file.

    Raises:
        InvalidArgumentError: It holds lists or structs.
    """
    encoded = _flat(column, name).dictionary_encode(null_encoding="encode")
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return NamedCodes(codes, value_names(encoded.dictionary))


def encode_buckets(column: pa.Array, edges: Sequence[float], name: str) -> NamedCodes:
    """Returns the buckets that the numbers of a column lie in; each has its lower edge.

    Raises:
        InvalidArgumentError: It does not hold numbers.
    """
    flat = _flat(column, name)
    if pa.types.is_decimal(flat.type) or pa.types.is_null(flat.type):
        flat = flat.cast(pa.float64())
    if not (pa.types.is_integer(flat.type) or pa.types.is_floating(flat.type)):
        raise InvalidArgumentError(
            f"slice column {name!r} is {flat.type}, and only numbers can be cut into buckets; leave the edges out, or name values"
        )
    is_null = flat.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    numbers = flat.fill_null(0).to_numpy(zero_copy_only=False)
    # As the column's own type, so that a float32 of 0.7 reaches 0.7.
    limits = np.array(edges, numbers.dtype if numbers.dtype.kind == "f" else np.float64)
    codes = np.searchsorted(limits, numbers, side="right").astype(np.int64)
    names = [*bucket_names(edges), NULL_VALUE]
    return NamedCodes(np.where(is_null, len(names) - 1, codes), pa.array(names))


def _flat(column: pa.Array, name: str) -> pa.Array:
    column = single_values(column)
    if pa.types.is_nested(column.type):
        raise InvalidArgumentError(
            f"slice column {name!r} is {column.type}, where one value a row is expected; slice by another column"
        )
    return column.cast(pa.float32()) if pa.types.is_float16(column.type) else column


def value_names(values: pa.Array) -> pa.StringArray:
    """Returns what values are called: 18, 1.5, true, DE; null and NaN alike."""
    if pa.types.is_floating(values.type):
        is_null = values.is_null(nan_is_null=True)
        named = pc.add(values, pa.scalar(0.0, values.type)).cast(pa.string())  # -0.0 is 0
    else:
        is_null = values.is_null()
        named = _texts(values) if is_text(values.type) else values.cast(pa.string())
    return pc.if_else(is_null, NULL_VALUE, named)


def _texts(values: pa.Array) -> pa.StringArray:
    """Returns strings or bytes as strings; what is not UTF-8 in there is escaped."""
    content = values.cast(pa.large_binary())
    try:
        return content.cast(pa.string())
    except pa.ArrowInvalid:
        texts = [
            None if each is None else each.decode("utf-8", "backslashreplace")
            for each in content.to_pylist()
        ]
        return pa.array(texts, pa.string())
