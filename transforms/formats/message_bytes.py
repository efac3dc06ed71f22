"""Serialized protocol messages of many rows at once, without a step of Python for each row.

A message is its fields one after the other. So a column of messages is made of bytes that all rows share
and of bytes of each row, side by side, and Arrow joins them in the end:

    entry = delimited(1, constant(b"score")) + delimited(2, of_matrix(scores))
    entry.joined(num_rows)      a LargeBinaryArray, one message a row
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_DELIMITED = 2  # wire type: a length, then as many bytes
_VARINT = 0
_BITS = 7  # of a number in each byte of a varint
_NOTHING = pa.scalar(b"", pa.large_binary())


@dataclass(frozen=True, slots=True)
class ByteRows:
    """Some bytes for each row. Immutable.

    Attributes:
        parts: What stands side by side: bytes that all rows share, or an array with a row's own.
        lengths: Bytes of each row; one number where all rows have as many.
    """

    parts: tuple[bytes | pa.LargeBinaryArray, ...]
    lengths: int | np.ndarray

    def __add__(self, other: "ByteRows") -> "ByteRows":
        """Returns these bytes and `other`'s behind them."""
        return ByteRows(_merged(self.parts + other.parts), self.lengths + other.lengths)

    def joined(self, num_rows: int) -> pa.LargeBinaryArray:
        """Returns the bytes of each of `num_rows` rows in one piece."""
        if len(self.parts) == 1 and not isinstance(self.parts[0], bytes):
            return self.parts[0]
        if all(isinstance(each, bytes) for each in self.parts):
            return pa.repeat(pa.scalar(b"".join(self.parts), pa.large_binary()), num_rows)
        parts = [
            pa.scalar(each, pa.large_binary()) if isinstance(each, bytes) else each
            for each in self.parts
        ]
        return pc.binary_join_element_wise(*parts, _NOTHING)


EMPTY = ByteRows((), 0)


def _merged(
    parts: tuple[bytes | pa.LargeBinaryArray, ...],
) -> tuple[bytes | pa.LargeBinaryArray, ...]:
    """Returns the parts with neighbours that all rows share made one."""
    merged: list[bytes | pa.LargeBinaryArray] = []
    for each in parts:
        if isinstance(each, bytes) and merged and isinstance(merged[-1], bytes):
            merged[-1] += each
        else:
            merged.append(each)
    return tuple(merged)


def constant(content: bytes) -> ByteRows:
    """Returns the same bytes for every row."""
    return ByteRows((content,), len(content))


def of_array(array: pa.LargeBinaryArray) -> ByteRows:
    """Returns the values of an array without nulls."""
    lengths = np.diff(_offsets_of(array))
    is_uniform = len(lengths) and (lengths == lengths[0]).all()
    return ByteRows((array,), int(lengths[0]) if is_uniform else lengths)


def of_matrix(values: np.ndarray) -> ByteRows:
    """Returns the memory of each row of a contiguous array of shape [num_rows, ...]."""
    num_rows = len(values)
    width = values.nbytes // num_rows if num_rows else 0
    offsets = np.arange(num_rows + 1, dtype=np.int64) * width
    return ByteRows((large_binary(values, offsets),), width)


def of_slices(content: np.ndarray, offsets: np.ndarray) -> ByteRows:
    """Returns bytes `content[offsets[i]:offsets[i + 1]]` for row i."""
    return of_array(large_binary(content, offsets))


def large_binary(content: np.ndarray, offsets: np.ndarray) -> pa.LargeBinaryArray:
    """Returns both as an array, uncopied."""
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(content))]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def delimited(number: int, rows: ByteRows) -> ByteRows:
    """Returns field `number` of every row: text, bytes, a message or packed numbers."""
    return constant(_tag(number, _DELIMITED)) + varint_rows(rows.lengths) + rows


def repeated(number: int, values: pa.LargeBinaryArray, offsets: np.ndarray) -> ByteRows:
    """Returns field `number` once for each of values `offsets[i]` to `offsets[i + 1]` in row i."""
    fields = delimited(number, of_array(values)).joined(len(values))
    octets, starts = content_of(fields)
    return of_slices(octets, starts[offsets])


def varint_field(number: int, values: int | np.ndarray) -> ByteRows:
    """Returns field `number` of every row: a number that is not negative."""
    return constant(_tag(number, _VARINT)) + varint_rows(values)


def varint_rows(values: int | np.ndarray) -> ByteRows:
    """Returns one varint for each row."""
    if isinstance(values, int):
        return constant(varint(values))
    return of_slices(*varints(values))


def varint(value: int) -> bytes:
    """Returns a number of 0 or more as a varint."""
    content, _ = varints(np.array([value], np.uint64))
    return content.tobytes()


def varints(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the varints of integers one after the other, and where each begins, with the end.

    Negative ones take ten bytes, as protocol buffers have it.
    """
    numbers = np.ascontiguousarray(values).astype(np.int64).view(np.uint64)
    width = max(1, -(-int(numbers.max(initial=0)).bit_length() // _BITS))
    octets = np.empty((len(numbers), width), np.uint8)
    sizes = np.ones(len(numbers), np.int64)
    for place in range(width):
        rest = numbers >> np.uint64(_BITS * place)
        octets[:, place] = rest & np.uint64(0x7F)
        if place:
            sizes += rest > 0
    places = np.arange(width)
    octets[places < sizes[:, None] - 1] |= 0x80
    return octets[places < sizes[:, None]], ends_to_offsets(np.cumsum(sizes))


def ends_to_offsets(ends: np.ndarray) -> np.ndarray:
    """Returns a zero and then `ends`, as int64."""
    return np.concatenate([np.zeros(1, np.int64), ends])


def _offsets_of(array: pa.LargeBinaryArray) -> np.ndarray:
    offsets = np.frombuffer(array.buffers()[1], np.int64)
    return offsets[array.offset : array.offset + len(array) + 1]


def content_of(array: pa.LargeBinaryArray) -> tuple[np.ndarray, np.ndarray]:
    """Returns an array's bytes and where each value of them begins, with the end; uncopied."""
    if not len(array):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    content = array.buffers()[2]
    octets = np.zeros(0, np.uint8) if content is None else np.frombuffer(content, np.uint8)
    return octets, _offsets_of(array)


def _tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)
