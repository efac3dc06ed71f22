"""The features of tf.train.Example and SequenceExample, as the first records of files show them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from servable_core.errors import DataLossError, InvalidArgumentError
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow

# Arrow types of the three kinds of feature lists.
_VALUE_TYPES = {"float_list": pa.float32(), "int64_list": pa.int64(), "bytes_list": pa.binary()}
VARYING = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """How one feature is parsed.

    Attributes:
        name: Its key in the Example.
        value_type: float32, int64 or binary.
        length: Values per record, or per step of a sequence; None for a single value, which is no
            list; -1 where the records seen differ, or are empty.
        is_sequence: Whether it is a feature list of a SequenceExample: any number of steps.
    """

    name: str
    value_type: pa.DataType
    length: int | None
    is_sequence: bool = False

    @property
    def field(self) -> pa.Field:
        """Returns the Arrow field of the column it becomes."""
        return pa.field(self.name, pa.list_(self.item_type) if self.is_sequence else self.item_type)

    @property
    def item_type(self) -> pa.DataType:
        """Returns the Arrow type of one record's values, or of those of one step of a sequence."""
        return self.value_type if self.length is None else pa.list_(self.value_type, self.length)


def merge_features(described: Sequence[Sequence[Feature]]) -> dict[str, Feature]:
    """Returns the features of several files by name, sorted.

    Raises:
        InvalidArgumentError: A feature has different types in two files.
    """
    merged: dict[str, Feature] = {}
    for feature in (each for features in described for each in features):
        known = merged.setdefault(feature.name, feature)
        if _kind(known) != _kind(feature):
            raise InvalidArgumentError(
                f"feature {feature.name!r} is {_kind(known)} in one file and {_kind(feature)} in another"
            )
        if known.length != feature.length:
            merged[feature.name] = replace(known, length=VARYING)
    return dict(sorted(merged.items()))


def _kind(feature: Feature) -> str:
    return f"a sequence of {feature.value_type}" if feature.is_sequence else str(feature.value_type)


def describe_records(path: str, records: Iterable[bytes], *, skips_bad: bool) -> list[Feature]:
    """Returns the features of some records, sorted by name.

    Args:
        path: The file that they are of.
        records: Serialized Examples or SequenceExamples.
        skips_bad: Whether records that are neither are left out, if there are others.

    Raises:
        DataLossError: A record is neither, or all are.
        InvalidArgumentError: A feature has different types in two records.
    """
    records = list(records)
    good = [each for each in map(_parse, records) if each is not None]
    if len(good) < len(records) and not (good and skips_bad):
        raise DataLossError(
            f"{path}: its records are not tf.train.Example protos, which is what is read from TFRecord"
        )
    seen: dict[str, tuple[str, bool, set[int]]] = {}
    for name, kind, is_sequence, length in (each for example in good for each in _lists(example)):
        known_kind, known_sequence, lengths = seen.setdefault(name, (kind, is_sequence, set()))
        lengths.add(length)
        if (known_kind, known_sequence) != (kind, is_sequence) and not skips_bad:
            raise InvalidArgumentError(
                f"{path}: feature {name!r} is {known_kind} in one record and {kind} in another"
            )
    return [
        Feature(
            name=name,
            value_type=_VALUE_TYPES[kind],
            length=_common_length(lengths),
            is_sequence=is_sequence,
        )
        for name, (kind, is_sequence, lengths) in sorted(seen.items())
    ]


def _parse(record: bytes) -> Any:
    """Returns the record as a SequenceExample, or None; an Example is one without feature lists."""
    import_tensorflow()
    from google.protobuf.message import DecodeError
    from tensorflow.core.example import example_pb2

    example = example_pb2.SequenceExample()
    try:
        example.ParseFromString(record)
    except DecodeError:
        return None
    return example


def _lists(example: Any) -> Iterator[tuple[str, str, bool, int]]:
    """Yields name, kind, whether it is of a sequence, and length of every list of values."""
    for name, feature in example.context.feature.items():
        kind = feature.WhichOneof("kind")
        if kind is not None:
            yield name, kind, False, len(getattr(feature, kind).value)
    for name, steps in example.feature_lists.feature_list.items():
        for feature in steps.feature:
            kind = feature.WhichOneof("kind")
            if kind is not None:
                yield name, kind, True, len(getattr(feature, kind).value)


def _common_length(lengths: set[int]) -> int | None:
    if len(lengths) > 1 or 0 in lengths:
        return VARYING
    return None if lengths == {1} else lengths.copy().pop()
