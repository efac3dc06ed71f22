"""Finds rows of a version by their keys, for rows that are not where those of the baseline are."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.row_identity import key_numbers
from transforms.evaluation.saved_parts import PartCache, read_part
from transforms.evaluation.saved_versions import SavedVersion
from transforms.metrics.array_types import Integers

_MAX_INDEXES = 8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SavedIndex:
    """Where each key of a version is: 20 bytes a row.

    Keys are known by 64 bits; the chance that any two of 100 million texts agree is 1 in 3,700.

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
        hashes = [
            np.concatenate([key_numbers(each, key) for each in read_part(part, key)])
            for part in version.parts
        ]
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
        twice = np.flatnonzero(self.hashes[1:] == self.hashes[:-1])
        if not twice.size:
            return
        first, second = (self._place(int(twice[0]) + step) for step in (0, 1))
        raise InvalidArgumentError(
            f"version {self.version.version}: key {self._value(int(twice[0]))} comes twice ({first} and {second}), so rows cannot be matched by {','.join(self.key)}; give another --example_key"
        )

    def _place(self, position: int) -> str:
        part = self.version.parts[self.parts[position]]
        return f"row {self.rows[position]} of {part.path}"

    def _value(self, position: int) -> str:
        part = self.cache.read(self.version.parts[self.parts[position]], self.key)
        row = part.slice(int(self.rows[position]), 1)
        return ":".join(str(each[0].as_py()) for each in row.columns)

    def take(self, keys: pa.RecordBatch, outputs: Sequence[str]) -> pa.RecordBatch | None:
        """Returns outputs of the rows with some keys, nulls where a key is not there.

        Args:
            keys: Rows with the columns of the key.
            outputs: The columns wanted.

        Returns:
            None if no key is there.
        """
        wanted = key_numbers(keys, self.key)
        positions = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        is_found = self.hashes[positions] == wanted
        if not is_found.any():
            return None
        found = self._rows_at(positions[is_found], outputs)
        places = np.ma.masked_array(np.cumsum(is_found) - 1, mask=~is_found)
        return found.take(pa.array(places))

    def _rows_at(self, positions: Integers, outputs: Sequence[str]) -> pa.RecordBatch:
        """Returns the rows at positions of the index, from each file together."""
        parts = self.parts[positions]
        order = np.argsort(parts, kind="stable")
        pieces = []
        for index in np.unique(parts):
            rows = self.rows[positions[order][parts[order] == index]]
            part = self.cache.read(self.version.parts[index], outputs)
            pieces.append(part.take(pa.array(rows)))
        back = np.empty_like(order)
        back[order] = np.arange(order.size)
        return pa.concat_batches(pieces).take(pa.array(back))


class SavedIndexes:
    """The indexes that this process has made, each once however many threads want it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: OrderedDict[object, Future[SavedIndex]] = OrderedDict()  # Guarded by _lock.

    def get(self, version: SavedVersion, key: tuple[str, ...]) -> SavedIndex:
        """Returns the index of a version; the first caller makes it, the others wait."""
        return self._get((version.parts, key), lambda: SavedIndex.build(version, key))

    def _get(self, name: object, make: Callable[[], SavedIndex]) -> SavedIndex:
        with self._lock:
            future = self._futures.get(name)
            is_first = future is None
            if future is None:
                future = self._futures[name] = Future()
                while len(self._futures) > _MAX_INDEXES:
                    self._futures.popitem(last=False)
        if is_first:
            try:
                future.set_result(make())
            except BaseException as error:  # noqa: BLE001 - raised to every waiting caller
                with self._lock:
                    self._futures.pop(name, None)
                future.set_exception(error)
        return future.result()
