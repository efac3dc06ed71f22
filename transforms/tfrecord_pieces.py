"""What units are cut from of TFRecord files: small files whole, big ones in parts."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace

from servable_core.runtime.file_system import FileInfo
from transforms.formats.tfrecord import count_records
from transforms.formats.tfrecord_blocks import FilePart
from transforms.formats.tfrecord_options import TFRecordOptions
from transforms.formats.tfrecord_ranges import cut_file
from transforms.unit_cutting import UnitBounds
from transforms.unit_table import UnitRange


def tfrecord_pieces(
    files: Sequence[FileInfo],
    limit: int | None,
    executor: Executor,
    bounds: UnitBounds,
    options: TFRecordOptions,
) -> tuple[UnitRange, ...]:
    """Returns the pieces of the files, in reading order.

    Args:
        files: The input.
        limit: Rows that will be read, or None for all. Files are read only as far as they have them,
            and counted.
        executor: Where files are cut, if there is no limit.
        bounds: Files that are larger than a unit are cut.
        options: What becomes of files that are damaged.

    Raises:
        DataLossError: A file whose records are counted is cut off, with `on_error="fail"`.
    """
    if limit is not None:
        return tuple(_first_pieces(files, limit, bounds, options))
    cut = executor.map(lambda file: list(_parts(file, None, bounds, options)), files)
    pieces = [
        _piece(index, file, part)
        for index, (file, parts) in enumerate(zip(files, cut, strict=True))
        for part in parts
    ]
    if options.on_error == "dead_letter":  # a damaged length loses more records than one
        pieces = [replace(each, num_rows=-1) for each in pieces]
    return tuple(pieces)


def _first_pieces(
    files: Sequence[FileInfo], limit: int, bounds: UnitBounds, options: TFRecordOptions
) -> Iterator[UnitRange]:
    left = limit
    for index, file in enumerate(files):
        for part in _parts(file, left, bounds, options):
            if part.num_rows != 0:
                yield _piece(index, file, part)
            left -= part.num_rows or 0
            if left <= 0:
                return


def _parts(
    file: FileInfo, limit: int | None, bounds: UnitBounds, options: TFRecordOptions
) -> Iterator[FilePart]:
    """Yields a big file in parts, any other whole; with a limit, counted up to there."""
    parts: Iterable[FilePart] = [FilePart(path=file.path)]
    if file.size_bytes > bounds.max_bytes:
        parts = cut_file(
            file.path, file.size_bytes, max_bytes=bounds.max_bytes, max_rows=bounds.max_rows
        )
    for part in parts:
        is_whole = part.end_byte is None
        if limit is not None and is_whole:
            yield replace(part, num_rows=count_records(file.path, limit, options))
        else:
            yield part


def _piece(file_index: int, file: FileInfo, part: FilePart) -> UnitRange:
    return UnitRange(
        file_index=file_index,
        first_group=0,
        end_group=0,
        first_row=part.first_row,
        num_rows=-1 if part.num_rows is None else part.num_rows,
        size_bytes=(part.end_byte or file.size_bytes) - part.first_byte,
        first_byte=part.first_byte,
        end_byte=-1 if part.end_byte is None else part.end_byte,
    )
