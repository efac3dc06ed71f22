"""Blocks of serialized records to batches of rows; records that do not parse are found and reported."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from servable_core.errors import InvalidArgumentError
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from transforms.bad_records import BadRecord, Stage
from transforms.formats.example_parsing import RecordParser
from transforms.formats.parsed_stretches import Stretch, parse_stretches
from transforms.formats.tfrecord_blocks import NO_OFFSET, RecordBlock, gather, join_blocks
from transforms.formats.tfrecord_features import Feature
from transforms.formats.tfrecord_options import TFRecordOptions
from transforms.input_batch import InputBatch


def parse_blocks(
    blocks: Iterable[RecordBlock],
    features: Sequence[Feature],
    batch_rows: Callable[[], int],
    *,
    with_records: bool,
    options: TFRecordOptions,
) -> Iterator[InputBatch]:
    """Yields the records of any number of files, in order, with `features` parsed.

    Args:
        blocks: The records.
        features: The columns wanted.
        batch_rows: Tells the rows of a batch.
        with_records: Whether the serialized records are kept beside the columns.
        options: What becomes of records that do not parse.

    Raises:
        InvalidArgumentError: A record does not parse, with `on_error="fail"`.
    """
    tf = import_tensorflow()
    parser = RecordParser(features)
    for block in gather(blocks, batch_rows):
        records = tf.constant(block.records, tf.string)
        try:
            columns = parser.parse(records)
        except InvalidArgumentError:
            block, columns = _good_rows(block, records, parser, options)  # noqa: PLW2901 - what is left
            records = tf.constant(block.records, tf.string)
        yield InputBatch(
            columns=columns,
            records=records if with_records else None,
            records_bytes=block.framed_bytes if with_records else 0,
            input_bytes=block.input_bytes,
            origins=block.origins,
            bad_records=block.bad_records,
        )


def _good_rows(
    block: RecordBlock, records: Any, parser: RecordParser, options: TFRecordOptions
) -> tuple[RecordBlock, pa.RecordBatch]:
    """Returns the records that parse, the others as bad records, and the columns."""

    def parse(start: int, stop: int) -> pa.RecordBatch:
        return parser.parse(records[start:stop])

    found: list[Stretch[pa.RecordBatch]] = []
    for each in parse_stretches(parse, block.num_rows, (InvalidArgumentError,)):
        if each.error is not None and options.on_error == "fail":
            raise _located(block, each.start, each.error)
        found.append(each)
    good = [each for each in found if each.error is None]
    kept = join_blocks([block.slice(each.start, each.stop) for each in good] or [block.slice(0, 0)])
    nothing = pa.RecordBatch.from_pylist([], schema=parser.schema)
    columns = pa.concat_batches([each.result for each in good] or [nothing])
    bad = [_bad_record(block, each) for each in found if each.error is not None]
    return _with_bad_records(kept, block, bad), columns


def _located(block: RecordBlock, row: int, error: Exception) -> InvalidArgumentError:
    path, source_row, offset = block.place(row)
    at_byte = "" if offset == NO_OFFSET else f", at byte {offset}"
    return InvalidArgumentError(f"{path}: record {source_row}{at_byte}: {error}")


def _bad_record(block: RecordBlock, stretch: Stretch[pa.RecordBatch]) -> BadRecord:
    path, row, offset = block.place(stretch.start)
    return BadRecord(
        source_file=path,
        source_row=row,
        byte_offset=None if offset == NO_OFFSET else offset,
        stage=Stage.PARSE,
        code=InvalidArgumentError.code.name,
        message=str(stretch.error),
        record=block.records[stretch.start],
    )


def _with_bad_records(
    kept: RecordBlock, block: RecordBlock, bad: Sequence[BadRecord]
) -> RecordBlock:
    return RecordBlock(
        records=kept.records,
        offsets=np.asarray(kept.offsets),
        input_bytes=block.input_bytes,
        origins=kept.origins,
        bad_records=(*block.bad_records, *bad),
    )
