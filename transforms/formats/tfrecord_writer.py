"""TFRecord output: each record between its length and two checksums, with gzip or without."""

import gzip
import io
import struct
import zlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import crc32c
import numpy as np
import pyarrow as pa

from servable_core.errors import DataLossError
from servable_core.runtime.masked_crc32c import masked, masked_crc32c
from transforms.formats.example_bytes import to_examples
from transforms.formats.message_bytes import content_of, of_array, of_matrix
from transforms.formats.part_writer import PartWriter, RowTensors
from transforms.formats.stream_writer import StreamWriter
from transforms.storage import DigestingSink, file_system_for

_HEADER = np.dtype([("length", "<u8"), ("checksum", "<u4")])
_CHECKSUM = np.dtype("<u4")
_LENGTH = struct.Struct("<Q")
_GZIP_SUFFIX = ".gz"
_BUFFER_BYTES = 1 << 20


def example_writer(sink: DigestingSink, *, with_gzip: bool = False) -> PartWriter:
    """Returns a writer of a tf.train.Example for each row; `example_bytes` says of what type."""
    return StreamWriter(sink, _encode_examples, with_gzip=with_gzip)


def _encode_examples(columns: pa.RecordBatch, _: RowTensors) -> Iterable[Any]:
    return [frames(to_examples(columns))]


def frames(records: pa.LargeBinaryArray) -> memoryview:
    """Returns the records as a TFRecord file has them."""
    content, offsets = content_of(records)
    headers = of_matrix(_headers(np.diff(offsets)))
    checksums = of_matrix(_checksums(content, offsets))
    framed = (headers + of_array(records) + checksums).joined(len(records))
    octets, ends = content_of(framed)
    return octets[ends[0] : ends[-1]].data


def _headers(lengths: np.ndarray) -> np.ndarray:
    """Returns length and checksum of each record; equal lengths are many, so each is hashed once."""
    distinct, places = np.unique(lengths, return_inverse=True)
    headers = np.empty(len(distinct), _HEADER)
    headers["length"] = distinct
    headers["checksum"] = [masked_crc32c(each.tobytes()) for each in distinct.astype("<u8")]
    return headers[places]


def _checksums(content: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Returns `masked_crc32c` of each record; hashing alone takes a call for each."""
    view, crc = content.data, crc32c.crc32c
    crcs = np.array([crc(view[start:end]) for start, end in pairwise(offsets.tolist())], np.uint32)
    return masked(crcs).astype(_CHECKSUM)


def count_frames(path: str) -> int:
    """Returns the records of the file at `path`, which is gzip if its name says so.

    Believes the lengths; it is for files that were written here.

    Raises:
        DataLossError: The file is cut off.
    """
    count = 0
    with file_system_for(path).open(path) as raw:
        stream: Any = (
            io.BufferedReader(raw, _BUFFER_BYTES) if isinstance(raw, io.RawIOBase) else raw
        )
        if path.endswith(_GZIP_SUFFIX):
            stream = io.BufferedReader(gzip.GzipFile(fileobj=stream), _BUFFER_BYTES)
        try:
            while header := stream.read(_HEADER.itemsize):
                _skip(stream, header)
                count += 1
        except (EOFError, gzip.BadGzipFile, zlib.error, struct.error) as error:
            raise DataLossError(
                f"{path} ends within record {count + 1}: it was cut off; write it again ({error})"
            ) from error
    return count


def _skip(stream: Any, header: bytes) -> None:
    rest = _LENGTH.unpack_from(header)[0] + _CHECKSUM.itemsize
    if len(header) < _HEADER.itemsize or len(stream.read(rest)) < rest:
        raise EOFError("its bytes are fewer than its length says")
