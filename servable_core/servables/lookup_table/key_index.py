"""Finds the rows of many keys at a time: sorted keys and a binary search, immutable.

Text keys are compared as their UTF-8 bytes, so `"a"` and `b"a"` are the same key. They lie in one
array of the width of the longest key; a byte is put behind each, since NumPy does not tell trailing
zero bytes from padding.
"""

from typing import Any

import numpy as np

from servable_core.errors import InvalidArgumentError

_MAX_KEY_BYTES = 1024  # every key takes as much memory as the longest
_END = b"\x01"
_INT64 = np.iinfo(np.int64)


class KeyIndex:
    """Rows by key; immutable and thread-safe.

    Keys that are sorted already are used as they are, memory-mapped ones included.

    Args:
        keys: One key for each row: integers, or strings and bytes.

    Raises:
        InvalidArgumentError: If a key comes twice, or they are of another type.
    """

    def __init__(self, keys: np.ndarray) -> None:
        if keys.ndim != 1:
            raise InvalidArgumentError(f"keys must be a list, got an array of shape {keys.shape}")
        self._is_text = keys.dtype.kind in "OSU"
        encoded = self._encode_all(keys)
        # The row of each sorted key; None where rows are sorted themselves.
        self._rows: np.ndarray | None = None
        if not bool(np.all(encoded[:-1] < encoded[1:])):
            self._rows = np.argsort(encoded, kind="stable")
            encoded = encoded[self._rows]
            self._check_distinct(keys, encoded, self._rows)
        self._sorted = encoded

    @property
    def is_text(self) -> bool:
        """Whether keys are strings; integers otherwise."""
        return self._is_text

    def __len__(self) -> int:
        return len(self._sorted)

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the row of each key, 0 where it is missing, and whether it was found.

        Raises:
            InvalidArgumentError: If the keys are not of the table's type.
        """
        encoded, is_possible = self._encode(keys.ravel())
        if not len(self._sorted):
            return np.zeros(keys.shape, np.int64), np.zeros(keys.shape, np.bool_)
        positions = np.searchsorted(self._sorted, encoded)
        positions[positions == len(self._sorted)] = 0
        found = (self._sorted[positions] == encoded) & is_possible
        rows = positions if self._rows is None else self._rows[positions]
        return np.where(found, rows, 0).reshape(keys.shape), found.reshape(keys.shape)

    def _encode_all(self, keys: np.ndarray) -> np.ndarray:
        if self._is_text:
            return _to_fixed_width(_to_bytes(keys), None)
        integers, is_possible = _to_int64(keys)
        if not is_possible.all():
            raise InvalidArgumentError(f"key {keys[~is_possible][0]} does not fit into 64 bits")
        return integers

    def _encode(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns keys in the form of the sorted ones, and which of them may be among those."""
        if not self._is_text:
            return _to_int64(keys)
        items = _to_bytes(keys)
        width = self._sorted.dtype.itemsize
        lengths = np.fromiter(map(len, items), np.int64, len(items))
        return _to_fixed_width(items, width), lengths < width

    def _check_distinct(self, keys: np.ndarray, encoded: np.ndarray, rows: np.ndarray) -> None:
        same = np.flatnonzero(encoded[:-1] == encoded[1:])
        if same.size:
            first, second = rows[same[0]], rows[same[0] + 1]
            raise InvalidArgumentError(
                f"key {keys[first]!r} comes twice, in rows {first} and {second}; expected distinct keys"
            )


def _to_int64(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if keys.dtype.kind not in "iu" and keys.size:
        raise InvalidArgumentError(f"keys must be integers, got {keys.dtype}")
    if keys.dtype == np.uint64:
        fits = keys <= np.uint64(_INT64.max)
        return np.where(fits, keys, 0).astype(np.int64), fits
    return keys.astype(np.int64, copy=False), np.ones(len(keys), np.bool_)


def _to_bytes(keys: np.ndarray) -> list[bytes]:
    if keys.dtype.kind not in "OSU" and keys.size:
        raise InvalidArgumentError(f"keys must be strings or bytes, got {keys.dtype}")
    return [_one_to_bytes(key) for key in keys.tolist()]


def _one_to_bytes(key: Any) -> bytes:
    if isinstance(key, bytes):
        return key
    if isinstance(key, str):
        return key.encode()
    raise InvalidArgumentError(f"keys must be strings or bytes, got {key!r}")


def _to_fixed_width(items: list[bytes], width: int | None) -> np.ndarray:
    """Returns items of `width` bytes, cut if need be; None takes the longest."""
    if width is None:
        longest = max(items, key=len, default=b"")
        if len(longest) > _MAX_KEY_BYTES:
            raise InvalidArgumentError(
                f"key {longest[:20]!r}... has {len(longest)} bytes, expected {_MAX_KEY_BYTES} or less: use a hash of it as the key"
            )
        width = len(longest) + len(_END)
    return np.array([item + _END for item in items], dtype=f"S{width}")
