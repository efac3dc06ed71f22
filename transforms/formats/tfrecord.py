"""TFRecord files of tf.train.Example: feature types for the plan, records and features for workers."""

import gzip
import io
import itertools
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from servable_core.errors import DataLossError, InvalidArgumentError
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from transforms.input_batch import InputBatch, only_rows
from transforms.storage import file_system_for, is_local

_HEADER = struct.Struct("<QI")  # length of the record, checksum of the length
_CHECKSUM = struct.Struct("<I")
_LENGTH = struct.Struct("<I")  # of the content, modulo 2**32, at the end of a gzip member
_GZIP_MAGIC = b"\x1f\x8b"
_READ_BUFFER_BYTES = 1 << 20
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


def read_head(path: str, num_records: int) -> list[bytes]:
    """Returns the first records of the file, with their checksums verified.

    Raises:
        DataLossError: The file is empty of records, is cut off, or is not TFRecord.
    """
    with _open(path) as stream:
        return list(itertools.islice(_verified_records(path, stream), num_records))


def count_records(path: str, limit: int) -> int:
    """Returns the number of records, or `limit` when there are at least that many.

    Raises:
        DataLossError: The file is cut off.
    """
    count = 0
    with _open(path) as stream:
        while count < limit and (header := stream.read(_HEADER.size)):
            if len(header) < _HEADER.size:
                raise _not_tfrecord(path, f"it ends within a header, after {count} records")
            stream.seek(_HEADER.unpack(header)[0] + _CHECKSUM.size, 1)
            count += 1
    return count


def _verified_records(path: str, stream: Any) -> Iterator[bytes]:
    offset = 0
    while header := stream.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise _not_tfrecord(path, f"it ends within a header at byte {offset}")
        length, checksum = _HEADER.unpack(header)
        if _masked_crc32c(header[:8]) != checksum:
            raise _not_tfrecord(path, f"wrong checksum of the length at byte {offset}")
        record, footer = stream.read(length), stream.read(_CHECKSUM.size)
        if len(footer) < _CHECKSUM.size:
            raise _not_tfrecord(path, f"it ends within the record at byte {offset}")
        if _masked_crc32c(record) != _CHECKSUM.unpack(footer)[0]:
            raise _not_tfrecord(path, f"wrong checksum of the record at byte {offset}")
        yield record
        offset += _HEADER.size + length + _CHECKSUM.size


def _masked_crc32c(content: bytes) -> int:
    """Returns the checksum as TFRecord stores it: rotated by 15 bits, plus a constant."""
    import crc32c

    crc = crc32c.crc32c(content)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _not_tfrecord(path: str, reason: str) -> DataLossError:
    return DataLossError(
        f"{path} is not TFRecord, or is corrupt: {reason}; give --input_format if it is something else"
    )


@contextmanager
def _open(path: str) -> Iterator[Any]:
    """Opens the file for one read from its start, decompressed if need be."""
    with file_system_for(path).open(path) as raw:
        stream = io.BufferedReader(raw) if isinstance(raw, io.RawIOBase) else raw
        is_gzip = stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        stream.seek(0)
        with _gzip_errors(path):
            yield gzip.GzipFile(fileobj=stream) if is_gzip else stream


@contextmanager
def _gzip_errors(path: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _not_tfrecord(path, str(error)) from error


def read_batches(
    path: str, features: Sequence[Feature], batch_rows: int, *, with_records: bool
) -> Iterator[InputBatch]:
    """Yields the file's records in order, `batch_rows` at a time, with `features` parsed.

    Raises:
        DataLossError: A checksum is wrong or the file is cut off.
        InvalidArgumentError: A record lacks a feature, or has another number of values.
    """
    tf = import_tensorflow()
    with _local_copy(path) as local:
        dataset = tf.data.TFRecordDataset(
            local, compression_type=_compression_of(local), buffer_size=_READ_BUFFER_BYTES
        )
        dataset = dataset.batch(batch_rows).with_options(_one_thread(tf))
        num_bytes = 0
        with _data_errors(path):
            for records in dataset:
                num_bytes += _framed_bytes(records)
                columns = _parse_features(path, records, features)
                yield InputBatch(columns=columns, records=records if with_records else None)
        _check_complete(path, local, num_bytes)


def _framed_bytes(records: Any) -> int:
    """Returns how many bytes of the file, decompressed, the records take."""
    tf = import_tensorflow()
    content = tf.reduce_sum(tf.cast(tf.strings.length(records), tf.int64))
    return int(content) + int(records.shape[0]) * (_HEADER.size + _CHECKSUM.size)


def _check_complete(path: str, local_path: str, num_bytes: int) -> None:
    """Checks that the whole file was read: TensorFlow takes one that ends in a header for its end.

    Raises:
        DataLossError: The file was cut off.
    """
    expected = Path(local_path).stat().st_size
    if _compression_of(local_path):
        with Path(local_path).open("rb") as stream:
            stream.seek(max(0, expected - _LENGTH.size))
            if stream.read() == _LENGTH.pack(num_bytes % (1 << 32)):
                return  # a gzip file ends with its length, unless it was cut off or has members
        expected = _decompressed_bytes(path, local_path)
    if expected != num_bytes:
        raise _not_tfrecord(path, f"it ends within a header at byte {num_bytes}")


def _decompressed_bytes(path: str, local_path: str) -> int:
    with _gzip_errors(path), gzip.open(local_path) as stream:
        return sum(map(len, iter(lambda: stream.read(_READ_BUFFER_BYTES), b"")))


def _one_thread(tf: Any) -> Any:
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1  # the cores belong to the model
    options.autotune.enabled = False
    return options


def _parse_features(path: str, records: Any, features: Sequence[Feature]) -> pa.RecordBatch:
    tf = import_tensorflow()
    num_rows = int(records.shape[0])
    if not features:
        return only_rows(num_rows)
    varying = [each.name for each in features if each.length == -1]
    if varying:
        raise InvalidArgumentError(
            f"{path}: the number of values of {', '.join(varying)} differs from record to record; only features of fixed length can be read"
        )
    spec = {
        each.name: tf.io.FixedLenFeature(
            [] if each.length is None else [each.length], _tensorflow_type(tf, each.value_type)
        )
        for each in features
    }
    try:
        parsed = tf.io.parse_example(records, spec)
    except tf.errors.InvalidArgumentError as error:
        raise InvalidArgumentError(f"{path}: {error.message.splitlines()[0]}") from error
    arrays = [_to_arrow(parsed[each.name].numpy(), each) for each in features]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([each.field for each in features]))


def _to_arrow(values: np.ndarray, feature: Feature) -> pa.Array:
    flat = pa.array(values.reshape(-1), feature.value_type)
    if feature.length is None:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, feature.length)


def _tensorflow_type(tf: Any, value_type: pa.DataType) -> Any:
    if value_type == pa.float32():
        return tf.float32
    return tf.int64 if value_type == pa.int64() else tf.string


def _compression_of(local_path: str) -> str:
    """Returns "GZIP" or "", judged by the file's first bytes rather than by its name."""
    with Path(local_path).open("rb") as stream:
        return "GZIP" if stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC else ""


@contextmanager
def _local_copy(path: str) -> Iterator[str]:
    """Yields a path that TensorFlow's reader can open; a remote file is spooled, in one read."""
    if is_local(path):
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="tfrecord-") as spool:
        with file_system_for(path).open(path) as stream:
            while block := stream.read(_READ_BUFFER_BYTES):
                spool.write(block)
        spool.flush()
        yield spool.name


@contextmanager
def _data_errors(path: str) -> Iterator[None]:
    tf = import_tensorflow()
    try:
        yield
    except tf.errors.DataLossError as error:
        raise _not_tfrecord(path, error.message.splitlines()[0]) from error
