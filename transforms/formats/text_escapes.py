"""Bytes that are no UTF-8, on their way through a reader that takes nothing else.

Each such byte becomes a character that Unicode leaves to private use, and bytes again afterwards.
That character itself is no UTF-8 here, so what comes back is always what was given.
"""

import re
from typing import Any

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
    """A stream of bytes, read through and made UTF-8. One reader.

    Where the stream fails, it ends behind its last whole line, so that all before is read.

    Attributes:
        has_escapes: Whether any byte read so far was none.
        error: What the stream failed with, if it has.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._next = b""  # read, but not made UTF-8 yet
        self._ready = b""
        self._rest = b""  # of a sequence that the last chunk has cut
        self._is_over = False
        self.has_escapes = False
        self.error: OSError | None = None
        self.closed = False

    def read(self, num_bytes: int) -> bytes:
        """Returns at most so many bytes; none at the end."""
        while not self._ready and not self._is_over:
            chunk = self._next_chunk(num_bytes)
            self._ready = self._escaped(self._rest + chunk)
        taken, self._ready = self._ready[:num_bytes], self._ready[num_bytes:]
        return taken

    def _next_chunk(self, num_bytes: int) -> bytes:
        """Returns what comes next, after a look at what comes behind it."""
        chunk = self._next
        try:
            self._next = self._stream.read(num_bytes)
        except OSError as error:
            whole_lines = chunk[: chunk.rfind(b"\n") + 1]
            if not whole_lines:
                raise
            self.error = error
            self._is_over = True
            return whole_lines
        self._is_over = not self._next
        return chunk

    def close(self) -> None:
        """Lets go of the stream, which stays open."""
        self.closed = True

    def _escaped(self, content: bytes) -> bytes:
        cut = len(content) if self._is_over else _whole_characters(content)
        content, self._rest = content[:cut], content[cut:]
        escaped = escape(content)
        self.has_escapes = self.has_escapes or len(escaped) != len(content)
        return escaped


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
    if _PREFIX in content:
        content = _ESCAPE.sub(lambda found: _characters(found[0]), content)
    try:
        content.decode()
    except UnicodeDecodeError:
        text = content.decode("utf-8", "surrogateescape")
        return _SURROGATE.sub(lambda found: chr(ord(found[0]) + _FROM_SURROGATE), text).encode()
    return content


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
