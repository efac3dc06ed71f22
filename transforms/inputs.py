"""Finds the input files and describes what is in them, before anything is read in earnest."""

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.runtime.executor import create_executor
from servable_core.runtime.file_system import FileInfo
from transforms.dead_letter_files import read_records
from transforms.dead_letter_inputs import (
    RECORD_LETTERS,
    ROW_LETTERS,
    describe_row_letters,
    letter_pieces,
    letters_format,
)
from transforms.formats import parquet, tfrecord
from transforms.formats.tfrecord_features import describe_records
from transforms.formats.tfrecord_index import INDEX_SUFFIXES
from transforms.formats.tfrecord_options import TFRecordOptions
from transforms.input_lists import expand_lists
from transforms.local_glob import match_local
from transforms.storage import (
    absolute_path,
    file_system_for,
    has_glob_signs,
    is_local,
    match_files,
    stat_file,
)
from transforms.text_inputs import TextDescription, describe_csv, describe_json_lines
from transforms.tfrecord_pieces import tfrecord_pieces
from transforms.unit_cutting import UnitBounds
from transforms.unit_table import UnitRange

FORMATS = ("parquet", "tfrecord", "csv", "jsonl")
_SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
    ".tfrecord.gz": "tfrecord",
    ".tfrecords.gz": "tfrecord",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson": "jsonl",
    ".ndjson.gz": "jsonl",
    ".json": "jsonl",
    ".json.gz": "jsonl",
}
_NUM_FOOTER_THREADS = 8
_LINES_BYTES = 16 << 20  # JSON Lines are cut into ranges of this size, which units are made of
_NUM_DESCRIBED_FILES = 4  # a feature that is missing from all of these is taken for absent

_NUM_DESCRIBED_LETTERS = 1000

_UNCUT = UnitBounds(max_bytes=1 << 62)
_Describer: TypeAlias = Callable[[Sequence[FileInfo], int | None, Executor], "InputDescription"]


def check_input_format(name: str | None) -> None:
    """Checks the value of `--input_format`; None leaves it to the files' names.

    Raises:
        InvalidArgumentError: There is no such format.
    """
    if name not in (None, *FORMATS):
        raise InvalidArgumentError(
            f"--input_format must be one of {', '.join(FORMATS)}, got {name!r}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class InputDescription:
    """What the input offers.

    Attributes:
        schemas: The distinct Arrow schemas of the files; most often one.
        has_records: Whether serialized Examples can be fed as they are.
        pieces: Indivisible stretches, in reading order.
        features: For TFRecord, the features by name; for CSV and JSON Lines, whose files do not
            tell the types either, the columns.
        input_format: One of FORMATS.
    """

    schemas: tuple[pa.Schema, ...]
    has_records: bool
    pieces: tuple[UnitRange, ...]
    features: dict[str, tfrecord.Feature]
    input_format: str = "parquet"


def find_inputs(patterns: Sequence[str]) -> list[FileInfo]:
    """Returns the files that globs, directories and paths name, sorted, each once.

    What names a file or a local directory exactly is no glob, whatever signs are in it. `@FILE` stands
    for the patterns in that file.

    Raises:
        NotFoundError: A pattern matches nothing, or a list is not there.
        InvalidArgumentError: A pattern is empty.
    """
    found: dict[str, FileInfo] = {}
    for pattern in expand_lists(patterns):
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
    """Whether the file is input.

    Markers without content are not, but a Parquet file has a footer; and an index is none either.
    """
    if file.path.endswith(INDEX_SUFFIXES):
        return False
    return file.size_bytes > 0 or _format_of(file.path) == "parquet"


def _match(pattern: str) -> list[FileInfo]:
    if is_local(pattern) and Path(pattern).is_dir():
        return _visible(pattern, file_system_for(pattern).list_files(pattern))
    exact = stat_file(pattern) if has_glob_signs(pattern) else None
    if exact is not None:
        return [exact]
    if is_local(pattern):
        return match_local(pattern)
    matched = match_files(pattern)
    if not matched:
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
            f"cannot tell the format of {examples[None]} by its name; give --input_format, one of {', '.join(FORMATS)}"
        )
    if len(examples) > 1:
        listed = " and ".join(f"{path} ({each})" for each, path in examples.items())
        raise InvalidArgumentError(
            f"--input matches files of several formats, such as {listed}; give one format per job"
        )
    return str(examples.popitem()[0])


def input_format_of(files: Sequence[FileInfo], given: str | None) -> str:
    """Returns the format given, or what the files are: as their suffixes tell, or dead letters.

    Raises:
        InvalidArgumentError: As `detect_format`; or only some of the files are dead letters.
        DataLossError: A file is not of its suffix's format.
    """
    found = detect_format(files, given)
    letters = letters_format(files) if given is None and found == "parquet" else None
    return letters or found


def _format_of(path: str) -> str | None:
    name = path.rpartition("/")[2].lower()
    matches = [each for suffix, each in _SUFFIXES.items() if name.endswith(suffix)]
    if matches:
        return matches[0]
    return "tfrecord" if ".tfrecord" in name else None  # train.tfrecord-00000-of-00008


def describe_inputs(
    files: Sequence[FileInfo],
    input_format: str,
    limit: int | None,
    *,
    bounds: UnitBounds | None = None,
    options: TFRecordOptions | None = None,
    numbers: Collection[str] = (),
) -> InputDescription:
    """Reads footers (Parquet) or first records (all other formats) of `files`.

    Args:
        files: The input.
        input_format: One of FORMATS.
        limit: Rows that will be read; rows are counted only when one is set, but in Parquet always.
        bounds: TFRecord files that are larger than a unit are cut, for which their headers are read;
            None leaves them whole.
        options: What becomes of TFRecords that are damaged.
        numbers: Columns of CSV that are numbers if most of their values are.

    Raises:
        DataLossError: A file is corrupt, truncated, or of another format.
        NotFoundError: There is no row in any of them.
    """
    describe = _describer(input_format, bounds or _UNCUT, options or TFRecordOptions(), numbers)
    with create_executor(_NUM_FOOTER_THREADS, "footers") as executor:
        description = describe(files, limit, executor)
    if not description.pieces:
        raise NotFoundError(
            f"--input has no rows: {files[0].path}{_and_others(len(files) - 1)} could be read, but nothing is in there"
        )
    return replace(description, input_format=input_format)


def _describer(
    input_format: str, bounds: UnitBounds, options: TFRecordOptions, numbers: Collection[str]
) -> _Describer:
    describers: dict[str, _Describer] = {
        "parquet": _describe_parquet,
        "tfrecord": partial(_describe_tfrecord, bounds=bounds, options=options),
        "csv": partial(
            _describe_text, partial(describe_csv, on_error=options.on_error, numbers=numbers)
        ),
        "jsonl": partial(
            _describe_text,
            partial(
                describe_json_lines,
                on_error=options.on_error,
                range_bytes=min(_LINES_BYTES, bounds.max_bytes),
            ),
        ),
        RECORD_LETTERS: partial(_describe_record_letters, options=options),
        ROW_LETTERS: partial(_describe_text, describe_row_letters),
    }
    return describers[input_format]


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
    schemas = {each.schema: None for each in footers if _has_rows(each)}
    return InputDescription(
        schemas=tuple(schemas), has_records=False, pieces=tuple(pieces), features={}
    )


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
    files: Sequence[FileInfo],
    limit: int | None,
    executor: Executor,
    *,
    bounds: UnitBounds,
    options: TFRecordOptions,
) -> InputDescription:
    paths = [each.path for each in files]
    describe = partial(tfrecord.describe, options=options)
    described = list(executor.map(describe, paths[:_NUM_DESCRIBED_FILES]))
    for _ in executor.map(
        lambda path: tfrecord.read_head(path, 1, options), paths[_NUM_DESCRIBED_FILES:]
    ):
        pass  # each file must at least begin as TFRecord
    features = tfrecord.merge_features(described)
    if not features and not any(tfrecord.count_records(path, 1, options) for path in paths):
        for path in paths:  # which is an error where damage, and not the file, ends before a record
            tfrecord.read_head(path, 1, replace(options, on_error="fail"))
        return InputDescription(schemas=(), has_records=True, pieces=(), features={})
    schema = pa.schema([each.field for each in features.values()])
    return InputDescription(
        schemas=(schema,),
        has_records=True,
        pieces=tfrecord_pieces(files, limit, executor, bounds, options),
        features=features,
    )


def _describe_record_letters(
    files: Sequence[FileInfo], _limit: int | None, _executor: Executor, *, options: TFRecordOptions
) -> InputDescription:
    features = tfrecord.merge_features([_letter_features(each.path, options) for each in files])
    return InputDescription(
        schemas=(pa.schema([each.field for each in features.values()]),),
        has_records=True,
        pieces=letter_pieces(files),
        features=features,
    )


def _letter_features(path: str, options: TFRecordOptions) -> list[tfrecord.Feature]:
    letters = itertools.islice(read_records(path), _NUM_DESCRIBED_LETTERS)
    skips_bad = options.on_error == "dead_letter"
    return describe_records(path, [each.record for each in letters], skips_bad=skips_bad)


def _describe_text(
    describe: Callable[[Sequence[FileInfo], int | None, Executor], TextDescription],
    files: Sequence[FileInfo],
    limit: int | None,
    executor: Executor,
) -> InputDescription:
    described = describe(files, limit, executor)
    return InputDescription(
        schemas=described.schemas,
        has_records=False,
        pieces=described.pieces,
        features={
            name: tfrecord.Feature(name=name, value_type=each, length=None)
            for name, each in described.types.items()
        },
    )
