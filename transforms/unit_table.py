"""The units of a plan, kept as columns: a job may have a million of them, in every worker process."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import overload

import numpy as np
from typing_extensions import override

_BLOCK_UNITS = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitRange:
    """A stretch of one input file.

    Attributes:
        file_index: Index in the plan's inputs.
        first_group: First row group; 0 for TFRecord.
        end_group: Row group after the last; 0 for TFRecord.
        first_row: Index in the file of the first row.
        num_rows: Rows to read, or -1 for all that are there (TFRecord does not tell in advance).
        size_bytes: About how many bytes are read.
        first_byte: Where the first record (its frame, in TFRecord) begins; 0 for Parquet.
        end_byte: Where the last one ends; -1 for the end of the file, and for Parquet.
    """

    file_index: int
    first_group: int
    end_group: int
    first_row: int
    num_rows: int
    size_bytes: int
    first_byte: int = 0
    end_byte: int = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """What one worker reads, infers and commits at a time.

    Attributes:
        index: Position in the plan, from 0.
        ranges: What it reads, in order; at least one.
    """

    index: int
    ranges: tuple[UnitRange, ...]

    @property
    def num_rows(self) -> int | None:
        """Returns the rows that must be read, or None when only reading tells."""
        rows = [each.num_rows for each in self.ranges]
        return None if -1 in rows else sum(rows)

    @property
    def size_bytes(self) -> int:
        """Returns about how many bytes are read."""
        return sum(each.size_bytes for each in self.ranges)


_FIELDS = tuple(each.name for each in fields(UnitRange))
UNIT_COLUMNS = ("unit_index", *_FIELDS)


class UnitTable(Sequence[Unit]):
    """Units numbered from 0, of which each is made when it is asked for. Immutable."""

    def __init__(self, columns: Mapping[str, np.ndarray]) -> None:
        """Takes a row for each range, of the columns `UNIT_COLUMNS`, all of them int64.

        Raises:
            ValueError: The units are not in order, or numbers are left out.
        """
        self._columns = {name: columns[name] for name in UNIT_COLUMNS}
        indices = self._columns["unit_index"]
        starts = np.flatnonzero(np.diff(indices, prepend=-1))
        if not np.array_equal(indices[starts], np.arange(len(starts))):
            raise ValueError("the units are not numbered from 0, in order")
        self._offsets = np.append(starts, len(indices))

    @classmethod
    def of(cls, units: Iterable[Unit]) -> "UnitTable":
        """Returns the table of units, which are numbered from 0 in order and have ranges."""
        rows = [
            (unit.index, *(getattr(each, name) for name in _FIELDS))
            for unit in units
            for each in unit.ranges
        ]
        values = np.array(rows, np.int64).reshape(-1, len(UNIT_COLUMNS)).T
        return cls(dict(zip(UNIT_COLUMNS, np.ascontiguousarray(values), strict=True)))

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Returns a row for each range."""
        return self._columns

    @functools.cached_property
    def num_rows(self) -> int | None:
        """Returns the rows of all units, or None when only reading tells."""
        rows = self._columns["num_rows"]
        return None if np.any(rows == -1) else int(rows.sum())

    @functools.cached_property
    def size_bytes(self) -> int:
        """Returns about how many bytes all units read."""
        return int(self._columns["size_bytes"].sum())

    @override
    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Unit: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Unit, ...]: ...

    @override
    def __getitem__(self, index: int | slice) -> Unit | tuple[Unit, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        position = range(len(self))[index]
        return next(self._units(position, position + 1))

    @override
    def __iter__(self) -> Iterator[Unit]:
        for start in range(0, len(self), _BLOCK_UNITS):
            yield from self._units(start, min(start + _BLOCK_UNITS, len(self)))

    def _units(self, start: int, stop: int) -> Iterator[Unit]:
        offsets = self._offsets[start : stop + 1].tolist()
        first, end = offsets[0], offsets[-1]
        columns = [self._columns[name][first:end].tolist() for name in _FIELDS]
        ranges = [
            UnitRange(**dict(zip(_FIELDS, row, strict=True))) for row in zip(*columns, strict=True)
        ]
        for index in range(start, stop):
            own = slice(offsets[index - start] - first, offsets[index - start + 1] - first)
            yield Unit(index=index, ranges=tuple(ranges[own]))

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UnitTable):
            return NotImplemented
        pairs = ((self._columns[name], other.columns[name]) for name in UNIT_COLUMNS)
        return self is other or all(np.array_equal(one, two) for one, two in pairs)

    __hash__ = None  # type: ignore[assignment]  # as lists and arrays: it is compared by content

    @override
    def __repr__(self) -> str:
        return f"UnitTable({len(self)} units)"
