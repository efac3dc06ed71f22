"""Parquet: footers for the plan, row groups as RecordBatches for the workers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from servable_core.errors import DataLossError
from transforms.input_batch import only_rows
from transforms.storage import file_system_for, is_local


@dataclass(frozen=True, kw_only=True, slots=True)
class RowGroup:
    """A row group as the footer shows it.

    Attributes:
        num_rows: Rows in it.
        size_bytes: Its columns' compressed size together.
    """

    num_rows: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetFooter:
    """What planning needs of one file.

    Attributes:
        schema: Arrow schema of its columns.
        row_groups: Its row groups in order.
    """

    schema: pa.Schema
    row_groups: tuple[RowGroup, ...]


def read_footer(path: str) -> ParquetFooter:
    """Reads only the footer of the file at `path`.

    Raises:
        DataLossError: The file is no Parquet file, is truncated, or its footer is corrupt.
    """
    with _open(path) as file:
        metadata = file.metadata
        groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        row_groups = tuple(
            RowGroup(num_rows=group.num_rows, size_bytes=_compressed_bytes(group))
            for group in groups
        )
        return ParquetFooter(schema=file.schema_arrow, row_groups=row_groups)


def read_rows(
    path: str, first_group: int, end_group: int, columns: Sequence[str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yields the rows of row groups [first_group, end_group), about `batch_rows` at a time.

    Reads only `columns`, in one pass, on the caller's thread.

    Raises:
        DataLossError: The data cannot be decoded.
    """
    groups = list(range(first_group, end_group))
    with _open(path) as file, _data_errors(path):
        for batch in file.iter_batches(
            batch_size=batch_rows, row_groups=groups, columns=list(columns), use_threads=False
        ):
            yield batch if columns else only_rows(batch.num_rows)


def read_head(path: str, num_rows: int) -> pa.Table:
    """Returns the first `num_rows` rows with all columns."""
    with _open(path) as file, _data_errors(path):
        batches = file.iter_batches(batch_size=max(1, num_rows), use_threads=False)
        first = next(batches, None)
        table = pa.Table.from_batches([] if first is None else [first], file.schema_arrow)
        return table.slice(0, num_rows)


def _compressed_bytes(row_group: Any) -> int:
    columns = range(row_group.num_columns)
    return sum(int(row_group.column(index).total_compressed_size) for index in columns)


@contextmanager
def _open(path: str) -> Iterator[pq.ParquetFile]:
    with _data_errors(path):
        if is_local(path):
            file = pq.ParquetFile(path, memory_map=True)
        else:
            file = pq.ParquetFile(file_system_for(path).open(path), pre_buffer=True)
    with file:
        yield file


@contextmanager
def _data_errors(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataLossError(
            f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}; is it complete? Give --input_format if it is something else"
        ) from error
    except OSError as error:
        if error.errno is not None:  # the operating system's, and it may pass
            raise
        raise DataLossError(f"{path} is a corrupt Parquet file: {error}") from error
