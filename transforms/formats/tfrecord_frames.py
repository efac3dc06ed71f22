"""The framing of TFRecord content: each record stands between a header and a checksum. Pure.

The lengths chain, so finding the frames is a loop; all else is done for many of them at a time.
"""

import itertools
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import crc32c
import numpy as np

from servable_core.runtime.masked_crc32c import masked, masked_crc32c
from transforms.formats.tfrecord_content import DecompressionError

HEADER_BYTES = 12  # length of the record, checksum of the length
FOOTER_BYTES = 4  # checksum of the record
FRAME_BYTES = HEADER_BYTES + FOOTER_BYTES
MAX_RECORD_BYTES = (1 << 31) - 1  # of a proto, so of an Example
_LENGTH = struct.Struct("<Q")
_FAR_AWAY = 1 << 62  # stands for where damaged lengths lead


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Good records, one directly behind the other.

    Attributes:
        offsets: Where their frames begin.
        records: Their payloads.
    """

    offsets: np.ndarray
    records: list[bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """What could not be read.

    Attributes:
        first_byte: Where it begins.
        end_byte: Where it ends; None where that is the end of the content.
        reason: What is wrong, with the place.
        record: The payload of the one record whose checksum is wrong; None if frames are lost, which
            ends the reading.
    """

    first_byte: int
    end_byte: int | None
    reason: str
    record: bytes | None = None


def scan_frames(
    chunks: Iterable[bytes], first_byte: int = 0, *, check_crc: bool = True
) -> Iterator[Run | Damage]:
    """Yields all records of the content, and what is damaged in it, in order.

    Args:
        chunks: The content, in pieces of any size; may raise `DecompressionError`.
        first_byte: Where the content begins, for the places told.
        check_crc: Whether checksums are verified.
    """
    buffer = _Buffer(first_byte)
    reason = None
    try:
        for chunk in chunks:
            if not buffer.add(chunk):
                continue
            content, start = buffer.content(), buffer.first_byte
            bounds = _whole_frames(content)
            num_good = num_good_headers(content, bounds[:-1]) if check_crc else len(bounds) - 1
            yield from _records(content, bounds[: num_good + 1], start, check_crc=check_crc)
            buffer.drop(int(bounds[num_good]))
            reason = buffer.wrong_header(check_crc=check_crc)
            if reason is not None:
                break
    except DecompressionError as error:
        reason = f"{error}, at byte {buffer.end_byte}"
    reason = reason or buffer.rest()
    if reason is not None:
        yield Damage(first_byte=buffer.first_byte, end_byte=None, reason=reason)


class _Buffer:
    """Content from the last frame's end on. Large records are joined once, when they are whole."""

    def __init__(self, first_byte: int) -> None:
        self.first_byte = first_byte
        self._chunks: list[bytes] = []
        self._num_bytes = 0
        self._wanted_bytes = HEADER_BYTES

    @property
    def end_byte(self) -> int:
        return self.first_byte + self._num_bytes

    def add(self, chunk: bytes) -> bool:
        """Takes more content; returns whether it now has what the next frame needs."""
        self._chunks.append(chunk)
        self._num_bytes += len(chunk)
        return self._num_bytes >= self._wanted_bytes

    def content(self) -> bytes:
        if len(self._chunks) > 1:
            self._chunks = [b"".join(self._chunks)]
        return self._chunks[0] if self._chunks else b""

    def drop(self, num_bytes: int) -> None:
        """Forgets what has been read, and finds what the next frame needs."""
        rest = self.content()[num_bytes:]
        self.first_byte += num_bytes
        self._chunks, self._num_bytes = [rest] if rest else [], len(rest)
        has_header = len(rest) >= HEADER_BYTES
        self._wanted_bytes = (
            FRAME_BYTES + _LENGTH.unpack_from(rest)[0] if has_header else HEADER_BYTES
        )

    def wrong_header(self, *, check_crc: bool) -> str | None:
        """Returns what is wrong with the header that the content begins with, if one is there."""
        head = self.content()[:HEADER_BYTES]
        if len(head) < HEADER_BYTES:
            return None
        if check_crc and masked_crc32c(head[:8]).to_bytes(4, "little") != head[8:]:
            return f"wrong checksum of the length at byte {self.first_byte}"
        length = _LENGTH.unpack_from(head)[0]
        if length > MAX_RECORD_BYTES:
            return f"a length of {length} at byte {self.first_byte}, more than a proto can have"
        return None

    def rest(self) -> str | None:
        """Returns what is wrong with content that ends here, if anything is left of it."""
        if not self._num_bytes:
            return None
        part = "a header" if self._num_bytes < HEADER_BYTES else "the record"
        return f"it ends within {part} at byte {self.first_byte}"


def find_frames(content: bytes) -> np.ndarray:
    """Returns where the frames in `content` begin, and where the last one ends: perhaps behind it."""
    bounds = [0]
    add, length_at, end = bounds.append, _LENGTH.unpack_from, len(content)
    position = 0
    try:
        while position < end:
            position += length_at(content, position)[0] + FRAME_BYTES
            add(position)
    except struct.error:  # the content ends within a length
        return np.array(bounds)
    bounds[-1] = min(position, _FAR_AWAY)
    return np.array(bounds)


def _whole_frames(content: bytes) -> np.ndarray:
    bounds = find_frames(content)
    return bounds[:-1] if bounds[-1] > len(content) else bounds


def num_good_headers(content: bytes, starts: np.ndarray) -> int:
    """Returns how many of the headers that begin at `starts` come before one with a wrong checksum."""
    if not len(starts):
        return 0
    headers = _windows(content, HEADER_BYTES)[starts]
    stored = np.ascontiguousarray(headers[:, 8:]).view("<u4")[:, 0]
    wrong = masked(_length_crcs(headers[:, :8])) != stored
    return int(wrong.argmax()) if wrong.any() else len(starts)


def _records(
    content: bytes, bounds: np.ndarray, first_byte: int, *, check_crc: bool
) -> Iterator[Run | Damage]:
    """Yields the records of frames whose headers are right."""
    records = _payloads(content, bounds.tolist())
    offsets = bounds + first_byte
    begin = 0
    for index in _wrong_records(content, bounds, records) if check_crc else []:
        if begin < index:
            yield Run(offsets=offsets[begin:index], records=records[begin:index])
        start, stop = offsets[index : index + 2].tolist()
        yield Damage(
            first_byte=start,
            end_byte=stop,
            reason=f"wrong checksum of the record at byte {start}",
            record=records[index],
        )
        begin = index + 1
    if begin < len(records):
        yield Run(offsets=offsets[begin:-1], records=records[begin:])


def _payloads(content: bytes, bounds: list[int]) -> list[bytes]:
    return [
        content[start + HEADER_BYTES : stop - FOOTER_BYTES]
        for start, stop in itertools.pairwise(bounds)
    ]


def _wrong_records(content: bytes, bounds: np.ndarray, records: list[bytes]) -> list[int]:
    if not records:
        return []
    computed = np.fromiter(map(crc32c.crc32c, records), np.uint32, len(records))
    footers = _windows(content, FOOTER_BYTES)[bounds[1:] - FOOTER_BYTES]
    wrong: list[int] = np.flatnonzero(masked(computed) != footers.view("<u4")[:, 0]).tolist()
    return wrong


def _windows(content: bytes, size: int) -> np.ndarray:
    """Returns a view: all stretches of `size` bytes, by where they begin."""
    return np.lib.stride_tricks.sliding_window_view(np.frombuffer(content, np.uint8), size)


def _length_crcs(lengths: np.ndarray) -> np.ndarray:
    """Returns the CRC-32C of each row of 8 bytes: the sum of what each byte makes of it."""
    crcs = _BYTE_CRCS[0][lengths[:, 0]] ^ np.uint32(_ZERO_CRC)
    for index in range(1, 8):
        if lengths[:, index].any():  # lengths are small, most bytes of them zero
            crcs ^= _BYTE_CRCS[index][lengths[:, index]]
    return crcs


_ZERO_CRC = crc32c.crc32c(bytes(8))
# By place and value of a byte, how it changes the CRC of eight zeros.
_BYTE_CRCS = np.array(
    [
        [crc32c.crc32c(bytes(place) + bytes([value]) + bytes(7 - place)) ^ _ZERO_CRC]
        for place in range(8)
        for value in range(256)
    ],
    np.uint32,
).reshape(8, 256)
