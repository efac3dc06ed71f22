"""Finds the input files and describes what is in them, before anything is read in earnest."""

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.runtime.executor import create_executor
from servable_core.runtime.file_system import FileInfo
from transforms.formats import parquet, tfrecord
from transforms.plan import UnitRange
from transforms.storage import absolute_path, file_system_for, is_local, match_files

FORMATS = ("parquet", "tfrecord")
_SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
    ".tfrecord.gz": "tfrecord",
    ".tfrecords.gz": "tfrecord",
}
_NUM_FOOTER_THREADS = 8
_NUM_DESCRIBED_FILES = 4  # a feature that is missing from all of these is taken for absent


@dataclass(frozen=True, kw_only=True, slots=True)
class InputDescription:
    """What the input offers.

    Attributes:
        schemas: The distinct Arrow schemas of the files; most often one.
        has_records: Whether serialized Examples can be fed as they are.
        pieces: Indivisible stretches, in reading order.
        features: For TFRecord, the features by name.
    """

    schemas: tuple[pa.Schema, ...]
    has_records: bool
    pieces: tuple[UnitRange, ...]
    features: dict[str, tfrecord.Feature]


def find_inputs(patterns: Sequence[str]) -> list[FileInfo]:
    """Returns the files that globs, directories and paths name, sorted, each once.

    Raises:
        NotFoundError: A pattern matches nothing.
    """
    found: dict[str, FileInfo] = {}
    for pattern in patterns:
        matched = [each for each in _match(absolute_path(pattern)) if each.size_bytes > 0]
        if not matched:
            raise NotFoundError(
                f"--input={pattern} matches no file with anything in it{_quoting_hint(pattern)}"
            )
        found.update({each.path: each for each in matched})
    return sorted(found.values())


def _match(pattern: str) -> list[FileInfo]:
    if is_local(pattern) and Path(pattern).is_dir():
        return _visible(pattern, file_system_for(pattern).list_files(pattern))
    matched = match_files(pattern)
    if not matched and not is_local(pattern):
        return _visible(pattern, file_system_for(pattern).list_files(pattern))
    return matched


def _visible(directory: str, files: Iterable[FileInfo]) -> list[FileInfo]:
    """Returns the files below `directory` that no `_` or `.` hides, as Parquet readers do."""
    prefix = directory.rstrip("/") + "/"
    return [
        each
        for each in files
        if not any(
            part.startswith(("_", ".")) for part in each.path.removeprefix(prefix).split("/")
        )
    ]


def _quoting_hint(pattern: str) -> str:
    return "" if any(sign in pattern for sign in "*?[") else " (a glob needs quotes in the shell)"


def detect_format(files: Sequence[FileInfo], given: str | None) -> str:
    """Returns the format given, or the one that the suffixes tell.

    Raises:
        InvalidArgumentError: Suffixes are unknown or mixed, and no format was given.
    """
    if given is not None:
        return given
    formats = {_format_of(each.path) for each in files}
    if len(formats) > 1:
        names = ", ".join(sorted(str(each) for each in formats))
        raise InvalidArgumentError(
            f"--input matches files of several formats ({names}); give one format per job"
        )
    found = formats.pop()
    if found is None:
        raise InvalidArgumentError(
            f"cannot tell the format of {files[0].path} by its name; give --input_format=parquet or --input_format=tfrecord"
        )
    return found


def _format_of(path: str) -> str | None:
    name = path.rpartition("/")[2].lower()
    matches = [each for suffix, each in _SUFFIXES.items() if name.endswith(suffix)]
    if matches:
        return matches[0]
    return "tfrecord" if ".tfrecord" in name else None  # train.tfrecord-00000-of-00008


def describe_inputs(
    files: Sequence[FileInfo], input_format: str, limit: int | None
) -> InputDescription:
    """Reads footers (Parquet) or first records (TFRecord) of `files`.

    Args:
        files: The input.
        input_format: One of FORMATS.
        limit: Rows that will be read; TFRecord files are counted only when one is set.

    Raises:
        DataLossError: A file is corrupt, truncated, or of another format.
        NotFoundError: There is no row in any of them.
    """
    describe = _describe_parquet if input_format == "parquet" else _describe_tfrecord
    with create_executor(_NUM_FOOTER_THREADS, "footers") as executor:
        description = describe(files, limit, executor)
    if not description.pieces:
        raise NotFoundError(f"the input has no rows: {len(files)} files, all of them empty")
    return description


def _describe_parquet(
    files: Sequence[FileInfo], _limit: int | None, executor: Executor
) -> InputDescription:
    footers = list(executor.map(parquet.read_footer, [each.path for each in files]))
    pieces = [
        piece
        for index, footer in enumerate(footers)
        for piece in _row_group_pieces(index, footer.row_groups)
    ]
    schemas = {footer.schema.remove_metadata(): None for footer in footers}
    return InputDescription(
        schemas=tuple(schemas), has_records=False, pieces=tuple(pieces), features={}
    )


def _row_group_pieces(
    file_index: int, row_groups: Sequence[parquet.RowGroup]
) -> Iterable[UnitRange]:
    first_row = 0
    for index, group in enumerate(row_groups):
        if group.num_rows:
            yield UnitRange(
                file_index=file_index,
                first_group=index,
                end_group=index + 1,
                first_row=first_row,
                num_rows=group.num_rows,
                size_bytes=group.size_bytes,
            )
        first_row += group.num_rows


def _describe_tfrecord(
    files: Sequence[FileInfo], limit: int | None, executor: Executor
) -> InputDescription:
    paths = [each.path for each in files]
    described = list(executor.map(tfrecord.describe, paths[:_NUM_DESCRIBED_FILES]))
    for _ in executor.map(lambda path: tfrecord.read_head(path, 1), paths[_NUM_DESCRIBED_FILES:]):
        pass  # each file must at least begin as TFRecord
    features = tfrecord.merge_features(described)
    pieces = []
    left = limit
    for index, each in enumerate(files):
        num_rows = -1
        if left is not None:
            num_rows = tfrecord.count_records(each.path, left)
            left -= num_rows
        if num_rows:
            pieces.append(_whole_file(index, num_rows, each.size_bytes))
        if left == 0:
            break
    schema = pa.schema([each.field for each in features.values()])
    return InputDescription(
        schemas=(schema,), has_records=True, pieces=tuple(pieces), features=features
    )


def _whole_file(file_index: int, num_rows: int, size_bytes: int) -> UnitRange:
    return UnitRange(
        file_index=file_index,
        first_group=0,
        end_group=0,
        first_row=0,
        num_rows=num_rows,
        size_bytes=size_bytes,
    )
