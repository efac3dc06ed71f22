import io

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transforms.formats.text_escapes import (
    MAX_GROWTH,
    EscapedStream,
    escape,
    has_escapes,
    unescape,
    unescape_values,
)

_LITERAL = "\U0010fe80".encode()


def _pieces(stream, num_bytes):
    return list(iter(lambda: stream.read(num_bytes), b""))


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode), st.integers(1, 400))
@example("ü€\U0010fe80\U0010feff".encode() + b"\xff", 1)
@example(b"\xf4\x8f\xba", 2)
@example(b"\xc3", 1)
def test_what_comes_back_is_what_was_given(content, num_bytes):
    """Whatever the bytes, and wherever they are cut, they are UTF-8 on the way."""
    stream = EscapedStream(io.BytesIO(content), num_bytes)
    pieces = _pieces(stream, MAX_GROWTH * (num_bytes + 4))
    text = b"".join(pieces)
    for each in pieces:
        each.decode()
    text.decode()
    assert text == escape(content)
    assert unescape(text) == content
    assert len(text) <= MAX_GROWTH * len(content)
    assert stream.has_escapes == has_escapes(text) == (text != content)


def test_utf8_is_not_touched():
    """Not even copied."""
    content = "text, ü €".encode()
    assert escape(content) is content
    assert escape(_LITERAL) != _LITERAL


def test_values():
    """Only values with escapes are made anew, and nulls stay."""
    given_values = [b"\xffa", None, b"x", _LITERAL, b""]
    escaped = [None if each is None else escape(each) for each in given_values]
    assert unescape_values(pa.array(escaped, pa.binary())).to_pylist() == given_values


class _Failing:
    def __init__(self, chunks):
        self._chunks = list(chunks)

    def read(self, _num_bytes):
        if not self._chunks:
            raise OSError("broken")
        return self._chunks.pop(0)


@given(st.lists(st.binary(max_size=20), max_size=20), st.integers(21, 50))
def test_lines_stay_whole(lines, num_bytes):
    """A reader that cannot do with part of a line gets whole ones, as many as there is room for."""
    content = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines)
    pieces = _pieces(EscapedStream(io.BytesIO(content), num_bytes), MAX_GROWTH * num_bytes)
    assert all(each.endswith(b"\n") for each in pieces)
    assert unescape(b"".join(pieces)) == content


class TestFailure:
    def test_whole_lines_come_first(self):
        """What stands before the failure ends with a line; the error is kept for later."""
        stream = EscapedStream(_Failing([b"1\n2\n3", b"4\n5\n6"]), 100)
        assert b"".join(_pieces(stream, 400)) == b"1\n2\n34\n5\n"
        assert str(stream.error) == "broken"

    @pytest.mark.parametrize("chunks", [[], [b"half a line"]])
    def test_without_a_line(self, chunks):
        """It is raised at once."""
        with pytest.raises(OSError, match="broken"):
            EscapedStream(_Failing(chunks), 100).read(400)
