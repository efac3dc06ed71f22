import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from transforms.formats.message_bytes import (
    EMPTY,
    constant,
    content_of,
    delimited,
    of_array,
    of_matrix,
    of_slices,
    repeated,
    varint,
    varint_field,
    varints,
)


def _varint(value):
    """The textbook's loop."""
    value %= 1 << 64
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30))
def test_varints_of_signed(values):
    """Varints are the textbook's; negative numbers take ten bytes."""
    content, offsets = varints(np.array(values, np.int64))
    assert content.tobytes() == b"".join(map(_varint, values))
    assert np.diff(offsets).tolist() == [len(_varint(each)) for each in values]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30))
def test_varints_of_unsigned(values):
    """The largest unsigned numbers are not taken for negative ones."""
    assert varints(np.array(values, np.uint64))[0].tobytes() == b"".join(map(_varint, values))


def test_varint():
    """One number at a time, too."""
    assert [varint(each) for each in (0, 127, 128, 300)] == [
        b"\x00",
        b"\x7f",
        b"\x80\x01",
        b"\xac\x02",
    ]


def test_constants():
    """Bytes that all rows share are in each row."""
    assert (constant(b"a") + constant(b"b")).joined(2).to_pylist() == [b"ab", b"ab"]
    assert (constant(b"a") + constant(b"b")).parts == (b"ab",)
    assert EMPTY.joined(2).to_pylist() == [b"", b""]
    assert EMPTY.joined(0).to_pylist() == []


def test_equal_lengths_are_one_number():
    """Where all rows are as long, the length is written once, not once for each."""
    rows = delimited(1, of_matrix(np.array([[1, 2], [3, 4]], np.uint8)))
    assert rows.lengths == 4
    assert rows.joined(2).to_pylist() == [b"\x0a\x02\x01\x02", b"\x0a\x02\x03\x04"]


def test_lengths_that_differ():
    """Else each row has its own."""
    rows = delimited(2, of_array(pa.array([b"a", b"", b"abc"], pa.large_binary())))
    assert rows.joined(3).to_pylist() == [b"\x12\x01a", b"\x12\x00", b"\x12\x03abc"]


def test_slices_of_one_buffer():
    """Rows may begin anywhere, and their offsets need not start at 0."""
    content = np.frombuffer(b"abcdef", np.uint8)
    assert of_slices(content, np.array([1, 2, 2, 5])).joined(3).to_pylist() == [b"b", b"", b"cde"]


def test_repeated():
    """A repeated field is there once for each value of a row."""
    values = pa.array([b"x", b"yy", b"z"], pa.large_binary())
    rows = repeated(1, values, np.array([0, 2, 2, 3]))
    assert rows.joined(3).to_pylist() == [b"\x0a\x01x\x0a\x02yy", b"", b"\x0a\x01z"]


def test_numbers():
    """A number of each row, or one for all."""
    assert varint_field(1, np.array([1, 300])).joined(2).to_pylist() == [
        b"\x08\x01",
        b"\x08\xac\x02",
    ]
    assert varint_field(2, 5).joined(1).to_pylist() == [b"\x10\x05"]


def test_content_of_slices():
    """A slice of an array is told apart from the whole."""
    content, offsets = content_of(pa.array([b"ab", b"c", b"d"], pa.large_binary()).slice(1))
    assert content[offsets[0] : offsets[-1]].tobytes() == b"cd"
    assert content_of(pa.array([], pa.large_binary()))[1].tolist() == [0]
