"""Serialized records of TFRecord files in blocks of bounded size, with where each one stands."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from servable_core.errors import Code, DataLossError
from transforms.bad_records import BadRecord, Stage
from transforms.formats.tfrecord_content import FileContent
from transforms.formats.tfrecord_frames import FRAME_BYTES, Damage, Run, scan_frames
from transforms.formats.tfrecord_options import TFRecordOptions
from transforms.input_batch import Origin, cut_origins

NO_OFFSET = -1
_BLOCK_BYTES = 8 << 20  # of a block that is joined from several
_MAX_DAMAGED = 1024  # bad records that wait for a good one
_NOTHING = Run(offsets=np.array([], np.int64), records=[])


@dataclass(frozen=True, kw_only=True, slots=True)
class FilePart:
    """A stretch of one file, from one frame to another.

    Attributes:
        path: The file.
        first_byte: Where the first frame begins.
        end_byte: Where the last one ends; None for the end of the file.
        first_row: Index in the file of the first record.
        num_rows: How many records are in it, damaged ones included; None if only reading tells.
    """

    path: str
    first_byte: int = 0
    end_byte: int | None = None
    first_row: int = 0
    num_rows: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordBlock:
    """Some records, in the order of the files.

    Attributes:
        records: Their payloads.
        offsets: Where their frames begin in the (decompressed) files; `NO_OFFSET` if nobody knows.
        input_bytes: About how many bytes of the files they stand for.
        origins: Where they come from; consecutive records of a file, one for each stretch of them.
        bad_records: What was read just before, or among, these records, and is damaged.
    """

    records: list[bytes]
    offsets: np.ndarray
    input_bytes: int
    origins: tuple[Origin, ...]
    bad_records: tuple[BadRecord, ...] = ()

    @property
    def num_rows(self) -> int:
        """Returns the number of records."""
        return len(self.records)

    @property
    def framed_bytes(self) -> int:
        """Returns how many bytes of a decompressed file the records take."""
        num_bytes = start = 0
        for origin in self.origins:
            last = start + origin.num_rows - 1
            end_byte = int(self.offsets[last]) + len(self.records[last]) + FRAME_BYTES
            num_bytes += end_byte - int(self.offsets[start])
            start = last + 1
        return num_bytes

    def slice(self, start: int, stop: int) -> "RecordBlock":
        """Returns records [start, stop); the bad records go with the first ones."""
        if (start, stop) == (0, self.num_rows):
            return self
        return RecordBlock(
            records=self.records[start:stop],
            offsets=self.offsets[start:stop],
            input_bytes=self.input_bytes * (stop - start) // max(1, self.num_rows),
            origins=cut_origins(self.origins, start, stop),
            bad_records=self.bad_records if start == 0 else (),
        )

    def place(self, row: int) -> tuple[str, int, int]:
        """Returns the file, the index in it, and the byte offset of a record."""
        (origin,) = cut_origins(self.origins, row, row + 1)
        return origin.path, origin.first_row, int(self.offsets[row])


def read_blocks(part: FilePart, options: TFRecordOptions) -> Iterator[RecordBlock]:
    """Yields the records of a part of a file, in order, as they come.

    What is damaged is an error, or comes as a bad record with the next block. Behind many of these,
    and in the end, that block may have no records.

    Raises:
        DataLossError: A checksum is wrong, or the file is cut off, with `on_error="fail"`.
    """
    content = FileContent(part.path, part.first_byte, part.end_byte)
    check_crc = options.crc == "check"
    row = part.first_row
    damaged: list[BadRecord] = []
    for found in scan_frames(content.chunks(), part.first_byte, check_crc=check_crc):
        if isinstance(found, Run):
            yield _block(part.path, row, found, content.share, damaged)
            row += len(found.records)
            damaged = []
        elif options.on_error == "fail":
            raise not_tfrecord(part.path, found.reason)
        else:
            damaged.append(_bad_record(part, row, found))
            row += 1
        if len(damaged) >= _MAX_DAMAGED:
            yield _block(part.path, row, _NOTHING, content.share, damaged)
            damaged = []
    if damaged:
        yield _block(part.path, row, _NOTHING, content.share, damaged)


def _block(
    path: str, first_row: int, run: Run, share: float, damaged: list[BadRecord]
) -> RecordBlock:
    num_rows = len(run.records)
    origin = Origin(path=path, first_row=first_row, num_rows=num_rows)
    block = RecordBlock(
        records=run.records,
        offsets=run.offsets,
        input_bytes=0,
        origins=(origin,) if num_rows else (),
        bad_records=tuple(damaged),
    )
    return replace(block, input_bytes=int(block.framed_bytes * share))


def _bad_record(part: FilePart, row: int, damage: Damage) -> BadRecord:
    message = damage.reason
    if damage.record is None:
        end = part.end_byte if damage.end_byte is None else damage.end_byte
        lost = f"bytes {damage.first_byte} to {'the end' if end is None else end}"
        message = f"{lost} cannot be read, however many records they were: {damage.reason}"
    return BadRecord(
        source_file=part.path,
        source_row=row,
        byte_offset=damage.first_byte,
        stage=Stage.READ,
        code=Code.DATA_LOSS.name,
        message=message,
        record=damage.record,
    )


def not_tfrecord(path: str, reason: str) -> DataLossError:
    """Returns the error for a file that is something else, or damaged."""
    return DataLossError(
        f"{path} is not TFRecord, or is corrupt: {reason}; give --input_format if it is something else"
    )


def gather(blocks: Iterable[RecordBlock], wanted_rows: Callable[[], int]) -> Iterator[RecordBlock]:
    """Yields the same records in blocks of `wanted_rows`, smaller ones where memory demands it.

    Of blocks with very many bad records, too: whoever counts them should not learn of them too late.
    """
    pending: list[RecordBlock] = []
    num_rows = num_bytes = num_bad = 0
    for block in blocks:
        block_rows = wanted_rows()
        pending.append(block)
        num_rows, num_bytes = num_rows + block.num_rows, num_bytes + block.framed_bytes
        num_bad += len(block.bad_records)
        if num_rows < block_rows and num_bytes < _BLOCK_BYTES and num_bad < _MAX_DAMAGED:
            continue
        joined = join_blocks(pending)
        stop = num_rows - num_rows % block_rows or num_rows  # fewer rows, if they are large
        for start in range(0, max(1, stop), block_rows):
            yield joined.slice(start, min(start + block_rows, stop))
        pending = [joined.slice(stop, num_rows)] if stop < num_rows else []
        num_rows, num_bytes = num_rows - stop, sum(each.framed_bytes for each in pending)
        num_bad = 0
    if pending:
        yield join_blocks(pending)


def join_blocks(blocks: list[RecordBlock]) -> RecordBlock:
    """Returns the records of all `blocks` (at least one) in order."""
    if len(blocks) == 1:
        return blocks[0]
    return RecordBlock(
        records=[record for block in blocks for record in block.records],
        offsets=np.concatenate([block.offsets for block in blocks]),
        input_bytes=sum(block.input_bytes for block in blocks),
        origins=tuple(origin for block in blocks for origin in block.origins),
        bad_records=tuple(bad for block in blocks for bad in block.bad_records),
    )
