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

from servable_core.errors import DataLossError, InvalidArgumentError
from transforms.input_batch import only_rows
from transforms.storage import file_system_for, is_local

_ARROW_SCHEMA_KEY = b"ARROW:schema"


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
        hints = (file.metadata.metadata or {}).get(_ARROW_SCHEMA_KEY)
        with self._lock:
            last = self._last
        if last is not None and last[1] == hints and last[0].equals(columns):
            return last[2]
        schema = file.schema_arrow.remove_metadata()
        with self._lock:
            self._last = (columns, hints, schema)
        return schema


_last_schema = _LastSchema()


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


@contextmanager
def _open(path: str) -> Iterator[pq.ParquetFile]:
    with _open_sized(path) as (file, _):
        yield file


@contextmanager
def _open_sized(path: str) -> Iterator[tuple[pq.ParquetFile, int]]:
    with _data_errors(path):
        if is_local(path):
            size_bytes = Path(path).stat().st_size
            file = pq.ParquetFile(path, memory_map=True)
        else:
            stream = file_system_for(path).open(path)
            stream.seek(0, io.SEEK_END)
            size_bytes = stream.tell()
            file = pq.ParquetFile(stream, pre_buffer=True)
    with file:
        yield file, size_bytes


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
