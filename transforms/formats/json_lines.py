"""JSON Lines: one object a line, keys as columns; plain or gzip.

Rows are numbered by their lines, blank ones left out. A key that a line lacks is a null.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pj

from servable_core.errors import DataLossError
from transforms.bad_records import BadRecord
from transforms.formats.json_depth import is_nested_deeper
from transforms.formats.json_line_checks import (
    BOM,
    MAX_DEPTH,
    NO_OBJECT,
    NO_UTF8,
    TOO_DEEP,
    LineChecks,
)
from transforms.formats.json_schema import tables_of_most
from transforms.formats.parsed_stretches import parse_stretches
from transforms.formats.text_files import (
    DEAD_LETTER,
    FAIL,
    CutOffError,
    bad_line,
    open_text,
    settle,
)
from transforms.formats.text_types import common_type
from transforms.input_batch import InputBatch, only_rows
from transforms.row_numbers import numbers_between, origins_of

_BLOCK_BYTES = 1 << 20
_MAX_LINE_BYTES = 256 << 20
_NEWLINE, _RETURN = ord("\n"), ord("\r")
_OPEN, _CLOSE = ord("{"), ord("}")
_SPACE = ord(" ")
_REFUSALS = (pa.ArrowInvalid, UnicodeDecodeError)
# Arrow takes a null for an object, and crashes if the first one is none.
_NULL_FIRST = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*null")
_ROW_IN_BLOCK = re.compile(r" in row \d+$")


@dataclass(frozen=True, kw_only=True, slots=True)
class LineRange:
    """Some whole lines of an uncompressed file.

    Attributes:
        first_byte: Where the first of them begins.
        end_byte: Where the last of them ends.
        first_row: Number of the first row in the file.
        num_rows: How many rows they are.
    """

    first_byte: int
    end_byte: int
    first_row: int
    num_rows: int


def read_schema(path: str, on_error: str = FAIL) -> pa.Schema:
    """Returns the keys in the file's first lines, and the types of their values.

    Where lines do not agree, most of them decide; the others are bad rows. Times remain strings.

    Raises:
        DataLossError: None of these lines is a JSON object.
    """
    with open_text(path, on_error) as file:
        block = next(_blocks(path, file.stream, 0, None), b"")
    lines = [line.removeprefix(BOM) for _, line in _lines(block)]
    if not lines:
        return pa.schema([])
    types: dict[str, pa.DataType] = {}
    for field in (field for table in _head_tables(path, lines) for field in _schema(table)):
        known = types.setdefault(field.name, field.type)
        types[field.name] = common_type(known, field.type) or known
    return pa.schema(list(types.items()))


def _head_tables(path: str, lines: Sequence[bytes]) -> list[pa.Table]:
    """Returns the good ones of the lines, as tables, the largest of which comes first."""
    try:
        return [_parse_lines(lines)]
    except _REFUSALS:
        checks = LineChecks(None)
    wrong = [checks.wrong_with(line) for line in lines]
    good = [line for line, words in zip(lines, wrong, strict=True) if words is None]
    tables = tables_of_most(good, _parse_lines, _REFUSALS)
    if not tables:
        raise DataLossError(
            f"{path} cannot be read as JSON Lines: {wrong[0] or 'Arrow refuses each of its lines'}; it must have one object on each line. Give --input_format if it is something else"
        )
    return tables


def _schema(table: pa.Table) -> pa.Schema:
    return pa.schema([(field.name, _without_times(field.type)) for field in table.schema])


def _without_times(data_type: pa.DataType) -> pa.DataType:
    if pa.types.is_list(data_type):
        return pa.list_(_without_times(data_type.value_type))
    return pa.string() if pa.types.is_timestamp(data_type) else data_type


def count_rows(path: str, at_most: int) -> int:
    """Returns the number of rows, good and bad, but no more than `at_most`.

    Rows that cannot be told from one another count as one.
    """
    num_rows = 0
    try:
        with open_text(path, DEAD_LETTER) as file:
            for block in _blocks(path, file.stream, 0, None):
                num_rows += _count_lines(block)
                if num_rows >= at_most:
                    return at_most
    except CutOffError:
        return num_rows + 1
    return num_rows


def cut_lines(path: str, range_bytes: int) -> list[LineRange]:
    """Returns ranges of about `range_bytes` that have all rows of the file between them.

    Reads the file, but parses nothing. A compressed file has no ranges: it is read from its start.
    """
    ranges = []
    first_byte = end_byte = first_row = num_rows = 0
    with open_text(path) as file:
        blocks = _blocks(path, file.stream, 0, None, min(range_bytes, _BLOCK_BYTES))
        for block in () if file.is_compressed else blocks:
            end_byte += len(block)
            num_rows += _count_lines(block)
            if end_byte - first_byte >= range_bytes:
                ranges.append(_line_range(first_byte, end_byte, first_row, num_rows))
                first_byte, first_row, num_rows = end_byte, first_row + num_rows, 0
    if num_rows:
        ranges.append(_line_range(first_byte, end_byte, first_row, num_rows))
    return ranges


def _line_range(first_byte: int, end_byte: int, first_row: int, num_rows: int) -> LineRange:
    return LineRange(
        first_byte=first_byte, end_byte=end_byte, first_row=first_row, num_rows=num_rows
    )


def read_batches(
    path: str,
    schema: pa.Schema,
    *,
    first_byte: int = 0,
    end_byte: int | None = None,
    first_row: int = 0,
    num_rows: int | None = None,
    on_error: str = FAIL,
) -> Iterator[InputBatch]:
    """Yields rows in order, about 1 MiB at a time, parsed on the caller's thread.

    Args:
        path: The file.
        schema: Keys wanted, and their types; others are skipped.
        first_byte: Where a row begins. Compressed files begin at 0.
        end_byte: Where the last row wanted ends; None for the end of the file.
        first_row: Number of the row at `first_byte`.
        num_rows: How many rows, good and bad, are wanted; None for all.
        on_error: What happens when a line is no object of such types: "fail", or "dead_letter",
            which reports it beside the rows.

    Raises:
        InvalidArgumentError: A line is bad, with "fail".
        CutOffError: The file is damaged so that lines are lost, with "fail".
    """
    batches = _read(path, schema, first_byte, end_byte, first_row, on_error=on_error)
    end_row = None if num_rows is None else first_row + num_rows
    return settle(batches, path, first_row, end_row, on_error)


def _read(
    path: str,
    schema: pa.Schema,
    first_byte: int,
    end_byte: int | None,
    first_row: int,
    *,
    on_error: str,
) -> Iterator[InputBatch]:
    with open_text(path, on_error) as file:
        if first_byte:
            file.stream.seek(first_byte)
        position, row, offset = file.position(), first_row, first_byte
        for block in _blocks(path, file.stream, first_byte, end_byte):
            columns, bad_records = _parse_block(path, block, schema, row, offset)
            last, position = position, file.position()
            bad_rows = np.array([each.source_row for each in bad_records], np.int64)
            rows = numbers_between(row, columns.num_rows, bad_rows)
            row, offset = row + len(rows) + len(bad_rows), offset + len(block)
            yield InputBatch(
                columns=columns,
                input_bytes=position - last,
                origins=origins_of(path, rows),
                bad_records=bad_records,
            )


def _blocks(
    path: str,
    stream: Any,
    first_byte: int,
    end_byte: int | None,
    block_bytes: int = _BLOCK_BYTES,
) -> Iterator[bytes]:
    """Yields the file's bytes, each time some whole lines; only the last may lack its newline."""
    left = None if end_byte is None else end_byte - first_byte
    parts: list[bytes] = []
    while left is None or left > 0:
        chunk: bytes = stream.read(block_bytes if left is None else min(left, block_bytes))
        if not chunk:
            break
        left = None if left is None else left - len(chunk)
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield b"".join([*parts, chunk[:cut]])
            parts = []
        parts.append(chunk[cut:])
        if sum(map(len, parts)) > _MAX_LINE_BYTES:
            raise CutOffError(
                f"{path} has a line longer than {_MAX_LINE_BYTES >> 20} MiB, so it is hardly JSON Lines, which have one object on each line"
            )
    if rest := b"".join(parts):
        yield rest


def _parse_block(
    path: str, block: bytes, schema: pa.Schema, first_row: int, offset: int
) -> tuple[pa.RecordBatch, tuple[BadRecord, ...]]:
    """Returns the good rows, and the bad ones."""
    try:
        table = _parse(block, schema)
    except _REFUSALS:
        table = None
    if table is not None and table.num_rows == _count_objects(block):
        return _to_batch([table], schema), ()
    lines = _lines(block)
    good, wrong = _isolated(lines, schema)
    bad_records = tuple(
        bad_line(
            path, first_row + index, words, lines[index][1].rstrip(b"\r"), offset + lines[index][0]
        )
        for index, words in sorted(wrong.items())
    )
    return _to_batch(good, schema), bad_records


def _isolated(
    lines: list[tuple[int, bytes]], schema: pa.Schema
) -> tuple[list[pa.Table], dict[int, str]]:
    """Returns the good lines as tables, in order, and what is wrong with each of the others."""
    checks = LineChecks(schema)
    told = [checks.wrong_with(line) for _, line in lines]
    wrong = {index: words for index, words in enumerate(told) if words is not None}
    doubtful = [index for index, words in enumerate(told) if words is None]
    texts = [lines[index][1].removeprefix(BOM) for index in doubtful]

    def parse(start: int, stop: int) -> pa.Table:
        return _parse_lines(texts[start:stop], schema)

    good = []
    for each in parse_stretches(parse, len(texts), _REFUSALS):
        if each.error is None:
            good.append(each.result)
        else:
            wrong[doubtful[each.start]] = _words(each.error)
    return good, wrong


def _parse_lines(lines: Sequence[bytes], schema: pa.Schema | None = None) -> pa.Table:
    table = _parse(b"\n".join(lines), schema)
    if table.num_rows != len(lines):  # an object on several lines, or several on one
        raise pa.ArrowInvalid("it is no line with one whole JSON object")
    return table


def _parse(text: bytes, schema: pa.Schema | None) -> pa.Table:
    if schema is None:
        options = pj.ParseOptions()
    else:
        options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    text.decode("utf-8")  # Arrow does not look at it
    if is_nested_deeper(text, MAX_DEPTH):  # where Arrow recurses until its stack overflows
        raise pa.ArrowInvalid(TOO_DEEP)
    if _NULL_FIRST.match(text):
        raise pa.ArrowInvalid(NO_OBJECT)
    if not text.strip():
        return pa.table({}) if schema is None else schema.empty_table()
    return pj.read_json(
        pa.BufferReader(text),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=options,
    )


def _to_batch(tables: list[pa.Table], schema: pa.Schema) -> pa.RecordBatch:
    if not schema.names:
        return only_rows(sum(each.num_rows for each in tables))
    table = pa.concat_tables(
        [each.select(schema.names) for each in tables] or [schema.empty_table()]
    )
    arrays = [column.combine_chunks() for column in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _lines(block: bytes) -> list[tuple[int, bytes]]:
    """Returns the lines that are not blank, each with its offset."""
    lines, offset = [], 0
    for line in block.split(b"\n"):
        if line.strip():
            lines.append((offset, line))
        offset += len(line) + 1
    return lines


def _count_lines(block: bytes) -> int:
    """Returns the number of lines that are not blank."""
    signs = np.frombuffer(block, np.uint8)
    starts = np.concatenate(([0], np.flatnonzero(signs == _NEWLINE) + 1))
    starts = starts[starts < len(signs)]
    doubtful = starts[signs[starts] <= _SPACE]
    num_blank = sum(not block[start : _end(block, start)].strip() for start in doubtful.tolist())
    return len(starts) - num_blank


def _count_objects(block: bytes) -> int:
    """Returns the number of lines that are not blank, if each may be an object; else -1.

    Arrow takes two objects on a line, and one on two lines. If all lines begin and end with an
    object's brackets, none goes on in the next one: nothing in JSON has these two side by side.
    """
    signs = np.frombuffer(block, np.uint8)
    stops = np.flatnonzero(signs == _NEWLINE)
    if block and not block.endswith(b"\n"):
        stops = np.append(stops, len(signs))
    starts = np.concatenate(([0], stops[:-1] + 1))[: len(stops)]
    lasts = np.maximum(stops - 1, 0)
    lasts = np.maximum(lasts - (signs[lasts] == _RETURN), 0)
    is_object = (signs[starts] == _OPEN) & (signs[lasts] == _CLOSE) & (lasts > starts)
    num_objects = int(is_object.sum())
    others = zip(starts[~is_object].tolist(), stops[~is_object].tolist(), strict=True)
    for line in (block[start:stop].removeprefix(BOM).strip() for start, stop in others):
        if line and not (line.startswith(b"{") and line.endswith(b"}")):
            return -1
        num_objects += bool(line)
    return num_objects


def _end(block: bytes, start: int) -> int:
    end = block.find(b"\n", start)
    return len(block) if end < 0 else end


def _words(error: BaseException | None) -> str:
    if isinstance(error, UnicodeDecodeError):
        return NO_UTF8
    message = str(error).split("\n", 1)[0].removeprefix("JSON parse error: ")
    return _ROW_IN_BLOCK.sub("", message).removesuffix(".")
