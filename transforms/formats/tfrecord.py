"""TFRecord files of tf.train.Example or SequenceExample: what is in them, and their records in batches."""

import itertools
from collections.abc import Iterator, Sequence

from transforms.formats.tfrecord_batches import parse_blocks
from transforms.formats.tfrecord_blocks import FilePart, read_blocks
from transforms.formats.tfrecord_features import Feature, describe_records, merge_features
from transforms.formats.tfrecord_options import TFRecordOptions
from transforms.input_batch import InputBatch

__all__ = [
    "Feature",
    "TFRecordOptions",
    "count_records",
    "describe",
    "merge_features",
    "parse_blocks",
    "read_batches",
    "read_head",
]

_DEFAULT = TFRecordOptions()


def describe(
    path: str, num_records: int = 100, options: TFRecordOptions = _DEFAULT
) -> list[Feature]:
    """Returns the features seen in the file's first records.

    Raises:
        DataLossError: The file is not TFRecord, or its records are neither Examples nor
            SequenceExamples. With `on_error="dead_letter"` some of them may be.
    """
    records = read_head(path, num_records, options)
    return describe_records(path, records, skips_bad=options.on_error == "dead_letter")


def read_head(path: str, num_records: int, options: TFRecordOptions = _DEFAULT) -> list[bytes]:
    """Returns the first records of the file that can be read.

    Raises:
        DataLossError: The file is damaged, or is not TFRecord, with `on_error="fail"`.
    """
    blocks = read_blocks(FilePart(path=path), options)
    records = (record for block in blocks for record in block.records)
    return list(itertools.islice(records, num_records))


def count_records(path: str, limit: int, options: TFRecordOptions = _DEFAULT) -> int:
    """Returns the number of records, or `limit` when there are at least that many.

    Those that are damaged count; checksums are not verified.

    Raises:
        DataLossError: The file is cut off, with `on_error="fail"`.
    """
    unchecked = TFRecordOptions(crc="ignore", on_error=options.on_error)
    count = 0
    for block in read_blocks(FilePart(path=path), unchecked):
        count += block.num_rows
        if count >= limit:
            return limit
    return count


def read_batches(
    path: str,
    features: Sequence[Feature],
    batch_rows: int,
    *,
    with_records: bool,
    options: TFRecordOptions = _DEFAULT,
) -> Iterator[InputBatch]:
    """Yields the file's records in order, at most `batch_rows` at a time, with `features` parsed.

    Raises:
        DataLossError: A checksum is wrong or the file is cut off, with `on_error="fail"`.
        InvalidArgumentError: A record does not parse, with `on_error="fail"`.
    """
    blocks = read_blocks(FilePart(path=path), options)
    return parse_blocks(
        blocks, features, lambda: batch_rows, with_records=with_records, options=options
    )
