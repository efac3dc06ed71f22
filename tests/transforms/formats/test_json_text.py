import base64
import json
import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servable_core.errors import InvalidArgumentError
from tests.transforms.formats.arrow_columns import ALL
from transforms.formats.json_text import json_lines


def _parsed(columns):
    return [json.loads(each) for each in json_lines(columns).to_pylist()]


def _column(array, name="c"):
    return [row[name] for row in _parsed(pa.record_batch({name: array}))]


def _restored(value):
    """Returns bytes for text and for base64, as readers of the server's JSON do."""
    if isinstance(value, dict) and value.keys() == {"b64"}:
        return base64.b64decode(value["b64"])
    if isinstance(value, list):
        return [_restored(each) for each in value]
    return value.encode() if isinstance(value, str) else value


def _expected(value):
    if isinstance(value, list):
        return [_expected(each) for each in value]
    return value.encode() if isinstance(value, str) else value


_SAME = [
    name
    for name, array in ALL.items()
    if not pa.types.is_temporal(array.type)
    and name not in ("decimal", "struct", "map", "float", "half")
]


@pytest.mark.parametrize("name", _SAME)
def test_every_type(name):
    """Values come back as they were; text and bytes as bytes."""
    assert [_restored(each) for each in _column(ALL[name])] == _expected(ALL[name].to_pylist())


@pytest.mark.parametrize("name", ALL)
def test_slices(name):
    """Rows that begin within an array are those rows."""
    batch = pa.record_batch({name: ALL[name]})
    assert json_lines(batch.slice(1)).to_pylist() == json_lines(batch).to_pylist()[1:]


def test_floats_are_as_short_as_can_be():
    """Digits are those that tell a float from its neighbours, of its own width."""
    assert json_lines(pa.record_batch({"x": pa.array([0.1], pa.float32())})).to_pylist() == [
        '{"x": 0.1}\n'
    ]


def test_whole_floats_stay_floats():
    """A reader that guesses types by the first rows must not take them for integers."""
    values = _column(pa.array([1.0, -0.0, 1e22, 2.5, None]))
    assert [type(each) for each in values] == [float, float, float, float, type(None)]
    assert values == [1.0, 0.0, 1e22, 2.5, None]


def test_not_finite():
    """NaN and the infinities are the tokens that a model server writes."""
    array = pa.array([math.nan, math.inf, -math.inf, 1.0, None])
    texts = json_lines(pa.record_batch({"x": array})).to_pylist()
    tokens = ["NaN", "Infinity", "-Infinity", "1.0", "null"]
    assert texts == [f'{{"x": {each}}}\n' for each in tokens]


def test_bytes():
    """Bytes that are no text are base64; by the column's name, all are."""
    array = pa.array([b"abc", b"\xff"])
    assert _column(array) == ["abc", {"b64": "/w=="}]
    assert _column(array, "image_bytes") == [{"b64": "YWJj"}, {"b64": "/w=="}]


def test_times():
    """Times are ISO text; durations numbers."""
    assert _column(ALL["date32"]) == ["2024-02-29", None, "2024-02-29"]
    assert _column(ALL["timestamp"])[0] == "2024-02-29 12:30:15.123456"
    assert _column(ALL["utc"])[0] == "2024-02-29 12:30:15.123456Z"
    assert _column(ALL["time32"])[0] == "00:00:01"
    assert _column(ALL["duration"]) == [1, 2, 3]


def test_objects():
    """Structs are objects; maps are lists of entries; decimals keep their digits."""
    assert _column(ALL["struct"]) == [{"a": 1, "b": "x"}, None, {"a": None, "b": "\x02"}]
    assert _column(ALL["map"]) == [[{"key": "k", "value": 1}], [], None]
    assert _column(ALL["decimal"]) == [1.25, None, -3.5]


def test_names_are_quoted():
    """Whatever a column is called, lines are JSON."""
    assert _parsed(pa.record_batch({'a"b\n': [1]})) == [{'a"b\n': 1}]
    assert json_lines(pa.record_batch({"x": pa.array([1])}).slice(0, 0)).to_pylist() == []


def test_no_json():
    """A type without JSON is refused by the column's name."""
    with pytest.raises(InvalidArgumentError, match="column 'c' is month_day_nano_interval"):
        _column(pa.array([(1, 2, 3)], pa.month_day_nano_interval()))


_VALUES = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=20),
    pa.binary(): st.binary(max_size=20),
    pa.list_(pa.float64()): st.lists(st.floats(allow_nan=False) | st.none(), max_size=5),
    pa.list_(pa.list_(pa.string())): st.lists(
        st.lists(st.text(max_size=3), max_size=3), max_size=3
    ),
}


@settings(deadline=None, max_examples=150)
@given(value_type=st.sampled_from(list(_VALUES)), data=st.data())
def test_any_values(value_type, data):
    """Any values come back as they were, and every line ends where its row does."""
    values = data.draw(st.lists(st.none() | _VALUES[value_type], max_size=6))
    lines = json_lines(pa.record_batch({"c": pa.array(values, value_type)})).to_pylist()
    assert all(each.count("\n") == 1 and each.endswith("\n") for each in lines)
    assert [_restored(json.loads(each)["c"]) for each in lines] == _expected(values)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1))
def test_any_floats(values):
    """A float32 is read back as the same float32."""
    array = pa.array(values, pa.float32())
    assert pa.array(_column(array), pa.float64()).cast(pa.float32(), safe=False).equals(array)


@pytest.mark.parametrize(
    ("binary", "text"), [(pa.binary(), pa.string()), (pa.large_binary(), pa.large_string())]
)
def test_text_that_is_none(binary, text):
    """What Arrow calls text without having looked at it, such as a damaged column, may be bytes."""
    values = pa.array([b"abc", b'\xff"', None], binary).view(text)
    assert _column(values) == ["abc", {"b64": "/yI="}, None]
    assert _column(pa.ListArray.from_arrays([0, 2, 3], values)) == [
        ["abc", {"b64": "/yI="}],
        [None],
    ]
