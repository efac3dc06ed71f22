"""Rows on their way to the model: an Arrow RecordBatch, and raw serialized Examples beside it."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.bad_records import BadRecord

RECORD_COLUMN = "__record__"
SOURCE_FILE_COLUMN = "source_file"
SOURCE_ROW_COLUMN = "source_row"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Consecutive rows of one input file.

    Attributes:
        path: The file.
        first_row: Index in the file of the first of them.
        num_rows: How many they are.
    """

    path: str
    first_row: int
    num_rows: int


@dataclass(frozen=True, kw_only=True)
class InputBatch:
    """Some consecutive rows of a unit.

    Attributes:
        columns: The columns or parsed features that the job needs; `num_rows` is right even if none.
        records: Serialized Examples as a rank-1 string tensor, or None when no input wants them.
            They stay a tensor because a detour through Arrow would copy every record twice.
        records_bytes: Memory that `records` take, which the tensor does not tell.
        input_bytes: About how many bytes of the input they were; 0 where the reader cannot tell.
        origins: Where the rows come from, in their order; empty if they come from no file.
        bad_records: Records that were read just before, or among, these rows, but are none of them,
            since they failed. Slices other than the first rows have none.
    """

    columns: pa.RecordBatch
    records: Any = None
    records_bytes: int = 0
    input_bytes: int = 0
    origins: tuple[Origin, ...] = ()
    bad_records: tuple[BadRecord, ...] = ()

    @property
    def num_rows(self) -> int:
        """Returns the number of rows."""
        return int(self.columns.num_rows)

    @cached_property
    def size_bytes(self) -> int:
        """Returns about how much memory the rows take."""
        return int(self.columns.nbytes) + self.records_bytes

    def slice(self, start: int, stop: int) -> "InputBatch":
        """Returns rows [start, stop) without copying columns."""
        if (start, stop) == (0, self.num_rows):
            return self
        records = None if self.records is None else self.records[start:stop]
        return InputBatch(
            columns=self.columns.slice(start, stop - start),
            records=records,
            records_bytes=0 if records is None else _content_bytes(records),
            input_bytes=self.input_bytes * (stop - start) // max(1, self.num_rows),
            origins=cut_origins(self.origins, start, stop),
            bad_records=self.bad_records if start == 0 else (),
        )

    def take(self, rows: np.ndarray) -> "InputBatch":
        """Returns the rows of these indices, which increase, copied where they are not consecutive."""
        if not len(rows):
            return self.slice(0, 0)
        borders = np.flatnonzero(np.diff(rows) != 1) + 1
        runs = np.split(rows, borders)
        return concat_batches([self.slice(int(run[0]), int(run[-1]) + 1) for run in runs])

    def place(self, row: int) -> tuple[str, int]:
        """Returns file and row that a row of the batch comes from; "" and `row` if from no file."""
        before = 0
        for each in self.origins:
            if row < before + each.num_rows:
                return each.path, each.first_row + row - before
            before += each.num_rows
        return "", row

    def locate(self, row: int) -> str:
        """Returns where a row of the batch comes from, in words."""
        path, source_row = self.place(row)
        return f"row {source_row} of {path}" if path else f"its row {row}"


def cut_origins(origins: Iterable[Origin], start: int, stop: int) -> tuple[Origin, ...]:
    """Returns where rows [start, stop) come from."""
    kept = []
    first = 0
    for each in origins:
        low, high = max(start, first), min(stop, first + each.num_rows)
        if low < high:
            first_row = each.first_row + low - first
            kept.append(Origin(path=each.path, first_row=first_row, num_rows=high - low))
        first += each.num_rows
    return tuple(kept)


def _content_bytes(records: Any) -> int:
    if isinstance(records, np.ndarray):
        return sum(map(len, records))
    from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow

    tf = import_tensorflow()
    return int(tf.reduce_sum(tf.cast(tf.strings.length(records), tf.int64)))


def only_rows(num_rows: int) -> pa.RecordBatch:
    """Returns a RecordBatch without columns that still knows its number of rows."""
    return pa.RecordBatch.from_struct_array(
        pa.StructArray.from_buffers(pa.struct([]), num_rows, [None])
    )


def concat_batches(batches: list[InputBatch]) -> InputBatch:
    """Returns the rows of all `batches` (at least one) in order; a single one is passed through."""
    if len(batches) == 1:
        return batches[0]
    records = None
    if batches[0].records is not None:
        records = concat_arrays([each.records for each in batches])
    return InputBatch(
        columns=pa.concat_batches([each.columns for each in batches]),
        records=records,
        records_bytes=sum(each.records_bytes for each in batches),
        input_bytes=sum(each.input_bytes for each in batches),
        origins=tuple(origin for each in batches for origin in each.origins),
        bad_records=tuple(bad for each in batches for bad in each.bad_records),
    )


def concat_arrays(arrays: Any) -> Any:
    """Concatenates NumPy arrays or TensorFlow tensors along the first dimension."""
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays)
    from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow

    return import_tensorflow().concat(arrays, axis=0)
