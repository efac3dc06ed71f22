"""Writes the parts of one unit, one Parquet file per model, visible only when all are complete."""

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from servable_core.errors import InternalError
from transforms.storage import DigestingSink, WrittenFile, create_file

_ROW_GROUP_ROWS = 131_072
_ROW_GROUP_BYTES = 32 << 20


class PartWriter:
    """Collects RecordBatches into row groups of a Parquet file. One thread at a time."""

    def __init__(self, sink: DigestingSink) -> None:
        self._sink = sink
        self._writer: Any = None
        self._batches: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._rows = 0

    @property
    def rows(self) -> int:
        """Returns the rows written so far."""
        return self._rows

    def write(self, batch: pa.RecordBatch) -> None:
        """Adds rows.

        Raises:
            InternalError: The batch has other columns or types than the first one.
        """
        if self._batches and not batch.schema.equals(self._batches[0].schema):
            raise InternalError(
                f"the outputs changed their type within a unit: {_difference(self._batches[0].schema, batch.schema)}"
            )
        self._batches.append(batch)
        self._rows += batch.num_rows
        self._pending_rows += batch.num_rows
        self._pending_bytes += batch.nbytes
        if self._pending_rows >= _ROW_GROUP_ROWS or self._pending_bytes >= _ROW_GROUP_BYTES:
            self._write_row_group()

    def close(self) -> None:
        """Writes what is left and the footer."""
        if self._batches:
            self._write_row_group()
        if self._writer is not None:
            self._writer.close()

    def abandon(self) -> None:
        """Gives up: pyarrow's writer insists on writing a footer, which goes nowhere."""
        self._sink.discard()
        if self._writer is not None:
            with contextlib.suppress(Exception):  # the error that led here is the one to tell
                self._writer.close()

    def written(self) -> WrittenFile:
        """Returns size and digest of the file."""
        return self._sink.written()

    def _write_row_group(self) -> None:
        table = pa.Table.from_batches(self._batches)
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._sink,
                table.schema,
                write_page_checksum=True,
                compression="snappy",
                use_dictionary=_text_columns(table.schema),
            )
        elif not table.schema.equals(self._writer.schema):
            raise InternalError(
                f"the outputs changed their type within a unit: {_difference(self._writer.schema, table.schema)}"
            )
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._batches, self._pending_rows, self._pending_bytes = [], 0, 0


def _text_columns(schema: pa.Schema) -> list[str]:
    """Returns the columns worth a dictionary: keys and scores hardly repeat, text often does."""
    return [
        field.name
        for field in schema
        if pa.types.is_string(field.type) or pa.types.is_binary(field.type)
    ]


def _difference(first: pa.Schema, second: pa.Schema) -> str:
    changed = [
        f"{name} was {first.field(name).type}, is {second.field(name).type}"
        for name in second.names
        if name in first.names and first.field(name).type != second.field(name).type
    ]
    return "; ".join(changed) or f"columns were {first.names}, are {second.names}"


@contextmanager
def part_writers(output: str, paths: list[str]) -> Iterator[list[PartWriter]]:
    """Yields a writer for each of `paths`; all files appear when the body is through, or none.

    Files are committed in order, after every one of them has been written to its end.
    """
    with ExitStack() as stack:
        sinks = [stack.enter_context(create_file(output, path)) for path in reversed(paths)]
        writers = [PartWriter(sink) for sink in reversed(sinks)]
        try:
            yield writers
            for writer in writers:
                writer.close()
        except BaseException:
            for writer in writers:
                writer.abandon()
            raise
