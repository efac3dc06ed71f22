"""Records of letters that are rows, and those that only look like it."""

import pytest

from transforms.dead_letter_files import LetterRecord
from transforms.dead_letter_rows import parse_row


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
