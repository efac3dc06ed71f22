"""CSV with a header line, plain or gzip: read as text, and converted to the planned types here.

Rows are numbered behind the header, blank lines left out. An empty field is a null, but in a column
of text an empty text. Quoted fields may contain commas, quotes (doubled) and newlines, so a file
cannot be entered in the middle, and is read whole.
"""

import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from servable_core.errors import DataLossError
from transforms.bad_records import BadRecord
from transforms.formats.csv_values import convert, is_castable, rows_as_json
from transforms.formats.text_escapes import (
    MAX_GROWTH,
    EscapedStream,
    escaped_rows,
    has_escapes,
    unescape,
    unescape_values,
)
from transforms.formats.text_files import (
    DEAD_LETTER,
    FAIL,
    CutOffError,
    bad_line,
    open_text,
    settle,
    up_to_the_cut,
)
from transforms.input_batch import InputBatch, only_rows
from transforms.row_numbers import numbers_between, origins_of

_BLOCK_BYTES = 4 << 20
_HEAD_BYTES = 1 << 20
_PEEKED_BYTES = 4096
_FIRST_LINE = 2  # Arrow counts the header as line 1
_QUOTED_ROW = re.compile(r"(?<=, got )(\d+):.*")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_NUMBER = r"^\s*[-+]?(\d+\.?\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?|nan|inf)\s*$"
# Number, what is wrong with it, and its text.
_Row = tuple[int, str, bytes]
_INFERRED = (pa.int64(), pa.float64(), pa.bool_(), pa.string(), pa.binary(), pa.null())


def read_schema(path: str, on_error: str = FAIL, numbers: Collection[str] = ()) -> pa.Schema:
    """Returns the columns in the header, and the types of the first rows' values.

    Types are int64, float64, bool and string; binary where text is not UTF-8; and null where there
    are no values. Dates and times remain strings.

    Args:
        path: The file.
        on_error: With "dead_letter", of a compressed file that is damaged, the rows before the
            damage are enough.
        numbers: Columns that should be numbers: they are if most of their values are.

    Raises:
        DataLossError: The file is no CSV.
    """
    with open_text(path, on_error) as file, _csv_errors(path):
        head = file.head(_HEAD_BYTES)
        _check_text(path, head)
        text = EscapedStream(io.BytesIO(head), len(head))
        reader = _open(text, _HEAD_BYTES, None, [])
        names, types = reader.schema.names, reader.schema.types
        if any(has_escapes(name.encode()) for name in names):
            raise _no_csv(path, "its header is not UTF-8")
        if text.has_escapes or not set(names).isdisjoint(numbers):
            first = next(iter(reader), _no_rows(reader.schema))
            types = [
                _type_of(column, is_number=name in numbers)
                for name, column in zip(names, first.columns, strict=True)
            ]
        return pa.schema(
            [
                (name, data_type if data_type in _INFERRED else pa.string())
                for name, data_type in zip(names, types, strict=True)
            ]
        )


def _type_of(values: pa.Array, *, is_number: bool) -> pa.DataType:
    """Returns the type of a column: as it was guessed, unless that is text for some values' fault.

    Values that are not UTF-8 do not count among numbers; text that has some is bytes. Nor do any
    that are no numbers, where these are wanted, and most are.
    """
    if values.type not in (pa.string(), pa.binary()):
        return values.type
    escaped = escaped_rows(values)
    rest = values.filter(pc.invert(escaped)).drop_null()
    wanted = (pa.int64(), pa.float64()) if is_number else (pa.int64(), pa.float64(), pa.bool_())
    if is_number:
        good = rest.filter(pc.match_substring_regex(rest, _NUMBER))
        rest = good if 2 * len(good) > len(values) - values.null_count else rest
    elif not pc.any(escaped).as_py():
        return values.type
    found = next(
        (each for each in wanted if len(rest) and is_castable(rest.cast(pa.string()), each)), None
    )
    if found is not None:
        return found
    return pa.binary() if pc.any(escaped).as_py() else values.type


def _check_text(path: str, head: bytes) -> None:
    """Checks that the file does not begin as a binary one, of which Arrow would make odd columns.

    In a later line such bytes are damage to that line.
    """
    if _CONTROL.search(head[:_PEEKED_BYTES].lstrip(b"\r\n").partition(b"\n")[0]):
        raise DataLossError(
            f"{path} cannot be read as CSV: it is binary, or not UTF-8. Give --input_format if it is something else"
        )


def count_rows(path: str, at_most: int) -> int:
    """Returns the number of rows, good and bad, but no more than `at_most`.

    Rows that cannot be told from one another count as one.
    """
    num_rows = 0
    for batch in up_to_the_cut(_read(path, pa.schema([]), DEAD_LETTER), path, 0):
        num_rows += batch.num_rows + len(batch.bad_records)
        if num_rows >= at_most:
            return at_most
    return num_rows


def read_batches(
    path: str, schema: pa.Schema, *, num_rows: int | None = None, on_error: str = FAIL
) -> Iterator[InputBatch]:
    """Yields rows in order, about 4 MiB at a time, parsed on the caller's thread.

    Args:
        path: The file.
        schema: Columns wanted, and their types; others are not converted.
        num_rows: How many rows, good and bad, are wanted; None for all.
        on_error: What happens when a row has too few or too many fields, or a value is not of its
            type: "fail", or "dead_letter", which reports it beside the rows.

    Raises:
        InvalidArgumentError: A row is bad, with "fail".
        CutOffError: The file is damaged so that rows are lost, with "fail".
        DataLossError: A column is missing.
    """
    return settle(_read(path, schema, on_error), path, 0, num_rows, on_error)


def _read(path: str, schema: pa.Schema, on_error: str) -> Iterator[InputBatch]:
    # With no columns, rows are counted, for which Arrow must read some.
    names = schema.names or read_schema(path, on_error).names
    invalid: list[_Row] = []  # with a wrong number of fields; the reader puts them in here
    with open_text(path, on_error) as file, _csv_errors(path):
        text = EscapedStream(file.stream, _BLOCK_BYTES)
        reader = _open(text, _BLOCK_BYTES, dict.fromkeys(names, pa.binary()), invalid)
        row = position = 0
        for found in reader:
            texts = _unescaped(found) if text.has_escapes else found
            last, position = position, file.position()
            malformed = _take_before(invalid, row, texts.num_rows)
            rows = numbers_between(
                row, texts.num_rows, np.array([each[0] for each in malformed], np.int64)
            )
            row += texts.num_rows + len(malformed)
            columns, good_rows, unfit = _converted(path, texts, rows, schema)
            yield InputBatch(
                columns=columns,
                input_bytes=position - last,
                origins=origins_of(path, good_rows),
                bad_records=(*_malformed(path, malformed), *unfit),
            )
        if invalid:
            bad_records = _malformed(path, invalid)
            yield InputBatch(columns=_no_rows(schema), bad_records=bad_records)
        if text.error is not None:
            raise text.error


def _unescaped(texts: pa.RecordBatch) -> pa.RecordBatch:
    columns = [unescape_values(each) for each in texts.columns]
    return pa.RecordBatch.from_arrays(columns, schema=texts.schema)


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema) if schema.names else only_rows(0)


def _open(
    text: EscapedStream,
    block_bytes: int,
    columns: Mapping[str, pa.DataType] | None,
    invalid: list[_Row],
) -> pcsv.CSVStreamingReader:
    """Opens the file for reading `columns`; with none, types are guessed."""

    def skip(row: pcsv.InvalidRow) -> str:
        words = f"it has {row.actual_columns} fields, but the header has {row.expected_columns}"
        invalid.append((row.number - _FIRST_LINE, words, unescape(row.text.encode())))
        return "skip"

    return pcsv.open_csv(
        pa.PythonFile(text, mode="r"),
        read_options=pcsv.ReadOptions(block_size=MAX_GROWTH * block_bytes, use_threads=False),
        parse_options=pcsv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        convert_options=pcsv.ConvertOptions(
            column_types=columns,
            include_columns=list(columns or ()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _take_before(invalid: list[_Row], row: int, num_rows: int) -> list[_Row]:
    """Removes, and returns, those that lie before the last of `num_rows` good rows from `row` on."""
    stop = 0
    while stop < len(invalid) and invalid[stop][0] < row + num_rows + stop:
        stop += 1
    taken = invalid[:stop]
    del invalid[:stop]
    return taken


def _malformed(path: str, invalid: Sequence[_Row]) -> tuple[BadRecord, ...]:
    return tuple(bad_line(path, row, words, text, None) for row, words, text in invalid)


def _converted(
    path: str, texts: pa.RecordBatch, rows: np.ndarray, schema: pa.Schema
) -> tuple[pa.RecordBatch, np.ndarray, tuple[BadRecord, ...]]:
    """Returns the rows whose values are of their types, which rows these are, and the others."""
    num_rows = texts.num_rows
    if not schema.names:
        return only_rows(num_rows), rows, ()
    columns, wrong = convert(texts, schema)
    bad = sorted(wrong)
    bad_records = tuple(
        bad_line(path, row, wrong[index], record, None)
        for index, row, record in zip(
            bad, rows[bad].tolist(), rows_as_json(texts, bad), strict=True
        )
    )
    return columns, np.delete(rows, bad), bad_records


@contextmanager
def _csv_errors(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowKeyError, UnicodeDecodeError) as error:
        if "straddling object" in str(error):
            raise CutOffError(
                f"{path} cannot be read as CSV: a row is longer than {_BLOCK_BYTES >> 20} MiB; is a quote never closed?"
            ) from error
        raise _no_csv(path, _words(error)) from error


def _no_csv(path: str, words: str) -> DataLossError:
    return DataLossError(
        f"{path} cannot be read as CSV: {words}; it must have a header line. Give --input_format if it is something else"
    )


def _words(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    message = _QUOTED_ROW.sub(r"\1", str(error).strip("'\"").split("\n", 1)[0]).rstrip(". ")
    return "".join(sign for sign in message if sign.isprintable())
