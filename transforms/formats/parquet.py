"""Parquet: footers for the plan, row groups as RecordBatches for the workers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from servable_core.errors import DataLossError, InvalidArgumentError
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
        InvalidArgumentError: A fixed-size list is null.
    """
    groups = list(range(first_group, end_group))
    with _open(path) as file, _data_errors(path):
        for batch in file.iter_batches(
            batch_size=batch_rows, row_groups=groups, columns=list(columns), use_threads=False
        ):
            yield _nullable(batch) if columns else only_rows(batch.num_rows)


def _nullable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Returns the batch with every column nullable, however its writer has marked it.

    Files of one data set differ in that, and their rows share batches.
    """
    return pa.RecordBatch.from_arrays(batch.columns, names=batch.schema.names)


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
        if "Expected all lists to be of size" in str(error):  # what Arrow says of a null among them
            raise InvalidArgumentError(
                f"{path}: a column of fixed-size lists has a null, which cannot be read; write it with its nulls filled in"
            ) from error
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
