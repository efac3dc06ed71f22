"""TFRecord files of tf.train.Example: feature types for the plan, records and features for workers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from servable_core.errors import DataLossError, InvalidArgumentError
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from transforms.formats.tfrecord_blocks import RecordBlock, gather, read_blocks
from transforms.formats.tfrecord_frames import count_records, read_head
from transforms.input_batch import InputBatch, Origin, only_rows

__all__ = [
    "Feature",
    "count_records",
    "describe",
    "merge_features",
    "parse_blocks",
    "read_batches",
    "read_head",
]

# Arrow types of the three kinds of feature lists.
_VALUE_TYPES = {"float_list": pa.float32(), "int64_list": pa.int64(), "bytes_list": pa.binary()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """How one feature is parsed.

    Attributes:
        name: Its key in the Example.
        value_type: float32, int64 or binary.
        length: Values per record; None for a single value, read as a scalar column; -1 where the
            records seen differ.
    """

    name: str
    value_type: pa.DataType
    length: int | None

    @property
    def field(self) -> pa.Field:
        """Returns the Arrow field of the column it becomes."""
        if self.length is None:
            return pa.field(self.name, self.value_type)
        return pa.field(self.name, pa.list_(self.value_type, self.length))


def merge_features(described: Sequence[Sequence[Feature]]) -> dict[str, Feature]:
    """Returns the features of several files by name, sorted.

    Raises:
        InvalidArgumentError: A feature has different types in two files.
    """
    merged: dict[str, Feature] = {}
    for feature in (each for features in described for each in features):
        known = merged.setdefault(feature.name, feature)
        if known.value_type != feature.value_type:
            raise InvalidArgumentError(
                f"feature {feature.name!r} is {known.value_type} in one file and {feature.value_type} in another"
            )
        if known.length != feature.length:
            merged[feature.name] = replace(known, length=-1)
    return dict(sorted(merged.items()))


def describe(path: str, num_records: int = 100) -> list[Feature]:
    """Returns the features seen in the file's first records.

    Raises:
        DataLossError: The file is not TFRecord, or its records are not tf.train.Example.
    """
    records = read_head(path, num_records)
    seen: dict[str, tuple[str, set[int]]] = {}
    for record in records:
        for name, feature in _parse_example(path, record).items():
            kind = feature.WhichOneof("kind")
            if kind is not None:
                lengths = seen.setdefault(name, (kind, set()))[1]
                lengths.add(len(getattr(feature, kind).value))
    return [
        Feature(name=name, value_type=_VALUE_TYPES[kind], length=_fixed_length(lengths))
        for name, (kind, lengths) in sorted(seen.items())
    ]


def _fixed_length(lengths: set[int]) -> int | None:
    if len(lengths) > 1:
        return -1
    length = lengths.pop()
    return None if length == 1 else length


def _parse_example(path: str, record: bytes) -> Mapping[str, Any]:
    import_tensorflow()
    from google.protobuf.message import DecodeError
    from tensorflow.core.example import example_pb2

    example = example_pb2.Example()
    try:
        example.ParseFromString(record)
    except DecodeError as error:
        raise DataLossError(
            f"{path}: its records are not tf.train.Example protos, which is what is read from TFRecord"
        ) from error
    features: Mapping[str, Any] = example.features.feature
    return features


def read_batches(
    path: str, features: Sequence[Feature], batch_rows: int, *, with_records: bool
) -> Iterator[InputBatch]:
    """Yields the file's records in order, at most `batch_rows` at a time, with `features` parsed.

    Raises:
        DataLossError: A checksum is wrong or the file is cut off.
        InvalidArgumentError: A record lacks a feature, or has another number of values.
    """
    blocks = read_blocks(path, batch_rows)
    return parse_blocks(blocks, features, lambda: batch_rows, with_records=with_records)


def parse_blocks(
    blocks: Iterable[RecordBlock],
    features: Sequence[Feature],
    batch_rows: Callable[[], int],
    *,
    with_records: bool,
) -> Iterator[InputBatch]:
    """Yields the records of any number of files, in order, with `features` parsed.

    Raises:
        InvalidArgumentError: A record lacks a feature, or has another number of values.
    """
    tf = import_tensorflow()
    for block in gather(blocks, batch_rows):
        records = tf.constant(block.records, tf.string)
        yield InputBatch(
            columns=_parse_features(block.origins, records, features),
            records=records if with_records else None,
            records_bytes=block.framed_bytes if with_records else 0,
            input_bytes=block.input_bytes,
            origins=block.origins,
        )


def _parse_features(
    origins: Sequence[Origin], records: Any, features: Sequence[Feature]
) -> pa.RecordBatch:
    tf = import_tensorflow()
    if not features:
        return only_rows(int(records.shape[0]))
    varying = [each.name for each in features if each.length == -1]
    if varying:
        raise InvalidArgumentError(
            f"{origins[0].path}: the number of values of {', '.join(varying)} differs from record to record; only features of fixed length can be read"
        )
    spec = {
        each.name: tf.io.FixedLenFeature(
            [] if each.length is None else [each.length], _tensorflow_type(tf, each.value_type)
        )
        for each in features
    }
    parsed = _parse_examples(origins, records, spec)
    arrays = [_to_arrow(parsed[each.name].numpy(), each) for each in features]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([each.field for each in features]))


def _parse_examples(
    origins: Sequence[Origin], records: Any, spec: Mapping[str, Any]
) -> Mapping[str, Any]:
    tf = import_tensorflow()
    try:
        parsed: Mapping[str, Any] = tf.io.parse_example(records, spec)
    except tf.errors.InvalidArgumentError as error:
        start = 0
        for each in origins[:-1]:  # which file it is; if none of these, the last one
            _parse_examples([each], records[start : start + each.num_rows], spec)
            start += each.num_rows
        message = error.message.splitlines()[0]
        raise InvalidArgumentError(f"{origins[-1].path}: {message}") from error
    return parsed


def _to_arrow(values: np.ndarray, feature: Feature) -> pa.Array:
    flat = pa.array(values.reshape(-1), feature.value_type)
    if feature.length is None:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, feature.length)


def _tensorflow_type(tf: Any, value_type: pa.DataType) -> Any:
    if value_type == pa.float32():
        return tf.float32
    return tf.int64 if value_type == pa.int64() else tf.string
