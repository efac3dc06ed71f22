"""Damage to the bytes of a file, drawn from a seeded generator: what disks, networks and hands do."""

from collections.abc import Callable

import numpy as np

_HUGE = (2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, 2**40)
Generator = np.random.Generator
Mutation = Callable[[bytes, Generator], bytes]


def flip_bits(content: bytes, rng: Generator) -> bytes:
    """Turns one to eight bits over."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9)) if content else 0):
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def overwrite(content: bytes, rng: Generator) -> bytes:
    """Writes other bytes over some."""
    start, end = _stretch(content, rng)
    return content[:start] + rng.bytes(end - start) + content[end:]


def zero(content: bytes, rng: Generator) -> bytes:
    """A block that was never written."""
    start, end = _stretch(content, rng)
    return content[:start] + bytes(end - start) + content[end:]


def write_huge_number(content: bytes, rng: Generator) -> bytes:
    """A length, or whatever stands there, becomes huge; as four bytes, eight, or a varint."""
    value = int(rng.choice(np.array(_HUGE, np.uint64)))
    octets = [
        (value & 0xFFFFFFFF).to_bytes(4, "little"),
        value.to_bytes(8, "little"),
        b"\xff" * int(rng.integers(3, 10)) + b"\x01",
    ][int(rng.integers(3))]
    start = int(rng.integers(len(content) + 1))
    return (content[:start] + octets + content[start + len(octets) :])[: max(len(content), 1)]


def truncate(content: bytes, rng: Generator) -> bytes:
    """The end is missing."""
    return content[: int(rng.integers(len(content) + 1))]


def delete(content: bytes, rng: Generator) -> bytes:
    """Some bytes are missing."""
    start, end = _stretch(content, rng)
    return content[:start] + content[end:]


def insert(content: bytes, rng: Generator) -> bytes:
    """Some bytes are too many."""
    start, _ = _stretch(content, rng)
    return content[:start] + rng.bytes(int(rng.integers(1, 64))) + content[start:]


def repeat(content: bytes, rng: Generator) -> bytes:
    """Some bytes come twice."""
    start, end = _stretch(content, rng)
    return content[:end] + content[start:]


def exchange(content: bytes, rng: Generator) -> bytes:
    """Two stretches change places."""
    (a, b), (c, d) = sorted([_stretch(content, rng), _stretch(content, rng)])
    if b > c:
        return content
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def empty(_content: bytes, _rng: Generator) -> bytes:
    """Nothing was copied."""
    return b""


def garbage(_content: bytes, rng: Generator) -> bytes:
    """Something else altogether."""
    return rng.bytes(int(rng.integers(1, 5000)))


# Those that change bytes, but neither their number nor their places.
IN_PLACE: tuple[Mutation, ...] = (flip_bits, overwrite, zero, write_huge_number)
# The rare ones once, the others more often.
ANYWHERE: tuple[Mutation, ...] = (
    *IN_PLACE * 3,
    *(truncate, delete, insert, repeat, exchange) * 2,
    empty,
    garbage,
)


def _stretch(content: bytes, rng: Generator) -> tuple[int, int]:
    start = int(rng.integers(len(content) + 1))
    return start, min(len(content), start + int(rng.integers(1, 65)))
