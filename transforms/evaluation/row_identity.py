"""What rows are called, and which block of the jackknife they are in."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from servable_core.errors import InvalidArgumentError
from transforms.binding import closest
from transforms.evaluation.single_values import single_values
from transforms.evaluation.slice_values import value_names
from transforms.input_batch import SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN
from transforms.metrics import key_blocks
from transforms.metrics.array_types import Booleans, Integers
from transforms.metrics.key_blocks import Hashes, hash_blocks, hash_keys

SOURCE_KEY = (SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN)


def named_column(columns: pa.RecordBatch, name: str, flag: str) -> pa.Array:
    """Returns a column that a flag names.

    Raises:
        InvalidArgumentError: There is none.
    """
    if name not in columns.schema.names:
        raise InvalidArgumentError(
            f"{flag}={name} is not among the columns{closest(name, columns.schema.names)}"
        )
    return columns.column(name)


def example_keys(columns: pa.RecordBatch, name: str | None) -> pa.Array:
    """Returns what identifies rows: a column, or file and row number, as `data.parquet:17`.

    Raises:
        InvalidArgumentError: There is no such column, or its values do not identify anything.
    """
    if name is not None:
        return _keys(columns, name, "--example_key")
    files, rows = _source(columns)
    return pc.binary_join_element_wise(files.cast(pa.string()), rows.cast(pa.string()), ":")


def row_blocks(
    columns: pa.RecordBatch, key_hashes: Hashes | None, cluster_key: str | None, num_blocks: int
) -> Integers:
    """Returns the block of each row; rows of a cluster, or of one example, are in the same.

    Args:
        columns: The rows.
        key_hashes: The numbers of their example keys; None for file and row number.
        cluster_key: Column of what rows are dependent within, or None.
        num_blocks: How many blocks there are.

    Raises:
        InvalidArgumentError: A key column is missing, or its values do not identify anything.
    """
    if cluster_key is not None:
        return key_blocks(_keys(columns, cluster_key, "--cluster_key"), num_blocks)
    if key_hashes is None:
        key_hashes = key_numbers(columns, SOURCE_KEY)
    return hash_blocks(key_hashes, num_blocks)


def key_numbers(columns: pa.RecordBatch, key: Sequence[str]) -> Hashes:
    """Returns a number for each row, equal where keys are; almost certainly different otherwise.

    Args:
        columns: Rows with the columns of the key.
        key: One column, or file and row number.

    Raises:
        InvalidArgumentError: A column is missing, or its values do not identify anything.
    """
    if tuple(key) == SOURCE_KEY:
        return hash_keys(_places(columns))
    (name,) = key
    return hash_keys(_keys(columns, name, "--example_key"))


def same_keys(some: pa.RecordBatch, others: pa.RecordBatch, key: Sequence[str]) -> Booleans:
    """Returns for each row whether both have the same key; null is a key like any other.

    Args:
        some: Rows with the columns of the key.
        others: As many, with those columns in whatever type a file has them.
        key: One column, or file and row number.
    """
    is_same = np.ones(some.num_rows, dtype=bool)
    pairs = zip(_key_values(some, key), _key_values(others, key), strict=True)
    for one, other in pairs:
        is_same &= _same_values(one, other).to_numpy(zero_copy_only=False)
    return is_same


def _key_values(columns: pa.RecordBatch, key: Sequence[str]) -> tuple[pa.Array, ...]:
    if tuple(key) == SOURCE_KEY:
        return _source(columns)
    (name,) = key
    return (_keys(columns, name, "--example_key"),)


def _same_values(one: pa.Array, other: pa.Array) -> pa.BooleanArray:
    if one.type != other.type:
        one, other = one.cast(pa.string()), other.cast(pa.string())
    both_null = pc.and_(one.is_null(), other.is_null())
    return pc.or_(both_null, pc.equal(one, other).fill_null(False))


def _source(columns: pa.RecordBatch) -> tuple[pa.Array, pa.Array]:
    missing = set(SOURCE_KEY) - set(columns.schema.names)
    if missing:
        raise InvalidArgumentError(
            f"nothing identifies the rows: there is no column {min(missing)!r}; give --example_key, the column that does"
        )
    return columns.column(SOURCE_FILE_COLUMN), columns.column(SOURCE_ROW_COLUMN)


def _places(columns: pa.RecordBatch) -> pa.Array:
    """Returns a number for each file and row; hashing names of files row by row would take long."""
    files, rows = _source(columns)
    encoded = files.dictionary_encode(null_encoding="encode")
    of_file = hash_keys(encoded.dictionary.cast(pa.string()))[encoded.indices.to_numpy()]
    places = of_file + rows.fill_null(-1).to_numpy().astype(np.int64).view(np.uint64)
    return pa.array(places.view(np.int64))


def _keys(columns: pa.RecordBatch, name: str, flag: str) -> pa.Array:
    column = single_values(named_column(columns, name, flag))
    if pa.types.is_nested(column.type) or pa.types.is_floating(column.type):
        raise InvalidArgumentError(
            f"{flag}={name} is {column.type}; keys are whole numbers, texts or dates: name another column"
        )
    return column if pa.types.is_integer(column.type) else value_names(column)
