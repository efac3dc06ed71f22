"""The framing of TFRecord files, plain or gzip: each record stands between a header and a checksum."""

import gzip
import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servable_core.errors import DataLossError
from servable_core.runtime.masked_crc32c import masked_crc32c
from transforms.storage import file_system_for

_HEADER = struct.Struct("<QI")  # length of the record, checksum of the length
_CHECKSUM = struct.Struct("<I")
_GZIP_MAGIC = b"\x1f\x8b"
FRAME_BYTES = _HEADER.size + _CHECKSUM.size


def read_head(path: str, num_records: int) -> list[bytes]:
    """Returns the first records of the file, with their checksums verified.

    Raises:
        DataLossError: The file is cut off, or is not TFRecord.
    """
    return list(itertools.islice(verified_records(path, path), num_records))


def count_records(path: str, limit: int) -> int:
    """Returns the number of records, or `limit` when there are at least that many.

    Raises:
        DataLossError: The file is cut off.
    """
    count = 0
    with _open(path, path) as stream:
        while count < limit and (header := stream.read(_HEADER.size)):
            if len(header) < _HEADER.size:
                raise not_tfrecord(path, f"it ends within a header, after {count} records")
            stream.seek(_HEADER.unpack(header)[0] + _CHECKSUM.size, 1)
            count += 1
    return count


def verified_records(name: str, path: str) -> Iterator[bytes]:
    """Yields all records of the file at `path`, which messages call `name`.

    Raises:
        DataLossError: A checksum is wrong, or the file is cut off.
    """
    with _open(name, path) as stream:
        yield from _verified(name, stream)


def _verified(name: str, stream: Any) -> Iterator[bytes]:
    offset = 0
    while header := stream.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise not_tfrecord(name, f"it ends within a header at byte {offset}")
        length, checksum = _HEADER.unpack(header)
        if masked_crc32c(header[:8]) != checksum:
            raise not_tfrecord(name, f"wrong checksum of the length at byte {offset}")
        record, footer = stream.read(length), stream.read(_CHECKSUM.size)
        if len(footer) < _CHECKSUM.size:
            raise not_tfrecord(name, f"it ends within the record at byte {offset}")
        if masked_crc32c(record) != _CHECKSUM.unpack(footer)[0]:
            raise not_tfrecord(name, f"wrong checksum of the record at byte {offset}")
        yield record
        offset += FRAME_BYTES + length


def not_tfrecord(path: str, reason: str) -> DataLossError:
    """Returns the error for a file that is something else, or damaged."""
    return DataLossError(
        f"{path} is not TFRecord, or is corrupt: {reason}; give --input_format if it is something else"
    )


def is_gzip_file(local_path: str) -> bool:
    """Whether a local file is gzip, judged by its first bytes rather than by its name."""
    with Path(local_path).open("rb") as stream:
        return _is_gzip(stream.read(_HEADER.size))


def _is_gzip(head: bytes) -> bool:
    """Whether a file begins so; a record of 35,615 bytes has gzip's magic number for its length."""
    if not head.startswith(_GZIP_MAGIC):
        return False
    is_record = len(head) == _HEADER.size and masked_crc32c(head[:8]) == (_HEADER.unpack(head)[1])
    return not is_record


@contextmanager
def _open(name: str, path: str) -> Iterator[Any]:
    """Opens the file for one read from its start, decompressed if need be."""
    with file_system_for(path).open(path) as raw:
        stream = io.BufferedReader(raw) if isinstance(raw, io.RawIOBase) else raw
        is_gzip = _is_gzip(stream.read(_HEADER.size))
        stream.seek(0)
        with gzip_errors(name):
            yield io.BufferedReader(gzip.GzipFile(fileobj=stream)) if is_gzip else stream


@contextmanager
def gzip_errors(path: str) -> Iterator[None]:
    """Tells what is wrong with a compressed file as data loss."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise not_tfrecord(path, str(error)) from error
