import json
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.formats import csv_values
from transforms.formats.csv_values import convert, is_castable, rows_as_json

_TYPES = (pa.int64(), pa.float64(), pa.bool_(), pa.string(), pa.binary())
_FIELDS = st.one_of(
    st.none(),
    st.integers(-(2**64), 2**64).map(lambda each: str(each).encode()),
    st.floats().map(lambda each: str(each).encode()),
    st.text("0123456789abcdefxinINFTRUE .,+-_()", max_size=6).map(str.encode),
    st.text(max_size=3).map(str.encode),
    st.binary(max_size=3),
)


def _texts(**columns):
    return pa.record_batch({name: pa.array(each, pa.binary()) for name, each in columns.items()})


@settings(max_examples=300, deadline=None)
@given(st.lists(_FIELDS, max_size=12), st.sampled_from(_TYPES))
@example([b"1" * 5000, b"0x1F", b"-0xg", b"nan(x)", b"1_0", b"\xd9\xa1", b" 7\t"], pa.int64())
@example([b"1" * 5000, b"0x1F", b"nan(x)", b"1_0", b"\xd9\xa1", b"-inf", b".5"], pa.float64())
def test_each_row_is_judged_by_itself(fields, data_type):
    """A value is good, and the same, whatever stands beside it."""
    schema = pa.schema([("a", data_type)])
    columns, wrong = convert(_texts(a=fields), schema)
    alone = [convert(_texts(a=[each]), schema) for each in fields]
    assert sorted(wrong) == [row for row, (_, told) in enumerate(alone) if told]
    expected = pa.Table.from_batches([each for each, told in alone if not told], schema)
    # As text, for NaN is not equal to itself.
    assert repr(pa.Table.from_batches([columns], schema).to_pydict()) == repr(expected.to_pydict())
    for row, (_, told) in enumerate(alone):
        if told:
            assert wrong[row] == told[0]


@pytest.mark.parametrize(
    ("data_type", "good", "bad"),
    [
        (
            pa.int64(),
            [b"1", b" -2 ", b"", b"0x1F", None],
            [b"x", b"1.5", b"1_0", b"9" * 20, b"0xg"],
        ),
        (pa.float64(), [b"1", b".5", b"nan", b"-inf", b" "], [b"x", b"1_0", b"1e", b"--1"]),
        (pa.bool_(), [b"true", b"0", b"FALSE", b""], [b"yes", b"2"]),
        (pa.string(), [b"", None, b"x"], [b"\xff"]),
    ],
)
def test_values(data_type, good, bad):
    """Each type takes what Arrow takes, and refuses the rest by its row, with the value."""
    schema = pa.schema([("a", data_type)])
    assert convert(_texts(a=good), schema)[1] == {}
    columns, wrong = convert(_texts(a=[*good, *bad]), schema)
    assert columns.num_rows == len(good)
    assert list(wrong) == list(range(len(good), len(good) + len(bad)))
    assert all(words.startswith("column 'a': ") for words in wrong.values())


def test_the_first_column_is_told():
    """A row is bad once, for the first of its values; a long value is told in part."""
    texts = _texts(a=[b"1", b"x", b"2", b"\xff"], b=[b"1", b"y", b"z" * 5000, b"w"])
    columns, wrong = convert(texts, pa.schema([("a", pa.int64()), ("b", pa.int64())]))
    assert columns.to_pylist() == [{"a": 1, "b": 1}]
    assert (wrong[1], wrong[3]) == ("column 'a': 'x' is no int64", "column 'a': it is not UTF-8")
    assert wrong[2].startswith("column 'b': 'zzz")
    assert len(wrong[2]) < 150


def test_many_bad_values():
    """Arrow is not asked about each of many values that are clearly none."""
    fields = [b"%d" % row if row % 3 else b"x%d" % row for row in range(9999)]
    parse = csv_values.parse_stretches
    calls = []

    def counted(function, num_rows, refusals):
        return parse(lambda *rows: calls.append(rows) or function(*rows), num_rows, refusals)

    for data_type in (pa.int64(), pa.float64()):
        with mock.patch.object(csv_values, "parse_stretches", counted):
            _, wrong = convert(_texts(a=fields), pa.schema([("a", data_type)]))
        assert len(wrong) == 3333
    assert len(calls) == 2


def test_rows_as_json():
    """Fields are told as text, or as bytes where they are none; what is empty is null."""
    texts = _texts(a=[b"1", b"\xff"], b=["ü".encode(), None])
    first, second = map(json.loads, rows_as_json(texts, [0, 1]))
    assert first == {"a": "1", "b": "ü"}
    assert second == {"a": {"b64": "/w=="}, "b": None}
    assert rows_as_json(texts, []) == []


def test_castable():
    """All values must be of the type."""
    assert is_castable(pa.array(["1", " 2", ""]), pa.int64())
    assert not is_castable(pa.array(["1", "x"]), pa.int64())
