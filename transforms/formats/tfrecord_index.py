"""Index files beside TFRecord files, as the `tfrecord` package's tfrecord2idx writes them.

Each line is one record: the byte at which its frame begins, and the length of the frame.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from transforms.formats.tfrecord_frames import FRAME_BYTES
from transforms.storage import file_system_for, stat_file

INDEX_SUFFIXES = (".index", ".tfindex")
_CHUNK_BYTES = 1 << 20


class WrongIndexError(Exception):
    """The index is not one of this file as it is now."""


def find_index(path: str) -> str | None:
    """Returns the path of the index of a file, `a.tfrecord.index` or `a.tfindex`, if there is one."""
    stem = path.rpartition(".")[0] or path
    candidates = (base + suffix for base in (path, stem) for suffix in INDEX_SUFFIXES)
    return next((each for each in candidates if stat_file(each) is not None), None)


def read_index(index_path: str, size_bytes: int) -> Iterator[np.ndarray]:
    """Yields where the frames of the file end.

    Args:
        index_path: The index.
        size_bytes: Length of the file that it is of.

    Raises:
        WrongIndexError: Its frames do not follow one another, or do not end where the file does.
    """
    end = 0
    with file_system_for(index_path).open(index_path) as stream:
        for lines in _lines(stream):
            starts, lengths = _numbers(lines)
            ends = starts + lengths
            expected = np.concatenate([[end], ends[:-1]])
            if (starts != expected).any() or (lengths < FRAME_BYTES).any():
                raise WrongIndexError(f"its records do not follow one another, near byte {end}")
            end = int(ends[-1])
            yield ends
    if end != size_bytes:
        raise WrongIndexError(f"its last record ends at byte {end}, the file at {size_bytes}")


def _lines(stream: Any) -> Iterator[bytes]:
    """Yields the content in pieces that end with a line."""
    rest = b""
    for chunk in itertools.chain(iter(lambda: stream.read(_CHUNK_BYTES), b""), [b"\n"]):
        lines, newline, rest = (rest + chunk).rpartition(b"\n")
        if (lines + newline).strip():
            yield lines


def _numbers(lines: bytes) -> tuple[np.ndarray, np.ndarray]:
    try:
        pairs = np.array([int(each) for each in lines.split()], np.int64).reshape(-1, 2)
    except (ValueError, OverflowError) as error:
        raise WrongIndexError(f"its lines are not pairs of numbers ({error})") from error
    return pairs[:, 0], pairs[:, 1]
