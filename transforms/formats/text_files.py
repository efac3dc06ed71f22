"""Text files, plain or gzip by their content, and what is done about rows that cannot be read."""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import pyarrow as pa

from servable_core.errors import Code, DataLossError, InvalidArgumentError
from transforms.bad_records import BadRecord, Stage
from transforms.formats.arrow_errors import may_pass
from transforms.input_batch import InputBatch, only_rows
from transforms.storage import file_system_for, is_local

FAIL, DEAD_LETTER = "fail", "dead_letter"
_CODE = Code.INVALID_ARGUMENT.name  # which takes a while, if each of many lines is bad
_GZIP_MAGIC = b"\x1f\x8b"
_SALVAGED_BYTES = 4096  # at a time, so that hardly more than these are lost before damage


class CutOffError(DataLossError):
    """From some place on, the rows of a file cannot be told from one another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextFile:
    """A file that is being read from its start to its end.

    Attributes:
        stream: Its text, decompressed, as pyarrow's readers take it.
        raw: The file as it is stored.
        is_compressed: Whether the two differ.
    """

    stream: Any
    raw: Any
    is_compressed: bool

    def position(self) -> int:
        """Returns how many bytes of the stored file have been read, read ahead included."""
        return int(self.raw.tell())

    def head(self, num_bytes: int) -> bytes:
        """Returns the first lines, whole ones only, of about so many bytes; reads from the start."""
        parts: list[bytes] = []
        left = num_bytes
        is_whole = False
        while left > 0 and not is_whole:
            try:
                parts.append(self.stream.read(left))
            except OSError as error:
                if may_pass(error) or not parts or not isinstance(self.stream, _UpToDamage):
                    raise
                break
            left -= len(parts[-1])
            is_whole = not parts[-1]
        text = b"".join(parts)
        return text if is_whole else text[: text.rfind(b"\n") + 1] or text


class _UpToDamage:
    """A compressed stream, of which all is read that stands before damage, and then the error."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._error: OSError | None = None

    def read(self, num_bytes: int) -> bytes:
        """Returns at most so many bytes; none at the end."""
        if self._error is not None:
            raise self._error
        parts: list[bytes] = []
        left = num_bytes
        while left > 0:
            try:
                parts.append(self._stream.read(min(left, _SALVAGED_BYTES)))
            except OSError as error:
                if may_pass(error) or not any(parts):
                    raise
                self._error = error
                break
            if not parts[-1]:
                break
            left -= len(parts[-1])
        return b"".join(parts)


@contextmanager
def open_text(path: str, on_error: str = FAIL) -> Iterator[TextFile]:
    """Opens the file at `path`.

    Args:
        path: The file.
        on_error: With DEAD_LETTER, all that stands before damage to compressed data can be read.

    Raises:
        CutOffError: The compressed data are damaged or cut off; also while it is read.
    """
    with _compression_errors(path), _open_raw(path) as raw:
        is_compressed = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        raw.seek(0)
        if not is_compressed:
            yield TextFile(stream=raw, raw=raw, is_compressed=False)
            return
        with pa.CompressedInputStream(raw, "gzip") as content:
            stream = content if on_error == FAIL else _UpToDamage(content)
            yield TextFile(stream=stream, raw=raw, is_compressed=True)


def _open_raw(path: str) -> Any:
    if is_local(path):
        return pa.OSFile(path)
    stream: BinaryIO = file_system_for(path).open(path)
    stream.seek(0, io.SEEK_SET)
    return pa.PythonFile(stream, mode="r")


@contextmanager
def _compression_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if may_pass(error):
            raise
        raise CutOffError(
            f"{path} is compressed, and damaged or cut off: {error}; copy or write it again"
        ) from error


def bad_line(path: str, row: int, message: str, record: bytes, offset: int | None) -> BadRecord:
    """Returns the record of a row that is not what the format, or the plan, says."""
    return BadRecord(
        source_file=path,
        source_row=row,
        byte_offset=offset,
        stage=Stage.PARSE,
        code=_CODE,
        message=message,
        record=record,
    )


def settle(
    batches: Iterable[InputBatch], path: str, first_row: int, end_row: int | None, on_error: str
) -> Iterator[InputBatch]:
    """Yields the rows before `end_row`, and bad records as they were found, or an error instead.

    Args:
        batches: Rows of one file in order, beside all bad records up to the last of them.
        path: The file.
        first_row: Number of the first row.
        end_row: Number of the first row that is not wanted; None wants all.
        on_error: FAIL or DEAD_LETTER.

    Raises:
        InvalidArgumentError: With FAIL, a wanted row is bad.
        CutOffError: With FAIL, wanted rows cannot be told from one another. With DEAD_LETTER, they
            are one bad record together.
    """
    if on_error != FAIL:
        batches = up_to_the_cut(batches, path, first_row)
    for batch in batches:
        kept = batch if end_row is None else _before(batch, end_row)
        if on_error == FAIL and kept.bad_records:
            first = min(kept.bad_records, key=lambda bad: bad.source_row or 0)
            raise InvalidArgumentError(
                f"row {first.source_row} of {first.source_file}: {first.message}; mend it, or go on without such rows with --on_error=dead_letter"
            )
        if kept.num_rows or kept.bad_records:
            yield kept
        if end_row is not None and (kept is not batch or _last_row(batch) == end_row - 1):
            return


def up_to_the_cut(batches: Iterable[InputBatch], path: str, first_row: int) -> Iterator[InputBatch]:
    """Yields the batches, and in place of a CutOffError a bad record for all rows behind them."""
    row = first_row
    try:
        for batch in batches:
            row = max(row, _last_row(batch) + 1)
            yield batch
    except CutOffError as error:
        yield InputBatch(columns=only_rows(0), bad_records=(_lost_rows(path, row, error),))


def _lost_rows(path: str, row: int, error: CutOffError) -> BadRecord:
    return BadRecord(
        source_file=path,
        source_row=row,
        byte_offset=None,
        stage=Stage.READ,
        code=error.code.name,
        message=f"this row and all behind it cannot be read, however many they are: {error}",
    )


def _before(batch: InputBatch, end_row: int) -> InputBatch:
    num_rows = sum(min(each.num_rows, max(0, end_row - each.first_row)) for each in batch.origins)
    bad_records = tuple(
        each for each in batch.bad_records if each.source_row is None or each.source_row < end_row
    )
    if num_rows == batch.num_rows and len(bad_records) == len(batch.bad_records):
        return batch
    return replace(batch.slice(0, num_rows), bad_records=bad_records)


def _last_row(batch: InputBatch) -> int:
    ends = [each.first_row + each.num_rows - 1 for each in batch.origins]
    ends += [each.source_row for each in batch.bad_records if each.source_row is not None]
    return max(ends, default=-1)
