"""Reads the files of a lookup table into arrays: CSV, Parquet or `.npz`.

A version directory holds files of one of these kinds; the parts of a CSV or Parquet table are put
together in the order of their names, and other files are read over. The keys are the column (or
array) called `key`, everything else is a column of values:

    CSV      with a header; types are inferred
    Parquet  numbers, strings, bytes, and lists of numbers of one length
    .npz     `key` and arrays with one row for each key; memory-mapped if uncompressed and local

Strings become object arrays of bytes. Nulls are refused.
"""

import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.runtime.file_system import FileInfo, FileSystem

KEY_COLUMN = "key"
_SUFFIXES = (".csv", ".parquet", ".npz")
_LOCAL_HEADER = struct.Struct("<26xHH")  # the lengths of name and extra field, in a zip file


def find_missing(files: Mapping[str, FileInfo]) -> str | None:
    """Returns what a version directory lacks to be a table, or None."""
    if any(PurePosixPath(name).suffix in _SUFFIXES for name in files):
        return None
    return "it has no .csv, .parquet or .npz file"


def read_columns(path: str, file_system: FileSystem) -> dict[str, np.ndarray]:
    """Reads the table in the version directory at `path`: arrays by name, keys included.

    Raises:
        NotFoundError: There is no table, or no column of keys in it.
        InvalidArgumentError: There are files of several kinds, or values of a type unknown.
    """
    suffix, paths = _table_files(path, file_system.list_files(path))
    read = _read_npz if suffix == ".npz" else _read_arrow
    columns = read(paths, file_system)
    if KEY_COLUMN not in columns:
        raise NotFoundError(
            f"{path} has no column {KEY_COLUMN!r}; it has {', '.join(map(repr, columns))}"
        )
    return columns


def _table_files(path: str, files: Sequence[FileInfo]) -> tuple[str, list[str]]:
    by_suffix: dict[str, list[str]] = {}
    for file in files:
        suffix = PurePosixPath(file.path).suffix
        if suffix in _SUFFIXES:
            by_suffix.setdefault(suffix, []).append(file.path)
    if not by_suffix:
        raise NotFoundError(f"{path} is no lookup table: it has no .csv, .parquet or .npz file")
    if len(by_suffix) > 1:
        raise InvalidArgumentError(
            f"there are files of several kinds: {', '.join(sorted(by_suffix))}; expected one"
        )
    return next(iter(by_suffix.items()))


def _read_arrow(paths: Sequence[str], file_system: FileSystem) -> dict[str, np.ndarray]:
    import pyarrow as pa

    try:
        parts = [_read_part(path, file_system) for path in paths]
        table = pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException as error:
        raise InvalidArgumentError(f"it cannot be read: {error}") from error
    return {name: _to_numpy(name, table.column(name)) for name in table.column_names}


def _read_part(path: str, file_system: FileSystem) -> Any:
    import pyarrow.csv
    import pyarrow.parquet

    with file_system.open(path) as stream:
        if path.endswith(".csv"):
            return pyarrow.csv.read_csv(stream)
        return pyarrow.parquet.read_table(stream)


def _to_numpy(name: str, column: Any) -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):  # what others write of categories
        column = column.cast(column.type.value_type)
    kind = column.type
    if column.null_count:
        raise InvalidArgumentError(f"column {name!r} has {column.null_count} nulls; expected none")
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _to_matrix(name, column.combine_chunks())
    if _is_text(kind):
        column = column.cast(pa.large_binary())  # beyond 2 GB, too
    array: np.ndarray = column.to_numpy()
    return array


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return any(
        is_it(kind) for is_it in (types.is_string, types.is_large_string, types.is_string_view)
    )


def _to_matrix(name: str, column: Any) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute

    lengths = np.unique(pyarrow.compute.list_value_length(column).to_numpy(zero_copy_only=False))
    if len(lengths) > 1:
        raise InvalidArgumentError(
            f"column {name!r} has lists of {lengths[0]} to {lengths[-1]} values; expected one length"
        )
    values = _to_numpy(name, pa.chunked_array([column.flatten()]))
    return values.reshape(len(column), lengths[0] if len(lengths) else 0)


def _read_npz(paths: Sequence[str], file_system: FileSystem) -> dict[str, np.ndarray]:
    if len(paths) > 1:
        raise InvalidArgumentError(f"there are {len(paths)} .npz files; expected one")
    local_path = file_system.local_path(paths[0])
    try:
        if local_path is not None:
            return _map_npz(local_path)
        with file_system.open(paths[0]) as stream, np.load(stream) as arrays:
            return _decoded(dict(arrays))
    except (ValueError, zipfile.BadZipFile) as error:  # pickled objects are refused with the former
        raise InvalidArgumentError(f"it cannot be read: {error}") from error


def _map_npz(local_path: str) -> dict[str, np.ndarray]:
    with np.load(local_path) as arrays, zipfile.ZipFile(local_path) as archive:
        return _decoded(
            {
                info.filename.removesuffix(".npy"): _map_member(local_path, info)
                if info.compress_type == zipfile.ZIP_STORED
                else arrays[info.filename.removesuffix(".npy")]
                for info in archive.infolist()
            }
        )


def _map_member(local_path: str, info: zipfile.ZipInfo) -> np.ndarray:
    """Maps an array that lies uncompressed in a zip file; `np.load` would copy it."""
    with Path(local_path).open("rb") as stream:
        stream.seek(info.header_offset)
        lengths = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
        stream.seek(sum(lengths), 1)
        version = np.lib.format.read_magic(stream)
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = read_header(stream)
        if dtype.hasobject:
            raise InvalidArgumentError(f"array {info.filename!r} holds pickled objects")
        offset = stream.tell()
    if not np.prod(shape):  # nothing there to map
        return np.zeros(shape, dtype)
    order: Any = "F" if is_fortran else "C"
    return np.memmap(local_path, dtype, "r", offset, shape, order)


def _decoded(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns text values as bytes; keys are left to the index."""
    return {
        name: _encode_text(array) if array.dtype.kind in "SU" and name != KEY_COLUMN else array
        for name, array in arrays.items()
    }


def _encode_text(array: np.ndarray) -> np.ndarray:
    encoded = np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array
    return encoded.astype(np.object_)
