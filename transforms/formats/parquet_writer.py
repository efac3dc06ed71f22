"""Parquet output: row groups of a size that readers like, zstd, and a checksum for each page."""

import contextlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import override

from servable_core.errors import InvalidArgumentError
from transforms.formats.part_writer import NO_TENSORS, PartWriter, RowTensors, check_same_schema
from transforms.storage import DigestingSink, WrittenFile

# What engines read at a time. A group is in memory until it is full.
_ROW_GROUP_ROWS = 1_000_000
_ROW_GROUP_BYTES = 128 << 20
_ZSTD_LEVEL = 1  # higher ones take twice the time and save some percent


class ParquetWriter(PartWriter):
    """Collects RecordBatches into row groups of a Parquet file. One thread at a time."""

    def __init__(self, sink: DigestingSink) -> None:
        self._sink = sink
        self._writer: Any = None
        self._schema: pa.Schema | None = None
        self._batches: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._rows = 0

    @property
    @override
    def rows(self) -> int:
        return self._rows

    @override
    def write(self, columns: pa.RecordBatch, tensors: RowTensors = NO_TENSORS) -> None:
        if self._schema is None:
            self._schema = columns.schema
        check_same_schema(self._schema, columns.schema)
        _check_no_null_lists(columns)
        self._batches.append(columns)
        self._rows += columns.num_rows
        self._pending_rows += columns.num_rows
        self._pending_bytes += columns.nbytes
        if self._pending_rows >= _ROW_GROUP_ROWS or self._pending_bytes >= _ROW_GROUP_BYTES:
            self._write_row_group()

    @override
    def close(self) -> None:
        if self._batches:
            self._write_row_group()
        if self._writer is not None:
            self._writer.close()

    @override
    def abandon(self) -> None:
        self._sink.discard()  # pyarrow's writer insists on writing a footer, which goes nowhere
        self._batches = []
        if self._writer is not None:
            with contextlib.suppress(Exception):  # the error that led here is the one to tell
                self._writer.close()

    @override
    def written(self) -> WrittenFile:
        return self._sink.written()

    def _write_row_group(self) -> None:
        table = pa.Table.from_batches(self._batches)
        if self._writer is None:
            self._writer = _open(self._sink, table.schema)
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._batches, self._pending_rows, self._pending_bytes = [], 0, 0


def _check_no_null_lists(columns: pa.RecordBatch) -> None:
    """Checks for what Arrow writes into Parquet, but cannot read from there."""
    for name, column in zip(columns.schema.names, columns.columns, strict=True):
        if pa.types.is_fixed_size_list(column.type) and column.null_count:
            raise InvalidArgumentError(
                f"column {name!r} is {column.type} with a null in place of a list, which Parquet's readers fail on; make it a list of varying length with --postprocess"
            )


def _open(sink: DigestingSink, schema: pa.Schema) -> Any:
    return pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        write_page_checksum=True,
        use_dictionary=_text_columns(schema),
    )


def _text_columns(schema: pa.Schema) -> list[str]:
    """Returns the columns worth a dictionary: keys and scores hardly repeat, text often does."""
    types = pa.types
    return [
        field.name
        for field in schema
        if types.is_string(field.type)
        or types.is_binary(field.type)
        or types.is_dictionary(field.type)
    ]
