"""Parquet: footers for the plan, row groups as RecordBatches for the workers."""

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from servable_core.errors import DataLossError
from transforms.formats.parquet_types import (
    ARROW_SCHEMA_KEY,
    as_schema,
    may_hold_null_lists,
    plain_schema,
    without_arrow_types,
)
from transforms.input_batch import only_rows
from transforms.storage import file_system_for, is_local


@dataclass(frozen=True, kw_only=True, slots=True)
class RowGroup:
    """A row group as the footer shows it.

    Attributes:
        num_rows: Rows in it.
        size_bytes: Its share of the file's bytes, by the size of its decoded pages.
    """

    num_rows: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetFooter:
    """What planning needs of one file.

    Attributes:
        schema: Arrow schema of its columns; one object for successive files that agree.
        row_groups: Its row groups in order.
    """

    schema: pa.Schema
    row_groups: tuple[RowGroup, ...]


def read_footer(path: str) -> ParquetFooter:
    """Reads only the footer of the file at `path`.

    Raises:
        DataLossError: The file is no Parquet file, is truncated, or its footer is corrupt.
    """
    with _open_sized(path) as (file, file_bytes):
        metadata = file.metadata
        groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        rows = [int(group.num_rows) for group in groups]
        data_bytes = max(0, file_bytes - int(metadata.serialized_size))
        sizes = share_out(data_bytes, [int(group.total_byte_size) for group in groups])
        row_groups = tuple(
            RowGroup(num_rows=each, size_bytes=size) for each, size in zip(rows, sizes, strict=True)
        )
        return ParquetFooter(schema=_last_schema.of(file), row_groups=row_groups)


def share_out(total: int, weights: Sequence[int]) -> list[int]:
    """Returns `total` divided in proportion to `weights`; evenly where they are all zero.

    Asking each column chunk for its compressed size would cost a footer of many columns more than
    all the rest of it.
    """
    weights = [max(0, each) for each in weights]
    if not any(weights):
        weights = [1] * len(weights)
    sum_of_weights = sum(weights)
    return [total * each // sum_of_weights for each in weights]


class _LastSchema:
    """The schema of the file read last, since the next one mostly has the same. Thread-safe.

    Converting a schema of hundreds of columns takes long, and a plan of many files would hold many.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[Any, Any, pa.Schema] | None = None  # Guarded by _lock.

    def of(self, file: pq.ParquetFile) -> pa.Schema:
        """Returns the Arrow schema of `file`."""
        columns = file.metadata.schema
        hints = (file.metadata.metadata or {}).get(ARROW_SCHEMA_KEY)
        with self._lock:
            last = self._last
        if last is not None and last[1] == hints and last[0].equals(columns):
            return last[2]
        schema = plain_schema(file.schema_arrow)
        with self._lock:
            self._last = (columns, hints, schema)
        return schema


_last_schema = _LastSchema()


def read_rows(
    path: str, first_group: int, end_group: int, columns: Sequence[str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yields the rows of row groups [first_group, end_group), about `batch_rows` at a time.

    Reads only `columns`, in one pass, on the caller's thread. Checksums of pages are verified where
    the writer has stored some.

    Raises:
        DataLossError: The data cannot be decoded.
    """
    groups = list(range(first_group, end_group))
    with (
        _open(path) as file,
        _data_errors(path),
        _for_reading(path, file, groups, columns) as reader,
    ):
        schema = plain_schema(file.schema_arrow)
        for batch in reader.iter_batches(
            batch_size=batch_rows, row_groups=groups, columns=list(columns), use_threads=False
        ):
            yield as_schema(batch, schema) if columns else only_rows(batch.num_rows)


@contextmanager
def _for_reading(
    path: str, file: pq.ParquetFile, groups: Sequence[int], columns: Sequence[str]
) -> Iterator[pq.ParquetFile]:
    """Yields `file`, or where that would fail, the same without the types that Arrow has stored."""
    if not may_hold_null_lists(file, groups, columns):
        yield file
        return
    with file_system_for(path).open(path) as stream:
        metadata = without_arrow_types(stream)
    with _open_sized(path, metadata) as (reader, _):
        yield reader


def read_head(path: str, num_rows: int) -> pa.Table:
    """Returns the first `num_rows` rows with all columns."""
    with _open(path) as file:
        schema = plain_schema(file.schema_arrow)
        num_groups = file.metadata.num_row_groups
    batches = read_rows(path, 0, num_groups, schema.names, max(1, num_rows))
    first = next(batches, None)
    table = pa.Table.from_batches([] if first is None else [first], schema)
    return table.slice(0, num_rows)


@contextmanager
def _open(path: str) -> Iterator[pq.ParquetFile]:
    with _open_sized(path) as (file, _):
        yield file


@contextmanager
def _open_sized(
    path: str, metadata: pq.FileMetaData | None = None
) -> Iterator[tuple[pq.ParquetFile, int]]:
    with _data_errors(path):
        if is_local(path):
            size_bytes = Path(path).stat().st_size
            file = pq.ParquetFile(
                path, metadata=metadata, memory_map=True, page_checksum_verification=True
            )
        else:
            stream = file_system_for(path).open(path)
            stream.seek(0, io.SEEK_END)
            size_bytes = stream.tell()
            file = pq.ParquetFile(
                stream, metadata=metadata, pre_buffer=True, page_checksum_verification=True
            )
    with file:
        yield file, size_bytes


@contextmanager
def _data_errors(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataLossError(
            f"{path} cannot be read as Parquet: {_one_line(error)}; is it complete? Give --input_format if it is something else"
        ) from error
    except OSError as error:
        if error.errno is not None:  # the operating system's, and it may pass
            raise
        raise DataLossError(
            f"{path} is a corrupt Parquet file: {_one_line(error)}; copy or write it again"
        ) from error


def _one_line(error: Exception) -> str:
    """Returns the first line of Arrow's message, without what it quotes of a corrupt file."""
    line = str(error).strip().split("\n", 1)[0]
    return "".join(sign for sign in line if sign.isprintable()).rstrip(". ")
