"""Serialized records of TFRecord files in blocks of bounded size, small files gathered.

TensorFlow's reader takes long to start and counts records, not bytes. It reads what it is good at: long
files of short records. All others are read frame by frame.
"""

import gzip
import itertools
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from transforms.formats.tfrecord_frames import (
    FRAME_BYTES,
    gzip_errors,
    is_gzip_file,
    not_tfrecord,
    verified_records,
)
from transforms.input_batch import Origin, cut_origins
from transforms.storage import file_system_for, is_local

_LENGTH = struct.Struct("<I")  # of the content, modulo 2**32, at the end of a gzip member
_READ_BUFFER_BYTES = 1 << 20
_SMALL_FILE_BYTES = 1 << 20
_LARGE_RECORD_BYTES = 8 << 10
_NUM_SAMPLED = 8
_BLOCK_BYTES = 8 << 20  # of a block that is read frame by frame
_BLOCK_ROWS = 4096  # of a block that TensorFlow reads


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordBlock:
    """Some consecutive records.

    Attributes:
        records: A list of bytes where they were read frame by frame, else a rank-1 string tensor.
        num_rows: How many they are.
        framed_bytes: What they take with their frames.
        input_bytes: About how many bytes of the files they stand for.
        origins: Where they come from.
    """

    records: Any
    num_rows: int
    framed_bytes: int
    input_bytes: int
    origins: tuple[Origin, ...]

    def slice(self, start: int, stop: int) -> "RecordBlock":
        """Returns records [start, stop)."""
        records = self.records[start:stop]
        return RecordBlock(
            records=records,
            num_rows=stop - start,
            framed_bytes=framed_bytes(records),
            input_bytes=self.input_bytes * (stop - start) // self.num_rows,
            origins=cut_origins(self.origins, start, stop),
        )


def framed_bytes(records: Any) -> int:
    """Returns how many bytes of a decompressed file the records take."""
    if isinstance(records, list):
        return sum(map(len, records)) + len(records) * FRAME_BYTES
    tf = import_tensorflow()
    content = tf.reduce_sum(tf.cast(tf.strings.length(records), tf.int64))
    return int(content) + int(records.shape[0]) * FRAME_BYTES


def read_blocks(path: str, block_rows: int) -> Iterator[RecordBlock]:
    """Yields the file's records in order, at most `block_rows` at a time.

    Raises:
        DataLossError: A checksum is wrong or the file is cut off.
    """
    with _local_copy(path) as local:
        share = min(1.0, Path(local).stat().st_size / max(1, _claimed_bytes(local)))
        suits_tensorflow = _is_long(local) and not _has_large_records(path, local)
        read = _read_by_tensorflow if suits_tensorflow else _read_by_frame
        first_row = 0
        for records in read(path, local, block_rows):
            yield _block(path, first_row, records, share)
            first_row += len(records)


def _block(path: str, first_row: int, records: Any, share: float) -> RecordBlock:
    num_bytes = framed_bytes(records)
    return RecordBlock(
        records=records,
        num_rows=len(records),
        framed_bytes=num_bytes,
        input_bytes=int(num_bytes * share),
        origins=(Origin(path=path, first_row=first_row, num_rows=len(records)),),
    )


def _is_long(local_path: str) -> bool:
    return Path(local_path).stat().st_size >= _SMALL_FILE_BYTES


def _has_large_records(path: str, local_path: str) -> bool:
    first = itertools.islice(verified_records(path, local_path), _NUM_SAMPLED)
    return max(map(len, first), default=0) > _LARGE_RECORD_BYTES


def _read_by_frame(path: str, local_path: str, block_rows: int) -> Iterator[list[bytes]]:
    records: list[bytes] = []
    num_bytes = 0
    for record in verified_records(path, local_path):
        records.append(record)
        num_bytes += len(record)
        if len(records) == block_rows or num_bytes >= _BLOCK_BYTES:
            yield records
            records, num_bytes = [], 0
    if records:
        yield records


def _read_by_tensorflow(path: str, local_path: str, block_rows: int) -> Iterator[Any]:
    tf = import_tensorflow()
    compression = "GZIP" if is_gzip_file(local_path) else ""
    dataset = tf.data.TFRecordDataset(
        local_path, compression_type=compression, buffer_size=_READ_BUFFER_BYTES
    )
    dataset = dataset.batch(min(block_rows, _BLOCK_ROWS)).with_options(_one_thread(tf))
    num_bytes = 0
    with _data_errors(path):
        for records in dataset:
            num_bytes += framed_bytes(records)
            yield records
    _check_complete(path, local_path, num_bytes)


def _one_thread(tf: Any) -> Any:
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1  # the cores belong to the model
    options.autotune.enabled = False
    return options


@contextmanager
def _data_errors(path: str) -> Iterator[None]:
    tf = import_tensorflow()
    try:
        yield
    except tf.errors.DataLossError as error:
        raise not_tfrecord(path, error.message.splitlines()[0]) from error


def _check_complete(path: str, local_path: str, num_bytes: int) -> None:
    """Checks that the whole file was read: TensorFlow takes one that ends in a header for its end.

    Raises:
        DataLossError: The file was cut off.
    """
    expected = _claimed_bytes(local_path)
    if is_gzip_file(local_path) and expected != num_bytes % (1 << 32):
        expected = _decompressed_bytes(path, local_path)  # it was cut off, or has members
    elif is_gzip_file(local_path):
        return
    if expected != num_bytes:
        raise not_tfrecord(path, f"it ends within a header at byte {num_bytes}")


def _claimed_bytes(local_path: str) -> int:
    """Returns the file's length, decompressed: of gzip what its end says, modulo 2**32."""
    size = Path(local_path).stat().st_size
    if not is_gzip_file(local_path):
        return size
    with Path(local_path).open("rb") as stream:
        stream.seek(max(0, size - _LENGTH.size))
        end = stream.read()
    return int(_LENGTH.unpack(end)[0]) if len(end) == _LENGTH.size else 0


def _decompressed_bytes(path: str, local_path: str) -> int:
    with gzip_errors(path), gzip.open(local_path) as stream:
        return sum(map(len, iter(lambda: stream.read(_READ_BUFFER_BYTES), b"")))


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


def gather(blocks: Iterable[RecordBlock], wanted_rows: Callable[[], int]) -> Iterator[RecordBlock]:
    """Yields the same records with neighbouring lists joined to `wanted_rows`, where memory allows."""
    pending: list[RecordBlock] = []
    num_rows = num_bytes = 0
    for block in blocks:
        if not isinstance(block.records, list):
            yield from _joined(pending)
            yield block
            pending, num_rows, num_bytes = [], 0, 0
            continue
        block_rows = wanted_rows()
        pending.append(block)
        num_rows, num_bytes = num_rows + block.num_rows, num_bytes + block.framed_bytes
        if num_rows >= block_rows or num_bytes >= _BLOCK_BYTES:
            (joined,) = _joined(pending)
            yield joined.slice(0, min(block_rows, num_rows))
            pending = [joined.slice(block_rows, num_rows)] if num_rows > block_rows else []
            num_rows, num_bytes = max(0, num_rows - block_rows), sum(_sizes(pending))
    yield from _joined(pending)


def _sizes(blocks: Iterable[RecordBlock]) -> Iterator[int]:
    return (block.framed_bytes for block in blocks)


def _joined(blocks: list[RecordBlock]) -> list[RecordBlock]:
    """Returns blocks of lists as one, or none if there are none."""
    if len(blocks) < 2:
        return blocks
    joined = RecordBlock(
        records=[record for block in blocks for record in block.records],
        num_rows=sum(block.num_rows for block in blocks),
        framed_bytes=sum(_sizes(blocks)),
        input_bytes=sum(block.input_bytes for block in blocks),
        origins=tuple(origin for block in blocks for origin in block.origins),
    )
    return [joined]
