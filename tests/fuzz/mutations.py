"""Damage to the bytes of a file, drawn from a seeded generator: what disks, networks and hands do."""

import io
import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_HUGE = (2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1, 2**40)
_PIECES = (
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\0",
    b"\0" * 64,
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    "\u2028".encode(),
    b"\x0b",
    b"\nnull\n",
    b'"',
)
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


def repeat_line(content: bytes, rng: Generator) -> bytes:
    """A line comes again and again."""
    lines = content.splitlines(keepends=True)
    if not lines:
        return content
    at = int(rng.integers(len(lines)))
    return b"".join([*lines[:at], lines[at] * _many(rng), *lines[at:]])


def repeat_frame(content: bytes, rng: Generator) -> bytes:
    """A record of a TFRecord comes again and again; of other content, some bytes do."""
    starts = _frame_starts(content)
    at = int(rng.integers(len(starts) - 1)) if len(starts) > 1 else 0
    start, end = starts[at : at + 2] if len(starts) > 1 else _stretch(content, rng)
    return content[:end] + content[start:end] * _many(rng) + content[end:]


def nest_brackets(content: bytes, rng: Generator) -> bytes:
    """Brackets open, or open and close, deeper than anything."""
    levels = int(rng.choice([50, 101, 1000, 100_000]))
    opening, closing = ((b"[", b"]"), (b'{"a":', b"}"))[int(rng.integers(2))]
    nested = opening * levels + b"1" + closing * levels * int(rng.integers(2))
    start, end = _token(content, rng)
    return content[:start] + nested + content[end:]


def write_long_value(content: bytes, rng: Generator) -> bytes:
    """A value is replaced by a number that no type holds, or by a very long text."""
    start, end = _token(content, rng)
    longest = int(rng.choice([20, 400, 5000, 300_000, 5_000_000]))
    value = [b"9" * longest, b"1e" + b"9" * min(longest, 400), b"-0." + b"1" * longest][
        int(rng.integers(3))
    ]
    if not rng.integers(3):
        value = b'"' + b"x" * longest + b'"'
    return content[:start] + value + content[end:]


def mix_text(content: bytes, rng: Generator) -> bytes:
    """What several programs have written: other line ends, NULs, byte order marks, no UTF-8."""
    changed = content
    for _ in range(int(rng.integers(1, 20))):
        at = int(rng.integers(len(changed) + 1))
        if rng.integers(2):  # at a line's end, where some of them do no harm
            at = max(0, changed.find(b"\n", at))
        piece = _PIECES[int(rng.integers(len(_PIECES)))]
        changed = changed[:at] + piece + changed[at:]
    return changed.replace(b"\n", b"\r\n") if not rng.integers(4) else changed


def repeat_region(content: bytes, rng: Generator) -> bytes:
    """A page, or a row group, comes twice; what behind it is told by offsets, is not there any more."""
    start, end = _region(content, rng)
    return content[:end] + content[start:]


def overwrite_region(content: bytes, rng: Generator) -> bytes:
    """Another stretch of the file stands where a page or a row group should."""
    start, end = _region(content, rng)
    other = int(rng.integers(max(1, len(content) - (end - start) + 1)))
    return content[:start] + content[other : other + end - start] + content[end:]


def exchange_regions(content: bytes, rng: Generator) -> bytes:
    """Two large stretches change places."""
    a, b, c, d = sorted(rng.integers(0, len(content) + 1, 4).tolist())
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


# Those that change bytes, but neither their number nor their places.
IN_PLACE: tuple[Mutation, ...] = (flip_bits, overwrite, zero, write_huge_number)
# The rare ones once, the others more often.
ANYWHERE: tuple[Mutation, ...] = (
    *IN_PLACE * 3,
    *(truncate, delete, insert, repeat, exchange) * 2,
    exchange_regions,
    overwrite_region,
    empty,
    garbage,
)
# Those that know what they damage, by the suffix of the file without `.gz`; inside it, if compressed.
OF_FORMAT: dict[str, tuple[Mutation, ...]] = {
    ".csv": (repeat_line, nest_brackets, write_long_value, mix_text, exchange_regions),
    ".jsonl": (repeat_line, nest_brackets, write_long_value, mix_text, exchange_regions),
    ".tfrecord": (repeat_frame, repeat_region, exchange_regions),
    ".parquet": (repeat_region, overwrite_region, exchange_regions),
}


def _stretch(content: bytes, rng: Generator) -> tuple[int, int]:
    start = int(rng.integers(len(content) + 1))
    return start, min(len(content), start + int(rng.integers(1, 65)))


def _many(rng: Generator) -> int:
    return int(rng.choice([1, 10, 1000, 5000]))


def _token(content: bytes, rng: Generator) -> tuple[int, int]:
    """Returns where a number or a word of text stands."""
    tokens = [each.span() for each in re.finditer(rb"[-\w.]+", content)]
    return tokens[int(rng.integers(len(tokens)))] if tokens else (0, 0)


def _region(content: bytes, rng: Generator) -> tuple[int, int]:
    """Returns a page or a row group of a Parquet file; of other content, a large stretch."""
    try:
        metadata = pq.read_metadata(io.BytesIO(content))
        group = metadata.row_group(int(rng.integers(metadata.num_row_groups)))
        chunks = [group.column(index) for index in range(group.num_columns)]
    except (pa.ArrowException, OSError, ValueError):
        first, last = sorted(rng.integers(0, len(content) + 1, 2).tolist())
        return first, last
    if rng.integers(2):
        chunks = [chunks[int(rng.integers(len(chunks)))]]
    starts = [each.dictionary_page_offset or each.data_page_offset for each in chunks]
    return min(starts), min(starts) + sum(each.total_compressed_size for each in chunks)


def _frame_starts(content: bytes) -> list[int]:
    """Returns where the frames of a TFRecord begin, as far as lengths lead."""
    starts = [0]
    while starts[-1] + 12 <= len(content):
        length = int.from_bytes(content[starts[-1] : starts[-1] + 8], "little")
        if starts[-1] + length + 16 > len(content):
            break
        starts.append(starts[-1] + length + 16)
    return starts
