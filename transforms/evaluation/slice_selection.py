"""Which values and combinations of values become slices: caps, pins, and what is too rare."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.results import SliceKey
from transforms.evaluation.slice_counts import SliceCounts
from transforms.evaluation.slice_groups import Dimension, Dimensions, SliceGroup
from transforms.evaluation.slices import NULL_VALUE, OTHER_VALUE, bucket_names

ROWS = "rows"


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceLimits:
    """How many slices there may be.

    Attributes:
        max_values_per_column: The most frequent values of a column have slices.
        max_slices: Of all together.
        min_rows: Values rarer than that have no crosses.
    """

    max_values_per_column: int = 100
    max_slices: int = 10_000
    min_rows: int = 30

    def __post_init__(self) -> None:
        for name in ("max_values_per_column", "max_slices", "min_rows"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(f"{name} must be 1 or more, got {getattr(self, name)}")


def select_slices(
    groups: Sequence[SliceGroup], counts: SliceCounts | None, limits: SliceLimits
) -> list[list[SliceKey]]:
    """Returns the keys of the slices of each group, sorted by value.

    Raises:
        InvalidArgumentError: They would be too many, or `counts` are of other groups.
    """
    tables = {} if counts is None else counts.by_dimensions()
    scanned = [each for each in groups if each.needs_scan]
    missing = [each.name for each in scanned if each.dimensions not in tables]
    if missing:
        raise InvalidArgumentError(
            f"slices by {missing[0]!r} need a count of the values in the data"
        )
    values = _frequent_values(scanned, tables, _named(groups), limits)
    found = [
        _combinations(each, tables[each.dimensions], values) if each.needs_scan else None
        for each in groups
    ]
    sizes = [
        (group.name, _num_products(group) if table is None else table.num_rows)
        for group, table in zip(groups, found, strict=True)
    ]
    _check_number(sizes, limits.max_slices)
    return [
        _sorted_keys(group, _products(group) if table is None else _rows(table))
        for group, table in zip(groups, found, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Values:
    """Values of a column that have slices: of its own, and in crosses."""

    alone: pa.StringArray
    crossed: pa.StringArray


def _frequent_values(
    groups: Sequence[SliceGroup],
    tables: Mapping[Dimensions, pa.Table],
    named: Mapping[str, Sequence[str]],
    limits: SliceLimits,
) -> dict[Dimension, _Values]:
    """Returns the values to keep of each column that is sliced by whatever values it has.

    They are the same in all groups, so `__other__` means the same.
    """
    found: dict[Dimension, _Values] = {}
    for group in groups:
        for each in group.dimensions:
            if group.allowed_names(each) is None and each not in found:
                table, always = tables[group.dimensions], [NULL_VALUE, *named.get(each.column, ())]
                found[each] = _most_frequent(each.column, table, always, limits)
    return found


def _named(groups: Sequence[SliceGroup]) -> dict[str, list[str]]:
    """Returns the values of each column that any spec names."""
    found: dict[str, list[str]] = {}
    for spec in (spec for group in groups for spec in group.specs):
        for column, names in spec.values.items():
            found.setdefault(column, []).extend(names)
    return found


def _most_frequent(
    column: str, table: pa.Table, named: Sequence[str], limits: SliceLimits
) -> _Values:
    total = table.group_by([column], use_threads=False).aggregate([(ROWS, "sum")])
    always = pa.array(list(dict.fromkeys(named)), pa.string())
    others = total.filter(pc.invert(pc.is_in(total[column], always)))
    in_order = others.sort_by([(f"{ROWS}_sum", "descending"), (column, "ascending")])
    most = in_order.slice(0, limits.max_values_per_column)
    common = most.filter(pc.greater_equal(most[f"{ROWS}_sum"], limits.min_rows))
    return _Values(*(pa.concat_arrays([always, *each[column].chunks]) for each in (most, common)))


def _combinations(
    group: SliceGroup, table: pa.Table, values: Mapping[Dimension, _Values]
) -> pa.Table:
    """Returns the combinations that a spec of the group wants and the data has."""
    names = [each.column for each in group.dimensions]
    columns = [_kept(table[each.column], group, values.get(each)) for each in group.dimensions]
    folded = pa.table(columns, names=names).group_by(names, use_threads=False).aggregate([])
    wanted = np.zeros(folded.num_rows, dtype=bool)
    for spec in group.specs:
        is_of_spec = np.ones(folded.num_rows, dtype=bool)
        for name, pinned in spec.values.items():
            is_of_spec &= pc.is_in(folded[name], pa.array(pinned, pa.string())).to_numpy()
        wanted |= is_of_spec
    return folded.filter(pa.array(wanted))


def _kept(column: pa.ChunkedArray, group: SliceGroup, values: _Values | None) -> pa.ChunkedArray:
    if values is None:
        return column
    kept = values.alone if len(group.dimensions) == 1 else values.crossed
    return pc.if_else(pc.is_in(column, kept), column, OTHER_VALUE)


def _known(group: SliceGroup) -> list[list[tuple[str, ...]]]:
    """Returns the values of each column that each spec names."""
    return [
        [group.known_names(spec, each) or () for each in group.dimensions] for spec in group.specs
    ]


def _num_products(group: SliceGroup) -> int:
    return sum(math.prod(map(len, names)) for names in _known(group))


def _products(group: SliceGroup) -> list[tuple[str, ...]]:
    return [values for names in _known(group) for values in itertools.product(*names)]


def _rows(table: pa.Table) -> list[tuple[str, ...]]:
    return list(zip(*(each.to_pylist() for each in table.columns), strict=True))


def _sorted_keys(group: SliceGroup, combinations: Sequence[tuple[str, ...]]) -> list[SliceKey]:
    places = [
        {name: place for place, name in enumerate(bucket_names(each.edges))} if each.edges else {}
        for each in group.dimensions
    ]
    columns = [each.column for each in group.dimensions]

    def order(values: tuple[str, ...]) -> list[tuple[int, float, str]]:
        return [_order(value, known) for value, known in zip(values, places, strict=True)]

    unique = sorted(dict.fromkeys(combinations), key=order)
    return [tuple(zip(columns, values, strict=True)) for values in unique]


def _order(value: str, bucket_places: Mapping[str, int]) -> tuple[int, float, str]:
    """Returns what sorts buckets and numbers as such, then texts, then others and nulls."""
    if value in bucket_places:
        return (0, bucket_places[value], value)
    last = (OTHER_VALUE, NULL_VALUE)
    if value in last:
        return (2 + last.index(value), 0.0, value)
    try:
        number = float(value)
    except ValueError:
        return (1, 0.0, value)
    return (0, number, value) if math.isfinite(number) else (1, 0.0, value)


def _check_number(sizes: Sequence[tuple[str, int]], max_slices: int) -> None:
    total = 1 + sum(size for _, size in sizes)
    if total <= max_slices:
        return
    largest = sorted(sizes, key=lambda each: -each[1])[:5]
    listed = ", ".join(f"{name} has {size:,}" for name, size in largest)
    raise InvalidArgumentError(
        f"there would be {total:,} slices, and max_slices is {max_slices:,}: {listed}; leave some out, name values as country=DE|FR, lower max_values_per_column, or raise max_slices"
    )
