"""Cuts big TFRecord files into parts at the bounds of frames: as an index beside them tells, or by their headers."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from transforms.formats.tfrecord_blocks import FilePart
from transforms.formats.tfrecord_content import is_compressed
from transforms.formats.tfrecord_frames import (
    FRAME_BYTES,
    HEADER_BYTES,
    find_frames,
    num_good_headers,
)
from transforms.formats.tfrecord_index import WrongIndexError, find_index, read_index
from transforms.storage import file_system_for

_logger = logging.getLogger(__name__)
_SCAN_BYTES = 1 << 20
_LARGE_FRAME_BYTES = 256 << 10  # from here on only headers are read


def cut_file(path: str, size_bytes: int, *, max_bytes: int, max_rows: int) -> Iterator[FilePart]:
    """Yields the parts of a file in order; together they are the file.

    An index beside the file is used if it fits. Otherwise the headers are read, in small pieces, and
    only as far as parts are asked for. Compressed files are one part. So is what lies behind damage:
    its last part reaches to the end, and only reading tells how many records are in there.

    Args:
        path: The file.
        size_bytes: Its length.
        max_bytes: Upper bound of a part; a record that is larger is a part of its own.
        max_rows: Likewise, in records.
    """
    with file_system_for(path).open(path) as stream:
        if is_compressed(stream.read(HEADER_BYTES)):
            yield FilePart(path=path)
            return
        indexed = _cut_by_index(path, stream, size_bytes, max_bytes, max_rows)
        if indexed is not None:
            yield from indexed
            return
        ends = _frame_ends(stream, size_bytes)
        yield from cut_frames(path, ends, size_bytes, max_bytes=max_bytes, max_rows=max_rows)


def cut_frames(
    path: str, ends: Iterable[np.ndarray], size_bytes: int, *, max_bytes: int, max_rows: int
) -> Iterator[FilePart]:
    """Yields parts of as many whole frames as the bounds allow, at least one. Pure.

    Args:
        path: The file.
        ends: Where its frames end, ascending, in arrays of any size.
        size_bytes: Its length; what lies behind the last end belongs to the last part.
        max_bytes: Upper bound of a part.
        max_rows: Likewise, in records.
    """
    first_byte = first_row = end_byte = end_row = 0
    for block in ends:
        index = 0
        while index < len(block):
            by_bytes = int(np.searchsorted(block, first_byte + max_bytes, "right"))
            by_rows = index + max_rows - (end_row - first_row)
            fitting = min(by_bytes, by_rows, len(block))
            if fitting <= index and end_row > first_row:  # the next frame begins a new part
                yield _part(path, first_byte, end_byte, first_row, end_row)
                first_byte, first_row = end_byte, end_row
                continue
            stop = max(fitting, index + 1)
            end_row += stop - index
            end_byte, index = int(block[stop - 1]), stop
    if end_byte < size_bytes:
        yield FilePart(path=path, first_byte=first_byte, end_byte=size_bytes, first_row=first_row)
    elif end_row > first_row:
        yield _part(path, first_byte, end_byte, first_row, end_row)


def _part(path: str, first_byte: int, end_byte: int, first_row: int, end_row: int) -> FilePart:
    return FilePart(
        path=path,
        first_byte=first_byte,
        end_byte=end_byte,
        first_row=first_row,
        num_rows=end_row - first_row,
    )


def _frame_ends(stream: Any, size_bytes: int) -> Iterator[np.ndarray]:
    """Yields where frames end, up to a damaged header or the end of the file."""
    position, num_bytes = 0, _SCAN_BYTES
    while position < size_bytes:
        stream.seek(position)
        content = stream.read(num_bytes)
        bounds = find_frames(content)
        starts = bounds[:-1][bounds[:-1] + HEADER_BYTES <= len(content)]
        num_good = num_good_headers(content, starts)
        ends = position + bounds[1 : num_good + 1]
        whole = ends[ends <= size_bytes]
        yield whole
        if len(whole) == 0 or num_good < len(starts):
            return
        is_large = whole[-1] - (position + starts[len(whole) - 1]) > _LARGE_FRAME_BYTES
        position, num_bytes = int(whole[-1]), HEADER_BYTES if is_large else _SCAN_BYTES


def _cut_by_index(
    path: str, stream: Any, size_bytes: int, max_bytes: int, max_rows: int
) -> list[FilePart] | None:
    """Returns the parts that an index tells, or None if there is none that fits the file."""
    index_path = find_index(path)
    if index_path is None:
        return None
    try:
        ends = read_index(index_path, size_bytes)
        parts = list(cut_frames(path, ends, size_bytes, max_bytes=max_bytes, max_rows=max_rows))
    except WrongIndexError as error:
        _logger.warning("%s is not used: %s", index_path, error)
        return None
    wrong = next((each for each in parts if not _begins_with_frame(stream, each)), None)
    if wrong is not None:
        _logger.warning(
            "%s is not used: at byte %d of %s, no record begins", index_path, wrong.first_byte, path
        )
        return None
    return parts


def _begins_with_frame(stream: Any, part: FilePart) -> bool:
    stream.seek(part.first_byte)
    header = stream.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES or not num_good_headers(header, np.array([0])):
        return False
    length = int.from_bytes(header[:8], "little")
    return part.end_byte is None or part.first_byte + length + FRAME_BYTES <= part.end_byte
