import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servable_core.errors import InvalidArgumentError
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.transforms.formats.arrow_columns import LISTS, NUMBERS, OTHERS, TEXTS, TIMES
from transforms.formats.example_bytes import to_examples

_FEATURES = {**NUMBERS, **TEXTS, **LISTS, **TIMES, "nothing": OTHERS["nothing"]}


def _parsed(columns):
    """Returns the features of each row as plain dicts; a feature that is not there is left out."""
    tf = import_tensorflow()
    examples = [tf.train.Example.FromString(each) for each in to_examples(columns).to_pylist()]
    return [
        {name: list(getattr(each, each.WhichOneof("kind")).value) for name, each in row.items()}
        for row in (example.features.feature for example in examples)
    ]


def _values(array):
    """Returns what each row's feature should hold, by way of Arrow's own Python values."""
    if pa.types.is_temporal(array.type):
        array = array.cast(pa.int32() if array.type.bit_width == 32 else pa.int64())
    elif pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return [None if each is None else _flat(each) for each in array.to_pylist()]


def _flat(value):
    if isinstance(value, list):
        return [item for each in value for item in _flat(each)]
    if isinstance(value, float):
        return [float(np.float32(value))]
    return [value.encode() if isinstance(value, str) else value]


@pytest.mark.parametrize("name", _FEATURES)
def test_every_type(name):
    """Each row's Example has the row's values; a null is no feature."""
    array = _FEATURES[name]
    expected = [{} if each is None else {name: each} for each in _values(array)]
    assert _parsed(pa.record_batch({name: array})) == expected


@pytest.mark.parametrize("name", _FEATURES)
def test_slices(name):
    """Rows that begin within an array are those rows, not the first ones."""
    batch = pa.record_batch({name: _FEATURES[name]})
    assert _parsed(batch.slice(1, 2)) == _parsed(batch)[1:]


def test_columns_side_by_side():
    """All columns are in each row's one Example."""
    rows = _parsed(pa.record_batch(_FEATURES))
    assert [set(row) for row in rows] == [
        {name for name, array in _FEATURES.items() if array[row].as_py() is not None}
        for row in range(3)
    ]


def test_long_rows():
    """Lengths of two and of three bytes are what parsers expect of them."""
    lists = [list(range(size)) for size in (0, 1, 127, 128, 300, 20_000)]
    batch = pa.record_batch({"x": pa.array(lists, pa.list_(pa.int64()))})
    assert [row["x"] for row in _parsed(batch)] == lists


def test_no_rows_and_no_columns():
    """No rows are no Examples; rows without columns are empty ones."""
    assert len(to_examples(pa.record_batch(NUMBERS).slice(0, 0))) == 0
    assert _parsed(pa.record_batch({"n": pa.nulls(2)})) == [{}, {}]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (OTHERS["decimal"], r"column 'c' is decimal128\(3, 2\)"),
        (OTHERS["struct"], "column 'c' is struct"),
        (pa.array([[1, None]]), "column 'c' has a list with a null in it"),
        (pa.array([[[1], None]]), "column 'c' has a list with a null in it"),
        (pa.array([2**63], pa.uint64()), "column 'c' is uint64 with a value beyond int64"),
        (pa.array([1e300]), r"column 'c' has 1e\+300, which is beyond float32"),
        (pa.array([(1, 2, 3)], pa.month_day_nano_interval()), "column 'c' is month_day_nano"),
    ],
)
def test_no_place(array, message):
    """What an Example cannot hold is refused with the column's name, never changed."""
    rows = pa.record_batch({"c": array})
    with pytest.raises(InvalidArgumentError, match=message + ".*; .*--output_format=parquet$"):
        to_examples(rows)
    with pytest.raises(InvalidArgumentError, match=message + ".*; leave it out$"):
        to_examples(rows, remedy="leave it out")


_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_VALUES = {
    pa.int64(): _INTEGERS,
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.binary(): st.binary(max_size=200),
    pa.string(): st.text(max_size=50),
    pa.list_(pa.int64()): st.lists(_INTEGERS, max_size=20),
    pa.list_(pa.binary()): st.lists(st.binary(max_size=9), max_size=5),
}


@settings(deadline=None, max_examples=150)
@given(
    types=st.dictionaries(
        st.text(min_size=1, max_size=5), st.sampled_from(list(_VALUES)), min_size=1, max_size=4
    ),
    num_rows=st.integers(0, 5),
    data=st.data(),
)
def test_any_columns(types, num_rows, data):
    """Columns of any values are what tf.train.Example reads back."""
    columns = {
        name: pa.array(
            data.draw(
                st.lists(st.none() | _VALUES[value_type], min_size=num_rows, max_size=num_rows)
            ),
            value_type,
        )
        for name, value_type in types.items()
    }
    expected = [
        {name: row for name, row in zip(columns, rows, strict=True) if row is not None}
        for rows in zip(*map(_values, columns.values()), strict=True)
    ]
    assert _parsed(pa.record_batch(columns)) == expected
