"""What the Arrow types in Parquet files need: extension types, and null lists of fixed size.

Arrow stores its own types beside Parquet's, and reads columns as these. It writes null lists of fixed
size, but cannot read them so. Without the stored types they come as lists of any length, which can be
null, and are cast afterwards.
"""

import io
from collections.abc import Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

ARROW_SCHEMA_KEY = b"ARROW:schema"
_MAGIC = b"PAR1"
_TAIL_BYTES = 8  # the footer's length, and the magic
_VIEWS = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
_LISTS = (
    (pa.types.is_list, pa.list_),
    (pa.types.is_list_view, pa.list_),
    (pa.types.is_large_list, pa.large_list),
    (pa.types.is_large_list_view, pa.large_list),
)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Returns `schema` without what keeps rows of different files from sharing batches.

    Every column may have nulls, however its writer has marked it; there are no metadata; an
    extension type is the type that it is stored as, and views, for which Arrow has few functions,
    are what they are views of.
    """
    return pa.schema([(field.name, _plain_type(field.type)) for field in schema])


def _plain_type(data_type: pa.DataType) -> pa.DataType:
    if isinstance(data_type, pa.BaseExtensionType):
        return _plain_type(data_type.storage_type)
    if pa.types.is_fixed_size_list(data_type):
        return pa.list_(_plain_type(data_type.value_type), data_type.list_size)
    for is_such, make in _LISTS:
        if is_such(data_type):
            return make(_plain_type(data_type.value_type))
    return _VIEWS.get(data_type, data_type)


def as_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Returns the batch with the types that a plain schema has for its columns.

    Raises:
        pyarrow.ArrowInvalid: A list has not the size of its type.
    """
    types = dict(zip(schema.names, schema.types, strict=True))
    names = batch.schema.names
    arrays = [
        _as_type(array, types[name]) for name, array in zip(names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _as_type(array: pa.Array, data_type: pa.DataType) -> pa.Array:
    while isinstance(array, pa.ExtensionArray):
        array = array.storage
    return array if array.type == data_type else array.cast(data_type)


def may_hold_null_lists(
    file: pq.ParquetFile, groups: Sequence[int], columns: Sequence[str]
) -> bool:
    """Returns whether fixed-size lists in these row groups need `without_arrow_types`.

    Statistics tell; where a writer has left them out, there may be nulls.
    """
    schema = file.schema_arrow
    fixed = {field.name for field in schema if _has_fixed_lists(field.type)}
    prefixes = tuple(f"{name}." for name in columns if name in fixed)
    if not prefixes:
        return False
    paths = [file.schema.column(index).path for index in range(len(file.schema))]
    leaves = [index for index, path in enumerate(paths) if path.startswith(prefixes)]
    metadata = file.metadata
    return any(
        _may_have_nulls(metadata.row_group(group).column(leaf))
        for group in groups
        for leaf in leaves
    )


def _has_fixed_lists(data_type: pa.DataType) -> bool:
    data_type = _plain_type(data_type)
    if pa.types.is_fixed_size_list(data_type):
        return True
    return pa.types.is_nested(data_type) and any(
        _has_fixed_lists(data_type.field(index).type) for index in range(data_type.num_fields)
    )


def _may_have_nulls(chunk: pq.ColumnChunkMetaData) -> bool:
    statistics = chunk.statistics
    return statistics is None or not statistics.has_null_count or statistics.null_count > 0


def without_arrow_types(stream: BinaryIO) -> pq.FileMetaData:
    """Returns the metadata of a Parquet file with the key renamed under which Arrow has its types."""
    stream.seek(-_TAIL_BYTES, io.SEEK_END)
    footer_bytes = int.from_bytes(stream.read(_TAIL_BYTES)[:4], "little") + _TAIL_BYTES
    stream.seek(-footer_bytes, io.SEEK_END)
    footer = stream.read(footer_bytes)
    hidden = footer.replace(ARROW_SCHEMA_KEY, ARROW_SCHEMA_KEY.swapcase())
    return pq.read_metadata(io.BytesIO(_MAGIC + hidden))
