"""Serialized Examples and SequenceExamples to Arrow columns, many at a time, by TensorFlow's parsers.

Where all records have a feature, and with the same number of values, it is parsed as a dense tensor.
From the first batch on in which one has not, all is parsed as ragged, which takes a quarter longer, and
what is missing becomes null. TensorFlow cannot tell a feature that is missing from one without values:
where lengths vary, both are an empty list.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from servable_core.errors import InvalidArgumentError
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from transforms.formats.tfrecord_features import VARYING, Feature
from transforms.input_batch import only_rows

_NOISE = re.compile(
    r"^\{\{.*?\}\} | \[Op:.*\]$|Name: <unknown>, |, Index: \d+|, example id: <unknown>"
)


class RecordParser:
    """Parses the same features of batch after batch. Not thread-safe.

    Args:
        features: The columns wanted; other features are not looked at.
    """

    def __init__(self, features: Sequence[Feature]) -> None:
        self._features = features
        self._is_dense = True  # until a record does not have all: then others will not, either

    @property
    def schema(self) -> pa.Schema:
        """Returns the schema of what `parse` returns."""
        return pa.schema([each.field for each in self._features])

    def parse(self, records: Any) -> pa.RecordBatch:
        """Returns the features of some records, a rank-1 string tensor, as columns.

        Raises:
            InvalidArgumentError: A record is no such proto, or a feature has other values than described.
        """
        if not self._features:
            return only_rows(int(records.shape[0]))
        return pa.RecordBatch.from_arrays(self._arrays(records), schema=self.schema)

    def _arrays(self, records: Any) -> list[pa.Array]:
        if self._is_dense:
            try:
                return _dense_arrays(records, self._features)
            except InvalidArgumentError:
                self._is_dense = False
        return _ragged_arrays(records, self._features)


def _dense_arrays(records: Any, features: Sequence[Feature]) -> list[pa.Array]:
    tf = import_tensorflow()
    dense = [each for each in features if not each.is_sequence and each.length != VARYING]
    shapes: dict[str, list[int]] = {
        each.name: [] if each.length is None else [each.length] for each in dense
    }
    spec = {
        each.name: tf.io.FixedLenFeature(shapes[each.name], _tensorflow_type(tf, each.value_type))
        for each in dense
    }
    parsed = _parse(records, features, spec)
    return [
        _items(parsed[each.name].numpy().reshape(-1), each)
        if each.name in spec
        else _ragged_array(parsed[each.name], each)
        for each in features
    ]


def _ragged_arrays(records: Any, features: Sequence[Feature]) -> list[pa.Array]:
    parsed = _parse(records, features, {})
    return [_ragged_array(parsed[each.name], each) for each in features]


def _parse(
    records: Any, features: Sequence[Feature], dense: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Returns a tensor for each feature: those in `dense` as it says, all others ragged."""
    tf = import_tensorflow()
    ragged = {
        each.name: tf.io.RaggedFeature(
            _tensorflow_type(tf, each.value_type), row_splits_dtype=tf.int64
        )
        for each in features
        if each.name not in dense
    }
    sequences = {each.name for each in features if each.is_sequence}
    context = {**dense, **{name: ragged[name] for name in ragged if name not in sequences}}
    try:
        if not sequences:
            parsed: Mapping[str, Any] = tf.io.parse_example(records, context)
            return parsed
        of_context, of_sequence, _ = tf.io.parse_sequence_example(
            records, context or None, {name: ragged[name] for name in sorted(sequences)}
        )
    except tf.errors.InvalidArgumentError as error:
        reason = _NOISE.sub("", error.message.splitlines()[0])
        raise InvalidArgumentError(reason) from error
    except UnicodeDecodeError as error:  # the message quotes the record
        raise InvalidArgumentError("it is no tf.train.Example") from error
    return {**of_context, **of_sequence}


def _ragged_array(tensor: Any, feature: Feature) -> pa.Array:
    """Returns the column of a ragged tensor."""
    values = tensor.flat_values.numpy()
    splits = [each.numpy() for each in tensor.nested_row_splits]
    if not feature.is_sequence:
        return _rows(values, splits[-1], feature)
    steps = _rows(values, splits[-1], feature)
    if steps.null_count:
        raise InvalidArgumentError(f"feature {feature.name!r} has a step without values")
    return pa.ListArray.from_arrays(_offsets(splits[0]), steps)


def _rows(values: np.ndarray, splits: np.ndarray, feature: Feature) -> pa.Array:
    if feature.length == VARYING:
        flat = pa.array(values, feature.value_type)
        return pa.ListArray.from_arrays(_offsets(splits), flat)
    lengths = np.diff(splits)
    wanted = 1 if feature.length is None else feature.length
    wrong = lengths[(lengths != wanted) & (lengths != 0)]
    if len(wrong):
        raise InvalidArgumentError(
            f"feature {feature.name!r} has {wrong[0]} values, where the first records of the input have {wanted}"
        )
    is_null = lengths == 0
    filled = np.zeros(len(lengths) * wanted, values.dtype)
    if values.dtype == object:
        filled[:] = b""
    filled[np.repeat(~is_null, wanted)] = values
    return _items(filled, feature, is_null)


def _items(values: np.ndarray, feature: Feature, is_null: np.ndarray | None = None) -> pa.Array:
    """Returns a column of the same number of values for each row."""
    if feature.length is None:
        return pa.array(values, feature.value_type, mask=is_null)
    mask = None if is_null is None or not is_null.any() else pa.array(is_null)
    flat = pa.array(values, feature.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, feature.length, mask=mask)


def _offsets(splits: np.ndarray) -> pa.Array:
    return pa.array(splits.astype(np.int32))


def _tensorflow_type(tf: Any, value_type: pa.DataType) -> Any:
    if value_type == pa.float32():
        return tf.float32
    return tf.int64 if value_type == pa.int64() else tf.string
