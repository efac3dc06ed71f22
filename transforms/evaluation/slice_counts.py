"""How many rows have which values of the slice columns: what a scan finds, merged in any order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.slice_groups import (
    Dimensions,
    SliceGroup,
    encode_dimensions,
    slice_groups,
)
from transforms.evaluation.slice_values import NamedCodes
from transforms.evaluation.slices import OTHER_VALUE, SliceSpec

MAX_COMBINATIONS = 1_000_000
_ROWS = "rows"
_FEW_TABLES = 32


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SliceCounts:
    """Rows by the values of the columns of each group of slices that needs a scan.

    Attributes:
        groups: The groups.
        tables: For each, its columns and `rows`: one row for each combination, in any order.
    """

    groups: tuple[SliceGroup, ...]
    tables: tuple[pa.Table, ...]

    @classmethod
    def of_specs(cls, specs: Sequence[SliceSpec]) -> Self:
        """Returns the counts of no rows."""
        groups = tuple(each for each in slice_groups(specs) if each.needs_scan)
        return cls(groups=groups, tables=tuple(map(_no_rows, groups)))

    @classmethod
    def of_rows(cls, specs: Sequence[SliceSpec], columns: pa.RecordBatch) -> Self:
        """Returns the counts of the rows of a batch.

        Raises:
            InvalidArgumentError: A column is missing, or is of a type that does not do.
        """
        empty = cls.of_specs(specs)
        encoded = encode_dimensions(empty.groups, columns)
        tables = [
            _added_up(
                group, [_count(group, [encoded[dimension] for dimension in group.dimensions])]
            )
            for group in empty.groups
        ]
        return cls(groups=empty.groups, tables=tuple(tables))

    def by_dimensions(self) -> dict[Dimensions, pa.Table]:
        """Returns the tables by the columns that their groups are of."""
        return {
            group.dimensions: table for group, table in zip(self.groups, self.tables, strict=True)
        }

    @classmethod
    def merge(cls, many: Iterable[Self]) -> Self:
        """Returns the counts of the rows of all of `many`, at least one; in any order.

        It holds few of them at a time, so `many` may be a generator of any length.

        Raises:
            InvalidArgumentError: There are so many combinations of values that they are no slices.
        """
        waiting: list[Self] = []
        for each in many:
            waiting.append(each)
            if len(waiting) == _FEW_TABLES:
                waiting = [cls._merge_all(waiting)]
        return cls._merge_all(waiting)

    @classmethod
    def _merge_all(cls, many: Sequence[Self]) -> Self:
        groups = many[0].groups
        tables = [
            _added_up(group, [each.tables[index] for each in many])
            for index, group in enumerate(groups)
        ]
        return cls(groups=groups, tables=tuple(tables))


def _no_rows(group: SliceGroup) -> pa.Table:
    names = [(each.column, pa.string()) for each in group.dimensions]
    return pa.schema([*names, (_ROWS, pa.int64())]).empty_table()


def _count(group: SliceGroup, encoded: Sequence[NamedCodes]) -> pa.Table:
    """Returns the combinations of values in some rows; one may be there several times."""
    columns = [each.column for each in group.dimensions]
    codes = pa.table([each.codes for each in encoded], names=columns)
    counted = codes.group_by(columns, use_threads=False).aggregate([([], "count_all")])
    named = [
        _folded(each.names, group.allowed_names(dimension)).take(counted[dimension.column])
        for dimension, each in zip(group.dimensions, encoded, strict=True)
    ]
    return pa.table([*named, counted["count_all"]], names=[*columns, _ROWS])


def _folded(names: pa.StringArray, allowed: Sequence[str] | None) -> pa.StringArray:
    if allowed is None:
        return names
    return pc.if_else(pc.is_in(names, pa.array(allowed, pa.string())), names, OTHER_VALUE)


def _added_up(group: SliceGroup, tables: Sequence[pa.Table]) -> pa.Table:
    columns = [each.column for each in group.dimensions]
    everything = pa.concat_tables([each.combine_chunks() for each in tables])
    total = everything.group_by(columns, use_threads=False).aggregate([(_ROWS, "sum")])
    if total.num_rows > MAX_COMBINATIONS:
        raise InvalidArgumentError(
            f"slice {group.name!r} has more than {MAX_COMBINATIONS:,} values; name those that matter, as {columns[0]}=A|B, cut numbers into buckets, or slice by another column"
        )
    return total.select([*columns, f"{_ROWS}_sum"]).rename_columns([*columns, _ROWS])
