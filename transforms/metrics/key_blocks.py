"""Blocks of rows by a hash of their key: the same on every worker, in every run."""

from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from servable_core.errors import InvalidArgumentError
from transforms.metrics.array_types import Integers

NUM_BLOCKS = 32
Hashes: TypeAlias = NDArray[np.uint64]

_TEXT = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
# Rows that stay in the processor's cache from one byte to the next.
_CHUNK_ROWS = 1 << 13


def key_blocks(keys: pa.Array, num_blocks: int = NUM_BLOCKS) -> Integers:
    """Returns the block of each row.

    Args:
        keys: Integers, strings or bytes: of examples, or of clusters that must not be split.
        num_blocks: How many blocks there are.
    """
    return hash_blocks(hash_keys(keys), num_blocks)


def hash_blocks(hashes: Hashes, num_blocks: int) -> Integers:
    """Returns the block of each row by the hash of its key."""
    return (hashes % np.uint64(num_blocks)).astype(np.int64)


def hash_keys(keys: pa.Array) -> Hashes:
    """Returns well-mixed 64-bit hashes of keys; null is a key like any other.

    Raises:
        InvalidArgumentError: Keys are of another type.
    """
    if pa.types.is_integer(keys.type):
        whole = keys.cast(pa.int64(), safe=False).fill_null(-1)
        return _mix(whole.to_numpy(zero_copy_only=False).view(np.uint64))
    if keys.type in _TEXT:
        return _mix(_fnv1a(keys.cast(pa.large_binary()).fill_null(b"\0null")))
    raise InvalidArgumentError(
        f"keys of rows must be integers, strings or bytes, got {keys.type}; name another key column"
    )


def _mix(numbers: Hashes) -> Hashes:
    """Returns the finaliser of splitmix64 (Steele, Lea and Flood, 2014)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _fnv1a(keys: pa.Array) -> Hashes:
    """Returns the FNV-1a hashes of byte strings; one step for all rows per place of a byte."""
    _, offsets, data = keys.buffers()
    ends = np.frombuffer(offsets, np.int64)[keys.offset : keys.offset + len(keys) + 1]
    bytes_ = np.frombuffer(data if data is not None else b"", np.uint8)
    hashes = np.full(len(keys), _FNV_OFFSET)
    for start in range(0, len(keys), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        _add_bytes(hashes[rows], bytes_, ends[:-1][rows], ends[1:][rows])
    return hashes


def _add_bytes(
    hashes: Hashes, bytes_: NDArray[np.uint8], starts: Integers, stops: Integers
) -> None:
    """Makes the hashes those of some byte strings, in place."""
    places, lengths = starts.copy(), stops - starts
    shortest = int(lengths.min())
    for _ in range(shortest):  # of all rows: no need to pick any
        hashes ^= bytes_[places]
        hashes *= _FNV_PRIME
        places += 1
    for place in range(shortest, int(lengths.max())):
        rows = np.flatnonzero(lengths > place)
        hashes[rows] = (hashes[rows] ^ bytes_[starts[rows] + place]) * _FNV_PRIME
