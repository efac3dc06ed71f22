"""Examples and SequenceExamples to columns: as TensorFlow parses each record by itself."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servable_core.errors import DataLossError, InvalidArgumentError
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from transforms.formats.example_parsing import RecordParser
from transforms.formats.tfrecord_features import Feature, describe_records

tf = import_tensorflow()

_F = Feature(name="f", value_type=pa.float32(), length=None)
_I = Feature(name="i", value_type=pa.int64(), length=2)
_S = Feature(name="s", value_type=pa.binary(), length=-1)
_STEPS = Feature(name="steps", value_type=pa.float32(), length=None, is_sequence=True)
_PAIRS = Feature(name="pairs", value_type=pa.int64(), length=2, is_sequence=True)
_WORDS = Feature(name="words", value_type=pa.binary(), length=-1, is_sequence=True)
_LISTS = {pa.float32(): "float_list", pa.int64(): "int64_list", pa.binary(): "bytes_list"}
_VALUES = {
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.int64(): st.integers(-(1 << 63), (1 << 63) - 1),
    pa.binary(): st.binary(max_size=5),
}


def _lists(feature):
    """Returns a strategy for the values of a feature in one record, or one step."""
    values = _VALUES[feature.value_type]
    if feature.length == -1:
        return st.lists(values, max_size=4)
    size = feature.length or 1
    return st.lists(values, min_size=size, max_size=size)


def _rows(features, *, may_lack):
    columns = {}
    for each in features:
        column = st.lists(_lists(each), max_size=3) if each.is_sequence else _lists(each)
        columns[each.name] = st.none() | column if may_lack else column
    return st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=8)


def _example(row, features):
    """Returns a row, a list of values for each feature, as a proto: None is a feature that is not there."""
    example = tf.train.SequenceExample()
    for feature in features:
        values = row[feature.name]
        kind = _LISTS[feature.value_type]
        if values is None:
            continue
        if not feature.is_sequence:
            getattr(example.context.feature[feature.name], kind).value.extend(values)
            continue
        steps = example.feature_lists.feature_list[feature.name].feature
        for step in values:
            getattr(steps.add(), kind).value.extend(step)
    return example.SerializeToString()


def _expected(values, feature):
    """Returns what becomes of the values of one record."""
    if feature.is_sequence:
        steps = values or []
        return [step[0] for step in steps] if feature.length is None else steps
    if feature.length == -1:
        return values or []
    return values if values is None or feature.length is not None else values[0]


def _check(rows, features):
    records = [_example(each, features) for each in rows]
    columns = RecordParser(features).parse(tf.constant(records, tf.string))
    assert columns.schema == pa.schema([each.field for each in features])
    for feature in features:
        expected = [_expected(row[feature.name], feature) for row in rows]
        assert columns[feature.name].to_pylist() == expected
    for index, record in enumerate(records):
        alone = RecordParser(features).parse(tf.constant([record]))
        assert alone.to_pylist() == columns.slice(index, 1).to_pylist()


class TestRecordParser:
    @settings(max_examples=50, deadline=None)
    @given(rows=_rows([_F, _I, _S], may_lack=False))
    def test_examples(self, rows):
        """Single values, lists of one length and of any become columns of their type."""
        _check(rows, [_F, _I, _S])

    @settings(max_examples=50, deadline=None)
    @given(rows=_rows([_F, _I, _S], may_lack=True))
    def test_features_that_some_lack(self, rows):
        """What is missing is null; where lengths vary, an empty list."""
        _check(rows, [_F, _I, _S])

    @settings(max_examples=50, deadline=None)
    @given(rows=_rows([_F, _S, _STEPS, _PAIRS, _WORDS], may_lack=True))
    def test_sequences(self, rows):
        """Feature lists become lists of steps, beside the features of the context."""
        _check(rows, [_F, _S, _STEPS, _PAIRS, _WORDS])

    @pytest.mark.parametrize("is_sequence", [False, True])
    def test_against_tensorflow(self, is_sequence):
        """A record's values are those that TensorFlow's parser of single records gives."""
        row = {"f": [0.5], "s": [b"a", b"", b"ccc"], "steps": [[1.0], [2.5]]}
        features = [_F, _S, _STEPS][: 3 if is_sequence else 2]
        record = _example(row, features)
        (ours,) = RecordParser(features).parse(tf.constant([record])).to_pylist()
        context = {"f": tf.io.FixedLenFeature([], tf.float32), "s": tf.io.VarLenFeature(tf.string)}
        if is_sequence:
            steps = {"steps": tf.io.FixedLenSequenceFeature([], tf.float32)}
            theirs, lists = tf.io.parse_single_sequence_example(record, context, steps)
            assert ours["steps"] == lists["steps"].numpy().tolist()
        else:
            theirs = tf.io.parse_single_example(record, context)
        assert ours["f"] == theirs["f"].numpy()
        assert ours["s"] == theirs["s"].values.numpy().tolist()

    def test_only_what_is_needed(self):
        """Features that nobody asked for may be anything."""
        record = _example({"f": [1.0], "s": [b"x"]}, [_F, _S])
        assert RecordParser([]).parse(tf.constant([record])).num_rows == 1
        other = Feature(name="s", value_type=pa.int64(), length=None)
        assert RecordParser([_F]).parse(tf.constant([record])).to_pylist() == [{"f": 1.0}]
        with pytest.raises(InvalidArgumentError, match=r"Key: s\.  Data types don't match"):
            RecordParser([other]).parse(tf.constant([record]))

    @pytest.mark.parametrize(
        ("feature", "values", "reason"),
        [
            (_F, [1.0, 2.0], "feature 'f' has 2 values, where .* have 1"),
            (_I, [1], "feature 'i' has 1 values, where .* have 2"),
            (_PAIRS, [[1, 2], [1]], "feature 'pairs' has 1 values"),
            (_STEPS, [[1.0], []], "feature 'steps' has a step without values"),
        ],
    )
    def test_other_lengths(self, feature, values, reason):
        """Another number of values than the plan knows is an error."""
        record = _example({feature.name: values}, [feature])
        with pytest.raises(InvalidArgumentError, match=reason):
            RecordParser([feature]).parse(tf.constant([record]))

    @pytest.mark.parametrize("feature", [_F, _STEPS])
    @pytest.mark.parametrize("record", [b"\xff\xfe", b"garbage", b"\xc3\x28" * 100])
    def test_no_protos(self, feature, record):
        """Other records are an error, also where TensorFlow's message is no text."""
        with pytest.raises(InvalidArgumentError):
            RecordParser([feature]).parse(tf.constant([record]))


class TestDescribeRecords:
    def _describe(self, rows, features, *, skips_bad=False):
        records = [_example(each, features) for each in rows]
        return describe_records("f", records, skips_bad=skips_bad)

    def test_lengths(self):
        """One length is fixed; several, or none, vary; what is missing says nothing."""
        rows = [
            {"f": [1.0], "i": [1, 2], "s": [b"a"]},
            {"f": None, "i": [3, 4], "s": [b"a", b"b"]},
        ]
        assert self._describe(rows, [_F, _I, _S]) == [_F, _I, _S]
        assert self._describe([{"s": []}], [_S]) == [_S]

    def test_sequences(self):
        """Feature lists are told from features, and their lengths are those of steps."""
        rows = [{"f": [1.0], "steps": [[1.0]] * size, "pairs": [[1, 2]]} for size in (1, 3)]
        features = [_F, _PAIRS, _STEPS]
        assert self._describe(rows, features) == features
        types = [pa.float32(), pa.list_(pa.list_(pa.int64(), 2)), pa.list_(pa.float32())]
        assert [each.field.type for each in features] == types

    def test_records_that_are_none(self):
        """Some may be skipped where bad records are; if all are, the file is something else."""
        records = [b"\xff\xfe", _example({"f": [1.0]}, [_F])]
        assert describe_records("f", records, skips_bad=True) == [_F]
        for bad, skips_bad in ((records, False), (records[:1], True)):
            with pytest.raises(DataLossError, match="f: its records are not"):
                describe_records("f", bad, skips_bad=skips_bad)

    def test_types_that_differ(self):
        """A feature of two types cannot be a column."""
        other = Feature(name="f", value_type=pa.int64(), length=None)
        records = [_example({"f": [1.0]}, [_F]), _example({"f": [1]}, [other])]
        with pytest.raises(InvalidArgumentError, match="'f' is float_list in one record and int64"):
            describe_records("f", records, skips_bad=False)
        assert describe_records("f", records, skips_bad=True) == [_F]
