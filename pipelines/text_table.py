"""Rows as text, in columns that line up, for people to look at."""

from typing import Any

import pyarrow as pa

_SIGNIFICANT_DIGITS = 6
_MAX_CHARACTERS = 60


def text_table(rows: pa.RecordBatch | pa.Table) -> str:
    """Returns a line of names and a line for each row; numbers are rounded, long values cut short."""
    columns = [
        [name, *(_cell(value) for value in rows.column(name).to_pylist())]
        for name in rows.schema.names
    ]
    widths = [max(map(len, column)) for column in columns]
    lines = zip(*columns, strict=True)
    return "\n".join(
        " ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def _cell(value: Any) -> str:
    text = _words(value)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 3]}..."


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.{_SIGNIFICANT_DIGITS}g}"
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, list):
        return f"[{', '.join(map(_words, value))}]"
    return str(value)
