"""Slices by the same columns, in the same sense, wherever they were asked for: a row is in one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from transforms.evaluation.slice_values import (
    NamedCodes,
    encode_buckets,
    encode_values,
    slice_column,
)
from transforms.evaluation.slices import NULL_VALUE, SliceSpec, bucket_names


@dataclass(frozen=True, slots=True)
class Dimension:
    """A column, whole or cut into buckets.

    Attributes:
        column: Its name.
        edges: Of the buckets; empty if the values count.
    """

    column: str
    edges: tuple[float, ...] = ()

    def encode(self, columns: pa.RecordBatch) -> NamedCodes:
        """Returns the values of rows, or the buckets they are in.

        Raises:
            InvalidArgumentError: The column is missing, or is of a type that does not do.
        """
        found = slice_column(columns, self.column)
        if self.edges:
            return encode_buckets(found, self.edges, self.column)
        return encode_values(found, self.column)


Dimensions = tuple[Dimension, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceGroup:
    """Slices by the same columns in the same sense.

    Attributes:
        dimensions: Sorted by column.
        specs: What was asked for.
    """

    dimensions: Dimensions
    specs: tuple[SliceSpec, ...]

    @property
    def needs_scan(self) -> bool:
        """Whether only the data tells which slices there are."""
        return any(each.needs_scan for each in self.specs)

    @property
    def name(self) -> str:
        """Its columns, for messages."""
        return ",".join(each.column for each in self.dimensions)

    def known_names(self, spec: SliceSpec, dimension: Dimension) -> tuple[str, ...] | None:
        """Returns the values that a spec wants of a column; None for all that the data has."""
        if dimension.edges:
            return (*bucket_names(dimension.edges), NULL_VALUE)
        return spec.values.get(dimension.column)

    def allowed_names(self, dimension: Dimension) -> tuple[str, ...] | None:
        """Returns the values of a column that any spec wants; None for all that the data has."""
        wanted = [self.known_names(each, dimension) for each in self.specs]
        if None in wanted:
            return None
        return tuple(dict.fromkeys(name for names in wanted for name in names or ()))


def slice_groups(specs: Iterable[SliceSpec]) -> tuple[SliceGroup, ...]:
    """Returns the groups of specs, in the order of their first ones."""
    found: dict[Dimensions, list[SliceSpec]] = {}
    for spec in specs:
        dimensions = [Dimension(name, spec.buckets.get(name, ())) for name in sorted(spec.columns)]
        found.setdefault(tuple(dimensions), []).append(spec)
    return tuple(
        SliceGroup(dimensions=dimensions, specs=tuple(same)) for dimensions, same in found.items()
    )


def encode_dimensions(
    groups: Sequence[SliceGroup], columns: pa.RecordBatch
) -> Mapping[Dimension, NamedCodes]:
    """Returns the values of rows, each dimension once however many groups it is in."""
    dimensions = dict.fromkeys(each for group in groups for each in group.dimensions)
    return {each: each.encode(columns) for each in dimensions}
