import pyarrow as pa

from pipelines.text_table import text_table


def test_columns_line_up():
    """Names and values stand at the right of their column; nothing of a value's kind matters."""
    table = pa.table(
        {
            "id": [7, 1234],
            "score": pa.array([0.1, None], pa.float32()),
            "text": [b"caf\xc3\xa9", b"\xff"],
            "vector": [[1.0, 2.5], []],
        }
    )
    assert text_table(table).splitlines() == [
        "  id score text   vector",
        "   7   0.1 café [1, 2.5]",
        "1234  None \\xff       []",
    ]


def test_long_values_are_cut():
    """A row stays a line that can be looked at."""
    header, row = text_table(pa.record_batch({"x": [[1.0] * 1000]})).splitlines()
    assert row.startswith("[1, 1, 1")
    assert row.endswith("...")
    assert len(row) == len(header) == 60


def test_no_rows():
    """Names alone."""
    assert text_table(pa.table({"a": pa.array([], pa.int64()), "b": []})) == "a b"
