"""Records of letters that are rows, and those that only look like it."""

import base64
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servable_core.errors import DataLossError
from transforms.dead_letter_files import LetterRecord, read_row_types
from transforms.dead_letter_rows import parse_row, row_schema, to_columns
from transforms.dead_letters import ROW_TYPES_KEY, SCHEMA


def _letter(record):
    return LetterRecord(record=record, source_file="a", source_row=7, byte_offset=None)


def test_a_row():
    """Bytes come back as such; where the row comes from, its letter says."""
    record = b'{"source_file": "a", "source_row": 7, "x": [{"b64": "/w=="}, 1]}'
    assert parse_row(_letter(record)) == {"x": [b"\xff", 1]}


def test_a_column_of_the_name_that_bytes_have():
    """The row itself is none of its values."""
    assert parse_row(_letter(b'{"b64": "/w=="}')) == {"b64": "/w=="}


@pytest.mark.parametrize(
    "record",
    [
        b"\x0a\x00",
        b'{"x": 1',
        b'{"x": "\xff"}',
        b'{"x": {"b64": "abc"}}',
        b'{"x": ' + b"9" * 5000 + b"}",
        pytest.param(b'{"x": ' * 100_000, id="open"),
        pytest.param(b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="deep"),
    ],
)
def test_no_row(record):
    """Whatever a damaged line was, it is a bad record, and no error of its reader."""
    assert parse_row(_letter(record)) is None


@pytest.mark.parametrize(
    "types",
    [
        b'{"a": "floqt"}',
        b'{"a": 1}',
        b'{"a": "int64"',
        b'["int64"]',
        b'{"\xff": "int64"}',
        b'{"a": "arrow:???"}',
        json.dumps({"a": "arrow:" + base64.b64encode(b"\xff" * 40).decode()}).encode(),
    ],
)
def test_damaged_types(tmp_path, types):
    """Types that are none are damage to the file, which is named."""
    path = tmp_path / "a.parquet"
    table = SCHEMA.empty_table()
    pq.write_table(table.replace_schema_metadata({ROW_TYPES_KEY: types}), path)
    with pytest.raises(DataLossError, match=f"^{path} is a corrupt Parquet file: the types of its"):
        read_row_types(str(path))
    pq.write_table(table.replace_schema_metadata({ROW_TYPES_KEY: b'{"a": "int64"}'}), path)
    assert read_row_types(str(path)) == {"a": pa.int64()}


@pytest.mark.parametrize(
    ("value", "data_type"),
    [
        (10**30, pa.int64()),
        (-1, pa.uint8()),
        (10**30, pa.float32()),
        ("9" * 5000, pa.int64()),
        ("\ud800", pa.string()),
        ({"x": 1}, pa.float32()),
        (10**30, None),
        ([1, "x"], None),
    ],
)
def test_values_of_no_type(value, data_type):
    """What is not of its column's type is an error that names file and column, in few words."""

    def make_columns():
        if data_type is None:
            row_schema([{"a": value}], {}, "f")
        else:
            to_columns([{"a": value}], pa.schema([("a", data_type)]), "f")

    with pytest.raises(DataLossError, match=r"^f: column 'a' of the records cannot be") as caught:
        make_columns()
    assert len(str(caught.value)) < 400
