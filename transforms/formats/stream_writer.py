"""Formats whose files are rows one after the other: rows are encoded, perhaps compressed, and written."""

import zlib
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa
from typing_extensions import override

from transforms.formats.part_writer import NO_TENSORS, PartWriter, RowTensors, check_same_schema
from transforms.storage import DigestingSink, WrittenFile

Encode = Callable[[pa.RecordBatch, RowTensors], Iterable[Any]]

_CHUNK_ROWS = 16_384
_CHUNK_BYTES = 8 << 20
_GZIP_FORMAT = (
    31  # of zlib's wbits: gzip, window of 32 KiB. Its header has no time, so files repeat.
)
_GZIP_LEVEL = 1  # numbers hardly shrink further, and higher ones take several times as long


class StreamWriter(PartWriter):
    """Writes what a pure function makes of some rows at a time. One thread at a time."""

    def __init__(self, sink: DigestingSink, encode: Encode, *, with_gzip: bool = False) -> None:
        """Wraps the sink.

        Args:
            sink: The file.
            encode: Returns the bytes of rows, in pieces.
            with_gzip: Whether to compress them.
        """
        self._sink = sink
        self._encode = encode
        self._compressor = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT) if with_gzip else None
        self._schema: pa.Schema | None = None
        self._rows = 0

    @property
    @override
    def rows(self) -> int:
        return self._rows

    @override
    def write(self, columns: pa.RecordBatch, tensors: RowTensors = NO_TENSORS) -> None:
        if self._schema is None:
            self._schema = columns.schema
        check_same_schema(self._schema, columns.schema)
        step = chunk_rows(columns, tensors)
        for start in range(0, columns.num_rows, step):
            stop = min(start + step, columns.num_rows)
            for piece in self._encode(columns.slice(start, step), tensors.slice(start, stop)):
                self._write(piece)
        self._rows += columns.num_rows

    @override
    def close(self) -> None:
        if self._compressor is not None:
            self._sink.write(self._compressor.flush())

    @override
    def abandon(self) -> None:
        self._sink.discard()

    @override
    def written(self) -> WrittenFile:
        return self._sink.written()

    def _write(self, piece: Any) -> None:
        if self._compressor is not None:
            piece = self._compressor.compress(piece)
        self._sink.write(piece)


def chunk_rows(columns: pa.RecordBatch, tensors: RowTensors) -> int:
    """Returns how many rows to encode at a time, for the copies that this makes to stay small."""
    arrays = [columns, *tensors.inputs.values(), *tensors.outputs.values()]
    num_bytes = sum(getattr(each, "nbytes", 0) for each in arrays)  # not all tensors tell
    row_bytes = max(1, num_bytes // max(1, columns.num_rows))
    return max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // row_bytes))
