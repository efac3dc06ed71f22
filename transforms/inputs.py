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
from transforms.storage import (
    absolute_path,
    file_system_for,
    has_glob_signs,
    is_local,
    match_files,
    stat_file,
)

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

    What names a file or a local directory exactly is no glob, whatever signs are in it.

    Raises:
        NotFoundError: A pattern matches nothing.
        InvalidArgumentError: A pattern is empty.
    """
    found: dict[str, FileInfo] = {}
    for pattern in patterns:
        if not pattern:
            raise InvalidArgumentError("--input is empty: give files, directories or quoted globs")
        matched = [each for each in _match(absolute_path(pattern)) if _counts(each)]
        if not matched:
            raise NotFoundError(
                f"--input={pattern} matches no file with anything in it{_quoting_hint(pattern)}"
            )
        found.update({each.path: each for each in matched})
    return sorted(found.values())


def _counts(file: FileInfo) -> bool:
    """Whether the file is input: markers without content are not, but a Parquet file has a footer."""
    return file.size_bytes > 0 or _format_of(file.path) == "parquet"


def _match(pattern: str) -> list[FileInfo]:
    if is_local(pattern) and Path(pattern).is_dir():
        return _visible(pattern, file_system_for(pattern).list_files(pattern))
    exact = stat_file(pattern) if has_glob_signs(pattern) else None
    if exact is not None:
        return [exact]
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
    return "" if has_glob_signs(pattern) else " (a glob needs quotes in the shell)"


def detect_format(files: Sequence[FileInfo], given: str | None) -> str:
    """Returns the format given, or the one that the suffixes tell.

    Raises:
        InvalidArgumentError: Suffixes are unknown or mixed, and no format was given.
    """
    if given is not None:
        return given
    examples = {_format_of(each.path): each.path for each in files}
    if None in examples:
        raise InvalidArgumentError(
            f"cannot tell the format of {examples[None]} by its name; give --input_format=parquet or --input_format=tfrecord"
        )
    if len(examples) > 1:
        listed = " and ".join(f"{path} ({each})" for each, path in examples.items())
        raise InvalidArgumentError(
            f"--input matches files of several formats, such as {listed}; give one format per job"
        )
    return str(examples.popitem()[0])


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
        raise NotFoundError(
            f"--input has no rows: {files[0].path}{_and_others(len(files) - 1)} could be read, but nothing is in there"
        )
    return description


def _and_others(num_files: int) -> str:
    return f" and {num_files} more files" if num_files else ""


def _describe_parquet(
    files: Sequence[FileInfo], _limit: int | None, executor: Executor
) -> InputDescription:
    footers = list(executor.map(parquet.read_footer, [each.path for each in files]))
    pieces = [
        piece
        for index, footer in enumerate(footers)
        for piece in _row_group_pieces(index, footer.row_groups)
    ]
    # Writers of empty files often cannot tell the types, and nothing is read of them.
    schemas = {_nullable(each.schema): None for each in footers if _has_rows(each)}
    return InputDescription(
        schemas=tuple(schemas), has_records=False, pieces=tuple(pieces), features={}
    )


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([(field.name, field.type) for field in schema])


def _has_rows(footer: parquet.ParquetFooter) -> bool:
    return any(group.num_rows for group in footer.row_groups)


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
    if not features and not any(tfrecord.count_records(path, 1) for path in paths):
        return InputDescription(schemas=(), has_records=True, pieces=(), features={})
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
