"""What is in CSV and JSON Lines files, as far as their first rows tell."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from servable_core.runtime.file_system import FileInfo
from transforms.formats import csv_files, json_lines
from transforms.formats.text_files import FAIL
from transforms.formats.text_types import agreed_types
from transforms.storage import is_local
from transforms.unit_table import UnitRange


@dataclass(frozen=True, kw_only=True, slots=True)
class TextDescription:
    """What the files offer.

    Attributes:
        schemas: The distinct sets of columns, with types that are the same in all of them.
        types: The type of each column.
        pieces: Indivisible stretches, in reading order; files without rows have none.
    """

    schemas: tuple[pa.Schema, ...]
    types: Mapping[str, pa.DataType]
    pieces: tuple[UnitRange, ...]


def describe_csv(
    files: Sequence[FileInfo],
    limit: int | None,
    executor: Executor,
    *,
    on_error: str = FAIL,
    numbers: Collection[str] = (),
) -> TextDescription:
    """Reads the first rows of each file, and counts rows if there is a `limit`.

    A file is one piece. Columns whose types differ are text. With `on_error=DEAD_LETTER`, of a
    compressed file that is damaged, the rows before the damage are enough. Columns that are to be
    `numbers` are, if most of their values are.

    Raises:
        DataLossError: A file is damaged, or no CSV.
    """
    paths = [each.path for each in files]
    guessed = list(
        executor.map(partial(csv_files.read_schema, on_error=on_error, numbers=numbers), paths)
    )
    agreed = agreed_types(list(zip(paths, guessed, strict=True)), all_is_text=True)
    # Where there are no values, any text could come.
    types = {name: pa.string() if pa.types.is_null(each) else each for name, each in agreed.items()}
    filled = _with_rows(files, guessed, csv_files.count_rows)
    schemas = {
        pa.schema([(name, types[name]) for name in guessed[index].names]): None for index in filled
    }
    pieces = _pieces(files, filled, [()] * len(files), limit, csv_files.count_rows)
    return TextDescription(schemas=tuple(schemas), types=types, pieces=tuple(pieces))


def describe_json_lines(
    files: Sequence[FileInfo],
    limit: int | None,
    executor: Executor,
    *,
    on_error: str = FAIL,
    range_bytes: int = 16 << 20,
) -> TextDescription:
    """Reads the first lines of each file, and counts rows if there is a `limit`.

    Local files larger than `range_bytes` are cut between lines into ranges of about that size, and
    read for that, unless they are compressed. `on_error` is as in `describe_csv`.

    Raises:
        DataLossError: A file is damaged, or no JSON Lines.
        InvalidArgumentError: The types of a key differ.
    """
    paths = [each.path for each in files]
    guessed = list(executor.map(partial(json_lines.read_schema, on_error=on_error), paths))
    types = agreed_types(list(zip(paths, guessed, strict=True)), all_is_text=False)
    filled = _with_rows(files, guessed, json_lines.count_rows)
    cut = list(executor.map(partial(_cut_lines, range_bytes), range(len(files)), files))
    return TextDescription(
        schemas=(pa.schema(list(types.items())),),
        types=types,
        pieces=tuple(_pieces(files, filled, cut, limit, json_lines.count_rows)),
    )


def _with_rows(
    files: Sequence[FileInfo],
    guessed: Sequence[pa.Schema],
    count_rows: Callable[[str, int], int],
) -> list[int]:
    """Returns the indices of files that have rows; only those without any value are looked into."""
    return [
        index
        for index, (file, schema) in enumerate(zip(files, guessed, strict=True))
        if not all(map(pa.types.is_null, schema.types)) or count_rows(file.path, 1)
    ]


def _cut_lines(range_bytes: int, index: int, file: FileInfo) -> list[UnitRange]:
    """Returns ranges of a large file; none of a small one, or of one that is not at hand."""
    if file.size_bytes <= range_bytes or not is_local(file.path):
        return []
    return [
        UnitRange(
            file_index=index,
            first_group=0,
            end_group=0,
            first_row=each.first_row,
            num_rows=each.num_rows,
            size_bytes=each.end_byte - each.first_byte,
            first_byte=each.first_byte,
            end_byte=each.end_byte,
        )
        for each in json_lines.cut_lines(file.path, range_bytes)
    ]


def _pieces(
    files: Sequence[FileInfo],
    filled: Sequence[int],
    cut: Sequence[Sequence[UnitRange]],
    limit: int | None,
    count_rows: Callable[[str, int], int],
) -> Iterator[UnitRange]:
    """Yields the ranges that files were cut into, and whole files, up to `limit` rows."""
    left = limit
    for index in filled:
        if left is not None and left <= 0:
            return
        pieces = cut[index] or [_whole_file(index, files[index], left, count_rows)]
        yield from (each for each in pieces if each.num_rows)
        left = None if left is None else left - sum(each.num_rows for each in pieces)


def _whole_file(
    index: int, file: FileInfo, limit: int | None, count_rows: Callable[[str, int], int]
) -> UnitRange:
    return UnitRange(
        file_index=index,
        first_group=0,
        end_group=0,
        first_row=0,
        num_rows=-1 if limit is None else count_rows(file.path, limit),
        size_bytes=file.size_bytes,
    )
