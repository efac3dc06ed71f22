"""The content of TFRecord files in chunks: plain, gzip or zlib, judged by the first bytes.

Remote files are streamed: nothing is spooled, and each byte is read once.
"""

import itertools
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from servable_core.runtime.masked_crc32c import masked_crc32c
from transforms.storage import file_system_for

_CHUNK_BYTES = 1 << 20
_HEAD_BYTES = 12  # of a record: its length and the length's checksum
_GZIP_MAGIC = b"\x1f\x8b"
_DEFLATE = 8
_GZIP_OR_ZLIB = zlib.MAX_WBITS + 32  # zlib's way to say that the header decides


class DecompressionError(Exception):
    """Compressed content is damaged or cut off; all that stands before has been yielded."""


class FileContent:
    """The decompressed content of a file, read once, front to back.

    Args:
        path: The file.
        first_byte: Where to begin; only a file that is not compressed may begin elsewhere than at 0.
        end_byte: Where to end; None for the end of the file.
    """

    def __init__(self, path: str, first_byte: int = 0, end_byte: int | None = None) -> None:
        self._path = path
        self._first_byte = first_byte
        self._left = None if end_byte is None else end_byte - first_byte
        self._file_bytes = 0
        self._content_bytes = 0

    @property
    def share(self) -> float:
        """Returns how many bytes of the file a byte of the content stood for, so far."""
        return self._file_bytes / max(1, self._content_bytes)

    def chunks(self) -> Iterator[bytes]:
        """Yields the content.

        Raises:
            DecompressionError: It is compressed, and damaged or cut off.
        """
        with file_system_for(self._path).open(self._path) as stream:
            if self._first_byte:
                stream.seek(self._first_byte)
            head = self._read(stream, _HEAD_BYTES)
            rest = iter(partial(self._read, stream, _CHUNK_BYTES), b"")
            if self._first_byte == 0 and is_compressed(head):
                rest = _decompressed(itertools.chain([head], rest))
            elif head:
                rest = itertools.chain([head], rest)
            for chunk in rest:
                self._content_bytes += len(chunk)
                yield chunk

    def _read(self, stream: Any, num_bytes: int) -> bytes:
        if self._left is not None:
            num_bytes = min(num_bytes, self._left - self._file_bytes)
        content: bytes = stream.read(num_bytes)
        self._file_bytes += len(content)
        return content


def is_compressed(head: bytes) -> bool:
    """Whether a file that begins with these (12) bytes is gzip or zlib.

    A length of 35,615 begins like gzip, some others like zlib; their checksum tells.
    """
    is_zlib = len(head) > 1 and head[0] & 15 == _DEFLATE and int.from_bytes(head[:2]) % 31 == 0
    if not (head.startswith(_GZIP_MAGIC) or (is_zlib and head[0] >> 4 <= 7)):
        return False
    return len(head) < _HEAD_BYTES or masked_crc32c(head[:8]).to_bytes(4, "little") != head[8:12]


def _decompressed(compressed: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the content of all members of a gzip file, or of a zlib stream."""
    decompressor = zlib.decompressobj(_GZIP_OR_ZLIB)
    for chunk in compressed:
        rest = chunk
        while rest:
            if decompressor.eof:  # another member, or zeros that fill up a block of a tape
                rest = rest.lstrip(b"\0")
                decompressor = zlib.decompressobj(_GZIP_OR_ZLIB) if rest else decompressor
            else:
                yield from _pieces(decompressor, rest)
                rest = decompressor.unconsumed_tail or decompressor.unused_data
    if not decompressor.eof:
        raise DecompressionError("the compressed data end before their end marker")


def _pieces(decompressor: Any, chunk: bytes) -> Iterator[bytes]:
    """Yields at most one chunk of content; of damaged data, what stands before the damage."""
    before = decompressor.copy()
    try:
        content = decompressor.decompress(chunk, _CHUNK_BYTES)
    except zlib.error as error:
        yield from _before_damage(before, chunk)
        raise DecompressionError(str(error)) from error
    if content:
        yield content


def _before_damage(decompressor: Any, chunk: bytes) -> Iterator[bytes]:
    try:
        for index in range(len(chunk)):
            yield decompressor.decompress(chunk[index : index + 1])
    except zlib.error:
        return
