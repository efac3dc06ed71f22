"""Opens Parquet files, local and remote, and tells damage from what may pass by itself."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from servable_core.errors import DataLossError
from transforms.formats.arrow_errors import may_pass
from transforms.formats.parquet_types import may_hold_null_lists, without_arrow_types
from transforms.storage import file_system_for, is_local

_INVALID = (pa.ArrowInvalid, pa.ArrowNotImplementedError)
DATA_ERRORS = (*_INVALID, OSError)  # of the last, those that may not pass


@contextmanager
def open_parquet(path: str) -> Iterator[pq.ParquetFile]:
    """Opens the file at `path`, for reading with the checksums of its pages.

    Raises:
        DataLossError: It is no Parquet file, is truncated, or its footer is corrupt.
    """
    with open_sized(path) as (file, _):
        yield file


@contextmanager
def open_sized(
    path: str, metadata: pq.FileMetaData | None = None
) -> Iterator[tuple[pq.ParquetFile, int]]:
    """As `open_parquet`, and tells the file's length; with `metadata` instead of its footer."""
    with data_errors(path):
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
def data_errors(path: str) -> Iterator[None]:
    """Makes a DataLossError of what Arrow says of the file when it does not like it."""
    try:
        yield
    except _INVALID as error:
        raise DataLossError(
            f"{path} cannot be read as Parquet: {one_line(error)}; is it complete? Give --input_format if it is something else"
        ) from error
    except UnicodeDecodeError as error:
        raise corrupt(path, "the name of a column is not UTF-8") from error
    except OSError as error:
        if may_pass(error):
            raise
        raise corrupt(path, one_line(error)) from error


def corrupt(path: str, reason: str) -> DataLossError:
    """Returns the error for a file that is Parquet, but damaged."""
    return DataLossError(f"{path} is a corrupt Parquet file: {reason}; copy or write it again")


def one_line(error: Exception) -> str:
    """Returns the first line of Arrow's message, without what it quotes of a corrupt file."""
    line = str(error).strip().split("\n", 1)[0]
    return "".join(sign for sign in line if sign.isprintable()).rstrip(". ")


@contextmanager
def for_reading(
    path: str, file: pq.ParquetFile, groups: Sequence[int], columns: Sequence[str]
) -> Iterator[pq.ParquetFile]:
    """Yields `file`, or where that would fail, the same without the types that Arrow has stored."""
    if not may_hold_null_lists(file, groups, columns):
        yield file
        return
    with file_system_for(path).open(path) as stream:
        metadata = without_arrow_types(stream)
    with open_sized(path, metadata) as (reader, _):
        yield reader
