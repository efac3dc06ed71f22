"""Parquet: footers for the plan, row groups as RecordBatches for the workers."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from servable_core.errors import DataLossError
from transforms.byte_budget import ByteBudget
from transforms.formats.arrow_errors import may_pass
from transforms.formats.held_batches import MAX_HELD_BYTES, HeldBatches
from transforms.formats.parquet_access import (
    DATA_ERRORS,
    corrupt,
    data_errors,
    for_reading,
    one_line,
    open_parquet,
    open_sized,
)
from transforms.formats.parquet_types import (
    ARROW_SCHEMA_KEY,
    as_schema,
    plain_schema,
)
from transforms.input_batch import only_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class RowGroup:
    """A row group as the footer shows it.

    Attributes:
        num_rows: Rows in it.
        size_bytes: Its share of the file's bytes, by the size of its decoded pages.
    """

    num_rows: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetFooter:
    """What planning needs of one file.

    Attributes:
        schema: Arrow schema of its columns; one object for successive files that agree.
        row_groups: Its row groups in order.
    """

    schema: pa.Schema
    row_groups: tuple[RowGroup, ...]


def read_footer(path: str) -> ParquetFooter:
    """Reads only the footer of the file at `path`.

    Raises:
        DataLossError: The file is no Parquet file, is truncated, or its footer is corrupt.
    """
    with open_sized(path) as (file, file_bytes), data_errors(path):
        metadata = file.metadata
        groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        rows = [int(group.num_rows) for group in groups]
        _check_rows(path, file.schema, groups)
        data_bytes = max(0, file_bytes - int(metadata.serialized_size))
        sizes = share_out(data_bytes, [int(group.total_byte_size) for group in groups])
        row_groups = tuple(
            RowGroup(num_rows=each, size_bytes=size) for each, size in zip(rows, sizes, strict=True)
        )
        return ParquetFooter(schema=_last_schema.of(file), row_groups=row_groups)


def _check_rows(path: str, columns: Any, groups: Sequence[Any]) -> None:
    """Checks that the footer agrees with itself on the rows of each group: no checksum covers it."""
    flat = next(
        (i for i in range(len(columns)) if not columns.column(i).max_repetition_level), None
    )
    for index, group in enumerate(groups):
        num_values = group.num_rows if flat is None else group.column(flat).num_values
        if group.num_rows < 0 or num_values != group.num_rows:
            raise corrupt(
                path,
                f"its footer says that row group {index} has {group.num_rows} rows, but column {columns.column(flat or 0).name!r} {num_values} values",
            )


def share_out(total: int, weights: Sequence[int]) -> list[int]:
    """Returns `total` divided in proportion to `weights`; evenly where they are all zero.

    Asking each column chunk for its compressed size would cost a footer of many columns more than
    all the rest of it.
    """
    weights = [max(0, each) for each in weights]
    if not any(weights):
        weights = [1] * len(weights)
    sum_of_weights = sum(weights)
    return [total * each // sum_of_weights for each in weights]


class _LastSchema:
    """The schema of the file read last, since the next one mostly has the same. Thread-safe.

    Converting a schema of hundreds of columns takes long, and a plan of many files would hold many.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[Any, Any, pa.Schema] | None = None  # Guarded by _lock.

    def of(self, file: pq.ParquetFile) -> pa.Schema:
        """Returns the Arrow schema of `file`."""
        columns = file.metadata.schema
        hints = (file.metadata.metadata or {}).get(ARROW_SCHEMA_KEY)
        with self._lock:
            last = self._last
        if last is not None and last[1] == hints and last[0].equals(columns):
            return last[2]
        schema = plain_schema(file.schema_arrow)
        with self._lock:
            self._last = (columns, hints, schema)
        return schema


_last_schema = _LastSchema()


@dataclass(frozen=True, kw_only=True, slots=True)
class DamagedGroup:
    """A row group that cannot be decoded, so that none of its rows is known.

    Attributes:
        index: Which of the file's row groups.
        num_rows: How many rows the footer says it has.
        reason: Why it cannot be decoded.
    """

    index: int
    num_rows: int
    reason: str


class _UndecodableError(Exception):
    """Row groups cannot be decoded; the message is why."""


def read_rows(
    path: str, first_group: int, end_group: int, columns: Sequence[str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yields the rows of row groups [first_group, end_group), about `batch_rows` at a time.

    Reads only `columns`, in one pass, on the caller's thread. Checksums of pages are verified where
    the writer has stored some.

    Raises:
        DataLossError: A row group cannot be decoded; the message names it.
    """
    groups = range(first_group, end_group)
    with _open_groups(path, groups, columns, batch_rows) as reader:
        try:
            yield from reader.decode(groups)
        except _UndecodableError as error:
            raise corrupt(path, _first_damaged(reader, groups, str(error))) from error


def read_good_groups(
    path: str,
    first_group: int,
    end_group: int,
    columns: Sequence[str],
    batch_rows: int,
    *,
    budget: ByteBudget | None = None,
) -> Iterator[pa.RecordBatch | DamagedGroup]:
    """Yields the rows of those row groups that can be decoded, and in place of others, what is wrong.

    As `read_rows`, but no row of a group comes before all of it has been decoded: columns of which
    damage has taken some values would pass for others until their ends. What is decoded waits in
    memory up to 64 MiB, as far as `budget` has room; a group for which it has none is decoded twice.

    Raises:
        DataLossError: The footer cannot be read; or a row group could be decoded once, but not twice.
    """
    groups = range(first_group, end_group)
    with (
        _open_groups(path, groups, columns, batch_rows) as reader,
        closing(HeldBatches(budget or ByteBudget(MAX_HELD_BYTES))) as held,
    ):
        for group in groups:
            try:
                _decode_whole(reader, group, held)
            except _UndecodableError as error:
                held.close()
                yield DamagedGroup(index=group, num_rows=reader.num_rows(group), reason=str(error))
                continue
            try:
                yield from held.take() if held.is_whole else reader.decode([group])
            except _UndecodableError as error:
                raise corrupt(path, f"row group {group} cannot be read: {error}") from error


def _decode_whole(reader: "_GroupReader", group: int, held: HeldBatches) -> None:
    held.is_whole = True
    for batch in reader.decode([group]):
        held.add(batch)


def _first_damaged(reader: "_GroupReader", groups: Sequence[int], reason: str) -> str:
    """Returns which of several row groups cannot be decoded, and why."""
    for group in groups:
        try:
            for _ in reader.decode([group]):
                pass
        except _UndecodableError as error:
            return f"row group {group} cannot be read: {error}"
    return f"row groups {groups[0]} to {groups[-1]} cannot be read: {reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _GroupReader:
    """An open file, and what is to be read of it."""

    file: pq.ParquetFile
    schema: pa.Schema
    columns: Sequence[str]
    batch_rows: int

    def num_rows(self, group: int) -> int:
        return int(self.file.metadata.row_group(group).num_rows)

    def decode(self, groups: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """Yields the rows of these groups.

        Raises:
            _UndecodableError: They cannot be decoded, or are not as many as the footer says.
        """
        try:
            batches = self.file.iter_batches(
                batch_size=self.batch_rows,
                row_groups=list(groups),
                columns=list(self.columns),
                use_threads=False,
            )
            for batch in _exactly(batches, sum(map(self.num_rows, groups))):
                yield as_schema(batch, self.schema) if self.columns else only_rows(batch.num_rows)
        except DATA_ERRORS as error:
            if may_pass(error):
                raise
            raise _UndecodableError(one_line(error)) from error


def _exactly(batches: Iterator[pa.RecordBatch], num_rows: int) -> Iterator[pa.RecordBatch]:
    """Yields the batches, the last one only when all have `num_rows` rows together.

    Arrow takes the length of a page from its header, which no checksum covers.
    """
    held = None
    seen = 0
    for batch in batches:
        seen += batch.num_rows
        if held is not None:
            yield held
        held = batch
    if seen != num_rows:
        raise _UndecodableError(f"it has {seen} rows, but the footer says {num_rows}")
    if held is not None:
        yield held


@contextmanager
def _open_groups(
    path: str, groups: Sequence[int], columns: Sequence[str], batch_rows: int
) -> Iterator[_GroupReader]:
    with ExitStack() as stack:
        with data_errors(path):
            file = stack.enter_context(open_parquet(path))
            reader = stack.enter_context(for_reading(path, file, groups, columns))
            schema = plain_schema(file.schema_arrow)
        yield _GroupReader(file=reader, schema=schema, columns=columns, batch_rows=batch_rows)


def read_head(path: str, num_rows: int) -> pa.Table:
    """Returns the first `num_rows` rows with all columns; of row groups that are damaged, none.

    Raises:
        DataLossError: No row can be decoded.
    """
    with open_parquet(path) as file:
        schema = plain_schema(file.schema_arrow)
        num_groups = file.metadata.num_row_groups
    wanted = (path, 0, num_groups, schema.names, max(1, num_rows))
    try:
        first = next(read_rows(*wanted), None)
    except DataLossError:
        good = (each for each in read_good_groups(*wanted) if isinstance(each, pa.RecordBatch))
        first = next(good, None)
        if first is None:
            raise
    table = pa.Table.from_batches([] if first is None else [first], schema)
    return table.slice(0, num_rows)
