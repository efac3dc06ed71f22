"""Rows on their way to the model: an Arrow RecordBatch, and raw serialized Examples beside it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

RECORD_COLUMN = "__record__"
SOURCE_FILE_COLUMN = "source_file"
SOURCE_ROW_COLUMN = "source_row"


@dataclass(frozen=True, kw_only=True)
class InputBatch:
    """Some consecutive rows of a unit.

    Attributes:
        columns: The columns or parsed features that the job needs; `num_rows` is right even if none.
        records: Serialized Examples as a rank-1 string tensor, or None when no input wants them.
            They stay a tensor because a detour through Arrow would copy every record twice.
    """

    columns: pa.RecordBatch
    records: Any = None

    @property
    def num_rows(self) -> int:
        """Returns the number of rows."""
        return int(self.columns.num_rows)

    @cached_property
    def size_bytes(self) -> int:
        """Returns about how much memory the rows take."""
        # A string tensor does not tell its size; Examples of a few hundred bytes are typical.
        records_bytes = 0 if self.records is None else 512 * self.num_rows
        return int(self.columns.nbytes) + records_bytes

    def slice(self, start: int, stop: int) -> "InputBatch":
        """Returns rows [start, stop) without copying columns."""
        return InputBatch(
            columns=self.columns.slice(start, stop - start),
            records=None if self.records is None else self.records[start:stop],
        )


def only_rows(num_rows: int) -> pa.RecordBatch:
    """Returns a RecordBatch without columns that still knows its number of rows."""
    return pa.RecordBatch.from_struct_array(
        pa.StructArray.from_buffers(pa.struct([]), num_rows, [None])
    )


def concat_batches(batches: list[InputBatch]) -> InputBatch:
    """Returns the rows of all `batches` (at least one) in order; a single one is passed through."""
    if len(batches) == 1:
        return batches[0]
    columns = pa.concat_batches([each.columns for each in batches])
    records = None
    if batches[0].records is not None:
        records = concat_arrays([each.records for each in batches])
    return InputBatch(columns=columns, records=records)


def concat_arrays(arrays: Any) -> Any:
    """Concatenates NumPy arrays or TensorFlow tensors along the first dimension."""
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays)
    from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow

    return import_tensorflow().concat(arrays, axis=0)


def rebatch(batches: Iterable[InputBatch], batch_rows: int) -> Iterator[InputBatch]:
    """Yields the same rows in batches of exactly `batch_rows`; only the last may be smaller.

    Batches are thereby cut at fixed offsets of the unit, however the files are laid out.
    """
    pending: list[InputBatch] = []
    pending_rows = 0
    for batch in batches:
        start = 0
        while batch.num_rows - start >= batch_rows - pending_rows:
            stop = start + batch_rows - pending_rows
            yield concat_batches([*pending, batch.slice(start, stop)])
            pending, pending_rows, start = [], 0, stop
        if start < batch.num_rows:
            pending.append(batch.slice(start, batch.num_rows))
            pending_rows += batch.num_rows - start
    if pending:
        yield concat_batches(pending)
