"""Finds rows of a version by their keys, for rows that are not where those of the baseline are."""

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, NamedTuple, Self, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.row_identity import key_numbers, same_keys
from transforms.evaluation.saved_parts import ROWS_PER_PIECE, PartCache, read_part
from transforms.evaluation.saved_versions import SavedVersion
from transforms.metrics.array_types import Integers

_MAX_KEPT = 8
_NOT_THERE = -1
_T = TypeVar("_T")


class FoundRows(NamedTuple):
    """Rows that were looked for by their keys.

    Attributes:
        rows: One for each key, nulls where a key is not there; None if no key is there.
        num_found: Keys that are there.
    """

    rows: pa.RecordBatch | None
    num_found: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SavedIndex:
    """Where each key of a version is: 20 bytes a row.

    Hashes find a key; the keys themselves, read again, tell whether it is the one.

    Attributes:
        version: The version.
        key: Columns of the key.
        hashes: Of the keys, sorted.
        parts: File of each.
        rows: Row in that file.
        cache: The files read last.
    """

    version: SavedVersion
    key: tuple[str, ...]
    hashes: NDArray[np.uint64]
    parts: NDArray[np.int32]
    rows: Integers
    cache: PartCache

    @classmethod
    def build(cls, version: SavedVersion, key: tuple[str, ...]) -> Self:
        """Reads the keys of all files.

        Raises:
            InvalidArgumentError: A key comes twice, so that it identifies no row.
        """
        hashes = list(_hashes_of_parts(version, key))
        joined = np.concatenate(hashes)
        order = np.argsort(joined, kind="stable")
        parts = np.repeat(np.arange(len(hashes), dtype=np.int32), list(map(len, hashes)))
        rows = np.concatenate([np.arange(len(each)) for each in hashes])
        found = cls(
            version=version,
            key=key,
            hashes=joined[order],
            parts=parts[order],
            rows=rows[order],
            cache=PartCache(),
        )
        found._check_unique()
        return found

    def _check_unique(self) -> None:
        for distance in itertools.count(1):
            alike = np.flatnonzero(self.hashes[distance:] == self.hashes[:-distance])
            if not alike.size:
                return
            for start in range(0, alike.size, ROWS_PER_PIECE):
                self._check_pairs(alike[start : start + ROWS_PER_PIECE], distance)

    def _check_pairs(self, positions: Integers, distance: int) -> None:
        """Checks that keys of one hash are different ones."""
        some = self._rows_at(positions, self.key)
        twice = np.flatnonzero(
            same_keys(some, self._rows_at(positions + distance, self.key), self.key)
        )
        if not twice.size:
            return
        position = int(positions[twice[0]])
        value = _key_text(some, int(twice[0]))
        first, second = self._place(position), self._place(position + distance)
        raise InvalidArgumentError(
            f"version {self.version.version}: key {value} comes twice ({first} and {second}), so rows cannot be matched by {','.join(self.key)}; give another --example_key"
        )

    def _place(self, position: int) -> str:
        part = self.version.parts[self.parts[position]]
        return f"row {self.rows[position]} of {part.path}"

    def take(self, keys: pa.RecordBatch, outputs: Sequence[str]) -> FoundRows:
        """Returns outputs of the rows with some keys.

        Args:
            keys: Rows with the columns of the key.
            outputs: The columns wanted.
        """
        positions = self._find(keys)
        is_found = positions != _NOT_THERE
        if not is_found.any():
            return FoundRows(None, 0)
        found = self._rows_at(positions[is_found], outputs)
        places = np.ma.masked_array(np.cumsum(is_found) - 1, mask=~is_found)
        return FoundRows(found.take(pa.array(places)), found.num_rows)

    def _find(self, keys: pa.RecordBatch) -> Integers:
        """Returns the position of each key."""
        wanted = key_numbers(keys, self.key)
        found = np.full(len(wanted), _NOT_THERE)
        rows = np.argsort(wanted)  # in order they are found twice as fast
        positions = np.searchsorted(self.hashes, wanted[rows]).astype(np.int64)
        while True:
            within = np.minimum(positions, len(self.hashes) - 1)
            is_alike = (positions == within) & (self.hashes[within] == wanted[rows])
            rows, positions = rows[is_alike], positions[is_alike]
            if not rows.size:
                return found
            candidates = self._rows_at(positions, self.key)
            is_same = same_keys(candidates, keys.take(pa.array(rows)), self.key)
            found[rows[is_same]] = positions[is_same]
            # Another key with the same hash: the next with it may be the one.
            rows, positions = rows[~is_same], positions[~is_same] + 1

    def _rows_at(self, positions: Integers, outputs: Sequence[str]) -> pa.RecordBatch:
        """Returns the rows at positions of the index, from each file together."""
        order = np.argsort(self.parts[positions], kind="stable")
        in_order = positions[order]
        parts, starts = np.unique(self.parts[in_order], return_index=True)
        pieces = [
            self.cache.read(self.version.parts[part], outputs).take(pa.array(self.rows[own]))
            for part, own in zip(parts, np.split(in_order, starts[1:]), strict=True)
        ]
        back = np.empty_like(order)
        back[order] = np.arange(order.size)
        return pa.concat_batches(pieces).take(pa.array(back))


def check_unique_keys(version: SavedVersion, key: tuple[str, ...]) -> None:
    """Checks that no key comes twice, whichever files it is in: 8 bytes a row, for a while.

    Raises:
        InvalidArgumentError: One does, so that it identifies no row.
    """
    hashes = np.empty(version.num_rows, dtype=np.uint64)
    start = 0
    for each in _hashes_of_parts(version, key):
        hashes[start : start + each.size] = each
        start += each.size
    hashes.sort()
    if (hashes[1:] == hashes[:-1]).any():  # of one key, or of two: the keys themselves tell
        SavedIndex.build(version, key)


def _hashes_of_parts(version: SavedVersion, key: tuple[str, ...]) -> Iterator[NDArray[np.uint64]]:
    for part in version.parts:
        yield np.concatenate([key_numbers(each, key) for each in read_part(part, key)])


def _key_text(keys: pa.RecordBatch, row: int) -> str:
    return ":".join(str(each[row].as_py()) for each in keys.columns)


class SavedIndexes:
    """The indexes that this process has made, each once however many threads want it. Thread-safe."""

    def __init__(self) -> None:
        self._indexes: _Once[SavedIndex] = _Once()
        self._checked: _Once[None] = _Once()

    def get(
        self, version: SavedVersion, baseline: SavedVersion, key: tuple[str, ...]
    ) -> SavedIndex:
        """Returns the index of a version; the first caller makes it, the others wait.

        Raises:
            InvalidArgumentError: A key comes twice, in the version or in the baseline, two rows of
                which must not get the prediction of one.
        """
        self._checked.get((baseline.parts, key), lambda: check_unique_keys(baseline, key))
        return self._indexes.get((version.parts, key), lambda: SavedIndex.build(version, key))


class _Once(Generic[_T]):
    """Values by name, each made by the first who asks; the last few are kept. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: OrderedDict[object, Future[_T]] = OrderedDict()  # Guarded by _lock.

    def get(self, name: object, make: Callable[[], _T]) -> _T:
        """Returns the value of a name; an error is raised to all who wait, and not kept."""
        with self._lock:
            future = self._futures.get(name)
            is_first = future is None
            if future is None:
                future = self._futures[name] = Future()
                while len(self._futures) > _MAX_KEPT:
                    self._futures.popitem(last=False)
        if is_first:
            try:
                future.set_result(make())
            except BaseException as error:  # noqa: BLE001 - raised to every waiting caller
                with self._lock:
                    self._futures.pop(name, None)
                future.set_exception(error)
        return future.result()
