"""Bytes that are no UTF-8, on their way through a reader that takes nothing else.

Each such byte becomes a character that Unicode leaves to private use, and bytes again afterwards.
That character itself is no UTF-8 here, so what comes back is always what was given.
"""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MAX_GROWTH = 4  # times as many bytes as there were
_FIRST = 0x10FE80  # stands for byte 0x80; in UTF-8, f4 8f ba 80
_PREFIX = b"\xf4\x8f"
_ESCAPE = re.compile(rb"\xf4\x8f[\xba\xbb][\x80-\xbf]", re.DOTALL)
_SURROGATE = re.compile("[\udc80-\udcff]")  # what Python's "surrogateescape" makes of such bytes
_FROM_SURROGATE = _FIRST - 0xDC80
_MAX_SEQUENCE_BYTES = 4


class EscapedStream:
    """A stream of bytes, read through and made UTF-8, some whole lines at a time. One reader.

    Where the stream fails, it ends behind its last whole line, so that all before is read.

    Attributes:
        has_escapes: Whether any byte read so far was none.
        error: What the stream failed with, if it has.
    """

    def __init__(self, stream: Any, chunk_bytes: int) -> None:
        """Makes a stream that reads so many bytes at a time."""
        self._stream = stream
        self._chunk_bytes = chunk_bytes
        self._ready = b""
        self._rest = b""  # of a line that the last chunk has cut
        self._has_begun = False
        self._is_over = False
        self.has_escapes = False
        self.error: OSError | None = None
        self.closed = False

    def read(self, num_bytes: int) -> bytes:
        """Returns what comes next: nothing at the end, and else lines, whole ones if there is room.

        There is for `MAX_GROWTH` times the bytes of a chunk. A line that is longer than a chunk comes
        in pieces.
        """
        while not self._ready and not self._is_over:
            self._ready = self._next_lines()
        taken, self._ready = self._ready[:num_bytes], self._ready[num_bytes:]
        self._has_begun = self._has_begun or bool(taken)
        return taken

    def _next_lines(self) -> bytes:
        chunk = self._next_chunk()
        if self.error is not None:
            return b""
        content = self._rest + chunk
        cut = len(content) if self._is_over else content.rfind(b"\n") + 1
        if not cut and len(content) >= self._chunk_bytes:
            cut = _whole_characters(content)
        content, self._rest = content[:cut], content[cut:]
        escaped = escape(content)
        self.has_escapes = self.has_escapes or len(escaped) != len(content)
        return escaped

    def _next_chunk(self) -> bytes:
        try:
            chunk: bytes = self._stream.read(max(1, self._chunk_bytes - len(self._rest)))
        except OSError as error:
            if not self._has_begun:
                raise
            self.error = error
            self._is_over = True
            return b""
        self._is_over = not chunk
        return chunk

    def close(self) -> None:
        """Lets go of the stream, which stays open."""
        self.closed = True


def _whole_characters(content: bytes) -> int:
    """Returns where the character begins that the end has cut, or might have."""
    for back in range(1, min(_MAX_SEQUENCE_BYTES, len(content)) + 1):
        byte = content[-back]
        if byte < 0x80:
            return len(content)
        if byte >= 0xC0:
            return len(content) - back
    return len(content)


def escape(content: bytes) -> bytes:
    """Returns `content` as UTF-8: itself, if it is."""
    if _PREFIX[:1] in content:  # a single byte is found many times as fast as two
        content = _ESCAPE.sub(lambda found: _characters(found[0]), content)
    if _is_utf8(content):
        return content
    text = content.decode("utf-8", "surrogateescape")
    return _SURROGATE.sub(lambda found: chr(ord(found[0]) + _FROM_SURROGATE), text).encode()


def _is_utf8(content: bytes) -> bool:
    """Asks Arrow, which needs a tenth of the time that decoding takes."""
    ends = pa.py_buffer(np.array([0, len(content)], np.int64))
    text = pa.LargeStringArray.from_buffers(1, ends, pa.py_buffer(content))
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _characters(octets: bytes) -> bytes:
    return "".join(chr(_FIRST - 0x80 + each) for each in octets).encode()


def has_escapes(content: bytes) -> bool:
    """Whether `escape` has changed anything of what is in here."""
    return _ESCAPE.search(content) is not None


def unescape(content: bytes) -> bytes:
    """Returns the bytes that were given to `escape`."""
    return _ESCAPE.sub(_octet, content)


def _octet(found: re.Match[bytes]) -> bytes:
    third, fourth = found[0][2:]
    return bytes([(third & 3) << 6 | fourth & 0x3F])


def escaped_rows(texts: pa.Array) -> pa.Array:
    """Returns which values have escapes."""
    return pc.fill_null(pc.match_substring(texts.cast(pa.binary()), _PREFIX), False)


def unescape_values(texts: pa.BinaryArray) -> pa.BinaryArray:
    """Returns the values as they were given."""
    rows = escaped_rows(texts)
    if not pc.any(rows).as_py():
        return texts
    given = [unescape(each) for each in texts.filter(rows).to_pylist()]
    return pc.replace_with_mask(texts, rows, pa.array(given, pa.binary()))
