"""Each row of a model's inputs as bytes that are equal for equal rows, and for no others."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from servable_core.batching.ragged_array import RaggedArray


@dataclass(frozen=True, slots=True)
class _Encoded:
    """One input: what has the same number of bytes in each row, and what has not.

    The former tells where the latter ends, so rows can be joined without a sign between them.
    """

    fixed: tuple[np.ndarray, ...]  # each of shape [num_rows, any], uint8
    varying: list[bytes] | None = None


def row_keys(inputs: Mapping[str, Any]) -> list[bytes]:
    """Returns a key for each row: two are equal if and only if all inputs are, bit by bit.

    So -0.0 is another input than 0.0, and a NaN equals one of the same bits. Keys of several calls
    can be compared if the inputs have the same names, dtypes and ranks.

    Args:
        inputs: Arrays, `RaggedArray`s, or tensors of strings, equal in their first dimension.
    """
    encoded = [_encode(value) for value in inputs.values()]
    fixed = np.hstack([part for each in encoded for part in each.fixed])
    keys = _rows_as_bytes(fixed)
    varying = [each.varying for each in encoded if each.varying is not None]
    return [b"".join(parts) for parts in zip(keys, *varying, strict=True)] if varying else keys


def _encode(value: Any) -> _Encoded:
    if isinstance(value, RaggedArray):
        return _encode_ragged(value)
    array = value if isinstance(value, np.ndarray) else value.numpy()
    sizes = np.tile(np.array(array.shape[1:], np.int64), (len(array), 1))  # lists of this batch
    if array.dtype.kind != "O":
        return _Encoded((_octets(sizes), _octets(array)))
    texts = array.reshape(len(array), math.prod(array.shape[1:]))
    lengths = np.fromiter(map(len, texts.flat), np.int64, texts.size).reshape(texts.shape)
    joined = [b"".join(row) for row in texts.tolist()]
    return _Encoded((_octets(sizes), _octets(lengths)), joined)


def _encode_ragged(value: RaggedArray) -> _Encoded:
    fixed = (_octets(value.lengths),)
    first, end = int(value.offsets[0]), int(value.offsets[-1])
    bounds = list(pairwise((value.offsets - first).tolist()))
    values = value.values[first:end]
    if value.dtype.kind == "O":
        return _Encoded(fixed, [_joined(values[start:stop].tolist()) for start, stop in bounds])
    content, width = values.tobytes(), values.itemsize * math.prod(values.shape[1:])
    return _Encoded(fixed, [content[start * width : stop * width] for start, stop in bounds])


def _joined(texts: Sequence[bytes]) -> bytes:
    """Returns the lengths of the texts, and then the texts."""
    return np.array([len(each) for each in texts], np.int64).tobytes() + b"".join(texts)


def _octets(array: np.ndarray) -> np.ndarray:
    """Returns the bytes of each row, as uint8 of shape [num_rows, any]."""
    num_rows = len(array)
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return flat.reshape(num_rows, len(flat) // max(1, num_rows))


def _rows_as_bytes(octets: np.ndarray) -> list[bytes]:
    num_rows, width = octets.shape
    if not width:
        return [b""] * num_rows
    rows: list[bytes] = np.ascontiguousarray(octets).view(f"V{width}").reshape(num_rows).tolist()
    return rows
