import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.errors import InvalidArgumentError
from transforms.bad_records import Stage
from transforms.input_batch import InputBatch, Origin
from transforms.nulls import (
    NullPolicy,
    OnNull,
    apply_null_policy,
    check_default,
    has_nulls,
    parse_null_policy,
    without_nulls,
)

_DEAD_LETTER = NullPolicy(action=OnNull.DEAD_LETTER)
_SEVEN = NullPolicy(action=OnNull.DEFAULT, default="7")

_INTS = st.none() | st.integers(0, 5)
_PAIRS = st.none() | st.lists(_INTS, min_size=2, max_size=2)
_LISTS = st.none() | st.lists(_INTS, max_size=3)
_PAIR = pa.list_(pa.int32(), 2)
_CASES = {
    "scalar": (pa.int32(), _INTS),
    "list": (pa.list_(pa.int32()), _LISTS),
    "large_list": (pa.large_list(pa.int32()), _LISTS),
    "pair": (_PAIR, _PAIRS),
    "list of pairs": (pa.list_(_PAIR), st.none() | st.lists(_PAIRS, max_size=2)),
    "pair of pairs": (pa.list_(_PAIR, 2), st.none() | st.lists(_PAIRS, min_size=2, max_size=2)),
    "pair of lists": (
        pa.list_(pa.list_(pa.int32()), 2),
        st.none() | st.lists(_LISTS, min_size=2, max_size=2),
    ),
    "lists of lists": (pa.list_(pa.list_(pa.int32())), st.none() | st.lists(_LISTS, max_size=2)),
}


def _is_bad(value):
    return value is None or (isinstance(value, list) and any(map(_is_bad, value)))


def _filled(value, data_type):
    """Returns what a value becomes, told one by one."""
    if pa.types.is_fixed_size_list(data_type):
        value = [None] * data_type.list_size if value is None else value
        return [_filled(each, data_type.value_type) for each in value]
    if pa.types.is_list(data_type) or pa.types.is_large_list(data_type):
        return [_filled(each, data_type.value_type) for each in value or []]
    return 7 if value is None else value


@pytest.mark.parametrize("case", _CASES)
@given(data=st.data())
def test_each_kind_of_column(case, data):
    """Slices of scalars and lists of any kind are marked and filled as their values say."""
    data_type, values = _CASES[case]
    rows = data.draw(st.lists(values, max_size=8))
    start = data.draw(st.integers(0, len(rows)))
    batch = pa.record_batch({"c": pa.array(rows, data_type)}).slice(start)
    rows = rows[start:]
    kept, bad = apply_null_policy(batch, ["c"], _DEAD_LETTER)
    assert kept is batch
    assert bad.tolist() == [_is_bad(each) for each in rows]
    assert has_nulls(batch["c"]) == any(bad)
    filled, bad = apply_null_policy(batch, ["c"], _SEVEN)
    assert not bad.any()
    assert filled["c"].to_pylist() == [_filled(each, data_type) for each in rows]
    assert filled.schema.equals(batch.schema)
    filled.validate(full=True)


def test_error_changes_nothing():
    """Refusing nulls is left to those who make tensors, and can name the input."""
    batch = pa.record_batch({"c": pa.array([1, None])})
    kept, bad = apply_null_policy(batch, ["c"], NullPolicy())
    assert kept is batch
    assert not bad.any()


def test_only_the_columns_named():
    """Columns that feed no model may have nulls."""
    batch = pa.record_batch({"a": pa.array([1, None]), "b": pa.array([None, 2])})
    assert apply_null_policy(batch, ["a"], _DEAD_LETTER)[1].tolist() == [False, True]
    assert apply_null_policy(batch, ["b", "a"], _DEAD_LETTER)[1].tolist() == [True, True]
    filled, _ = apply_null_policy(batch, ["b"], _SEVEN)
    assert filled.to_pydict() == {"a": [1, None], "b": [7, 2]}


def test_columns_without_nulls_are_not_copied():
    """Nothing is done for a column that needs nothing."""
    batch = pa.record_batch({"a": pa.array([1.5]), "b": pa.array([[1, 2]])})
    assert apply_null_policy(batch, ["a", "b"], _SEVEN)[0] is batch


@pytest.mark.parametrize(
    ("array", "text", "expected"),
    [
        (pa.array([None, 1.5], pa.float32()), "0", [0.0, 1.5]),
        (pa.array([None, 1.5], pa.float64()), "-1e3", [-1000.0, 1.5]),
        (pa.array([None, np.float16(1.5)], pa.float16()), "0.5", [0.5, 1.5]),
        (pa.array([None, 3], pa.uint8()), "255", [255, 3]),
        (pa.array([None, False]), "true", [True, False]),
        (pa.array([None, "b"]), "", ["", "b"]),
        (pa.array([None, "b"]), "a:b", ["a:b", "b"]),
        (pa.array([None, b"b"], pa.large_binary()), "ü", ["ü".encode(), b"b"]),
        (pa.array(["b", None]).dictionary_encode(), "x", ["b", "x"]),
        (pa.DictionaryArray.from_arrays([0, 1], [None, "b"]), "x", ["x", "b"]),
        (pa.array([["b", None]], pa.list_(pa.string())), "x", [["b", "x"]]),
    ],
)
def test_defaults_are_read_as_the_type_of_the_column(array, text, expected):
    """One default serves numbers, text and booleans, each as itself, and types stay as they are."""
    batch = pa.record_batch({"c": array})
    policy = NullPolicy(action=OnNull.DEFAULT, default=text)
    check_default(policy, batch.schema, ["c"])
    filled, _ = apply_null_policy(batch, ["c"], policy)
    assert filled["c"].to_pylist() == expected
    assert filled.schema.equals(batch.schema)


@pytest.mark.parametrize(
    ("data_type", "text"),
    [
        (pa.float32(), "none"),
        (pa.float16(), ""),
        (pa.uint8(), "256"),
        (pa.int64(), "1.5"),
        (pa.bool_(), "maybe"),
        (pa.list_(pa.int8(), 2), "x"),
        (pa.struct([("a", pa.int8())]), "1"),
    ],
)
def test_defaults_that_do_not_fit(data_type, text):
    """A default that is no value of a column is an error before anything is read."""
    policy = NullPolicy(action=OnNull.DEFAULT, default=text)
    with pytest.raises(
        InvalidArgumentError, match=rf"--on_null=default:{text}: '{text}' is no value of column 'c'"
    ):
        check_default(policy, pa.schema([("c", data_type)]), ["c"])


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("error", NullPolicy()),
        ("dead_letter", _DEAD_LETTER),
        ("default:7", _SEVEN),
        ("default:", NullPolicy(action=OnNull.DEFAULT, default="")),
        ("default:a:b", NullPolicy(action=OnNull.DEFAULT, default="a:b")),
    ],
)
def test_parse(text, policy):
    """A policy is written as it is read."""
    assert parse_null_policy(text) == policy
    assert str(policy) == text


@pytest.mark.parametrize("text", ["", "skip", "default", "error:1", "dead_letter:", "Error"])
def test_parse_errors(text):
    """Anything else is refused, with what there is."""
    with pytest.raises(InvalidArgumentError, match="--on_null must be error, default:VALUE"):
        parse_null_policy(text)


class TestBatches:
    @pytest.fixture(name="batch")
    def _batch(self):
        """Five rows of two files, of which three have nulls."""
        return InputBatch(
            columns=pa.record_batch(
                {"a": pa.array([1, None, 3, None, 5]), "b": pa.array([[1], [2], [None], None, [5]])}
            ),
            origins=(
                Origin(path="/x", first_row=10, num_rows=2),
                Origin(path="/y", first_row=0, num_rows=3),
            ),
        )

    def test_rows_with_nulls_are_bad_records(self, batch):
        """They come with file, row, columns and themselves, and the others go on."""
        kept = without_nulls(batch, ["a", "b"], _DEAD_LETTER)
        assert kept.columns.to_pydict() == {"a": [1, 5], "b": [[1], [5]]}
        assert kept.origins == (
            Origin(path="/x", first_row=10, num_rows=1),
            Origin(path="/y", first_row=2, num_rows=1),
        )
        bad = kept.bad_records
        assert [(each.source_file, each.source_row) for each in bad] == [
            *(("/x", 11), ("/y", 0), ("/y", 1)),
        ]
        columns = [each.message.partition(":")[0] for each in bad]
        assert columns == ["column 'a'", "column 'b'", "column 'a', 'b'"]
        assert bad[0].record == b'{"a": null, "b": [2]}'
        assert {(each.stage, each.code) for each in bad} == {(Stage.BIND, "INVALID_ARGUMENT")}

    def test_bad_records_add_up(self, batch):
        """Those that the reader had found are kept."""
        once = without_nulls(batch, ["a"], _DEAD_LETTER)
        twice = without_nulls(once, ["b"], _DEAD_LETTER)
        assert [each.source_row for each in twice.bad_records] == [11, 1, 0]

    def test_defaults(self, batch):
        """With a default no row is lost."""
        filled = without_nulls(batch, ["a", "b"], _SEVEN)
        assert filled.columns.to_pydict() == {"a": [1, 7, 3, 7, 5], "b": [[1], [2], [7], [], [5]]}
        assert (filled.origins, filled.bad_records) == (batch.origins, ())

    @pytest.mark.parametrize("policy", [NullPolicy(), _DEAD_LETTER, _SEVEN])
    def test_nothing_to_do(self, batch, policy):
        """A batch without nulls is passed through."""
        whole = batch.slice(0, 1)
        assert without_nulls(whole, ["a", "b"], policy) is whole
