"""JSON Lines output: one object a row, as `json_text` says."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from servable_core.errors import DataLossError
from transforms.formats.json_text import json_lines
from transforms.formats.message_bytes import content_of
from transforms.formats.part_writer import PartWriter, RowTensors
from transforms.formats.stream_writer import StreamWriter
from transforms.storage import DigestingSink, file_system_for

_BLOCK_BYTES = 1 << 20


def json_lines_writer(sink: DigestingSink) -> PartWriter:
    """Returns a writer of a line for each row."""
    return StreamWriter(sink, _encode)


def _encode(columns: pa.RecordBatch, _: RowTensors) -> Iterable[Any]:
    octets, offsets = content_of(json_lines(columns))
    return [octets[offsets[0] : offsets[-1]].data]


def count_lines(path: str) -> int:
    """Returns the lines of the file at `path`.

    Raises:
        DataLossError: It is cut off: its last line has no end.
    """
    count, last = 0, b"\n"
    with file_system_for(path).open(path) as stream:
        while block := stream.read(_BLOCK_BYTES):
            count, last = count + block.count(b"\n"), block[-1:]
    if last != b"\n":
        raise DataLossError(f"{path} ends within line {count + 1}: it was cut off; write it again")
    return count
