"""The rows of one file of predictions: as a stream of even pieces, or kept for a while as a whole."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from transforms.evaluation.saved_versions import SavedPart
from transforms.formats.parquet import read_rows

ROWS_PER_PIECE = 1 << 16
_MAX_BYTES = 512 << 20


def read_part(
    part: SavedPart, columns: Sequence[str], num_rows: int = ROWS_PER_PIECE
) -> Iterator[pa.RecordBatch]:
    """Yields the rows of a file in order, `num_rows` at a time wherever its row groups end."""
    batches = read_rows(part.path, 0, part.num_groups, columns, num_rows)
    return _even_pieces(batches, num_rows)


def _even_pieces(batches: Iterable[pa.RecordBatch], num_rows: int) -> Iterator[pa.RecordBatch]:
    waiting: list[pa.RecordBatch] = []
    num_waiting = 0
    for batch in batches:
        rest = batch
        while num_waiting + rest.num_rows >= num_rows:
            taken = num_rows - num_waiting
            yield pa.concat_batches([*waiting, rest.slice(0, taken)])
            rest, waiting, num_waiting = rest.slice(taken), [], 0
        if rest.num_rows:
            waiting.append(rest)
            num_waiting += rest.num_rows
    if waiting:
        yield pa.concat_batches(waiting)


class PartCache:
    """The files that were read last, as wholes. Thread-safe.

    Rows in another order than the baseline's come from many files, and each file is asked again.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._parts: OrderedDict[tuple[str, ...], pa.RecordBatch] = (
            OrderedDict()
        )  # Guarded by _lock.
        self._num_bytes = 0  # Guarded by _lock.

    def read(self, part: SavedPart, columns: Sequence[str]) -> pa.RecordBatch:
        """Returns all rows of a file."""
        key = (part.path, *columns)
        with self._lock:
            known = self._parts.get(key)
            if known is not None:
                self._parts.move_to_end(key)
                return known
        rows = next(read_part(part, columns, part.num_rows))
        self._keep(key, rows)
        return rows

    def _keep(self, key: tuple[str, ...], rows: pa.RecordBatch) -> None:
        with self._lock:
            if key not in self._parts:  # another thread may have read it meanwhile
                self._parts[key] = rows
                self._num_bytes += rows.nbytes
            while self._num_bytes > self._max_bytes and len(self._parts) > 1:
                _, oldest = self._parts.popitem(last=False)
                self._num_bytes -= oldest.nbytes
