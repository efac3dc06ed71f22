"""The slices of an evaluation, numbered once for all workers.

    specs = (parse_slice("country"), parse_slice("country,device"), parse_slice("age=[18,30]"))
    counts = SliceCounts.merge(scan_unit(unit, plan, specs) for unit in plan.units)
    catalog = build_catalog(specs, counts)          # counts=None will do if not needs_scan(specs)
    ids = catalog.slice_ids(batch)                  # int64 [rows, 1 + groups of slices]
    table = catalog.to_table(); SliceCatalog.from_table(table)

Slice 0 is all rows. Of the slices of the same columns a row is in one: it has the values in the
slice's key. Null and NaN are the value `__null__`. Values beyond the most frequent ones, unless they
are named by a spec, are the value `__other__`; in crosses also those too rare to make a slice that is
scored. Thus slices that named no values are a partition of the rows.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa

from servable_core.errors import DataLossError
from transforms.evaluation.results import ALL_ROWS, SliceKey
from transforms.evaluation.slice_counts import SliceCounts
from transforms.evaluation.slice_groups import SliceGroup, encode_dimensions, slice_groups
from transforms.evaluation.slice_lookup import SliceLookup
from transforms.evaluation.slice_selection import SliceLimits, select_slices
from transforms.evaluation.slices import SliceSpec
from transforms.metrics import NO_SLICE
from transforms.metrics.array_types import Integers

_SPECS_KEY = b"slice_specs"
_SCHEMA = pa.schema(
    [
        ("slice_id", pa.int64()),
        ("key", pa.list_(pa.struct([("column", pa.string()), ("value", pa.string())]))),
        ("groups", pa.list_(pa.int64())),
    ]
)


def needs_scan(specs: Sequence[SliceSpec]) -> bool:
    """Whether only the data tells which slices there are."""
    return any(each.needs_scan for each in specs)


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceCatalog:
    """All slices, and which of them a row is in. Immutable; can be pickled.

    Attributes:
        specs: What was asked for.
        keys: Of the slices, by id; slice 0 is all rows.
        members: For each group of `specs`, the ids of its slices.
    """

    specs: tuple[SliceSpec, ...]
    keys: tuple[SliceKey, ...]
    members: tuple[tuple[int, ...], ...]
    _groups: tuple[SliceGroup, ...] = field(init=False, repr=False, compare=False)
    _lookups: tuple[SliceLookup, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_groups", slice_groups(self.specs))
        object.__setattr__(self, "_lookups", self._make_lookups())

    def _make_lookups(self) -> tuple[SliceLookup, ...]:
        """Returns a look-up for each group; the first of two with a slice in common has its rows."""
        owned: set[int] = set()
        lookups = []
        for group, ids in zip(self._groups, self.members, strict=True):
            own = [NO_SLICE if each in owned else each for each in ids]
            keys = [self.keys[each] for each in ids]
            lookups.append(SliceLookup.of_keys(group.dimensions, keys, own))
            owned.update(ids)
        return tuple(lookups)

    @property
    def num_slices(self) -> int:
        """Slices, that of all rows included."""
        return len(self.keys)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that rows are sliced by, sorted."""
        return tuple(sorted({name for spec in self.specs for name in spec.columns}))

    def slice_ids(self, columns: pa.RecordBatch) -> Integers:
        """Returns the slices of each row, [rows, 1 + groups]; `NO_SLICE` fills up.

        A row is in a slice at most once. Rows whose combination of values was not counted are in
        no slice of that group.

        Raises:
            InvalidArgumentError: A column is missing, or is of a type that does not do.
        """
        encoded = encode_dimensions(self._groups, columns)
        found = np.zeros((1 + len(self._lookups), columns.num_rows), dtype=np.int64)
        for place, lookup in enumerate(self._lookups, start=1):
            found[place] = lookup.slice_ids(encoded)
        return found.T  # the metrics go through it column by column

    def to_table(self) -> pa.Table:
        """Returns the catalog as a table; equal catalogs give equal tables."""
        groups: list[list[int]] = [[] for _ in self.keys]
        for group, ids in enumerate(self.members):
            for each in ids:
                groups[each].append(group)
        keys = [[{"column": column, "value": value} for column, value in key] for key in self.keys]
        specs = json.dumps([asdict(each) for each in self.specs])
        return pa.table(
            [list(range(self.num_slices)), keys, groups],
            schema=_SCHEMA.with_metadata({_SPECS_KEY: specs}),
        )

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Returns the catalog of which `table` was made.

        Raises:
            DataLossError: It was made of none.
        """
        try:
            specs = tuple(map(_spec, json.loads(table.schema.metadata[_SPECS_KEY])))
            rows = table.to_pylist()
            members: list[list[int]] = [[] for _ in slice_groups(specs)]
            for row in rows:
                for group in row["groups"]:
                    members[group].append(row["slice_id"])
            keys = [tuple((each["column"], each["value"]) for each in row["key"]) for row in rows]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataLossError(f"this table holds no slices: {error!r}") from error
        return cls(specs=specs, keys=tuple(keys), members=tuple(map(tuple, members)))


def build_catalog(
    specs: Sequence[SliceSpec],
    counts: SliceCounts | None = None,
    *,
    max_values_per_column: int = 100,
    max_slices: int = 10_000,
    min_rows: int = 30,
) -> SliceCatalog:
    """Returns the slices that specs and data make; the same however the data was counted.

    Args:
        specs: What was asked for.
        counts: Of the data; None will do if `needs_scan` says so.
        max_values_per_column: The most frequent values have slices, and those that specs name.
        max_slices: More are an error.
        min_rows: Slices of fewer rows are not scored, so crosses do without values rarer than that.

    Raises:
        InvalidArgumentError: There would be too many slices; the message says of which columns.
    """
    limits = SliceLimits(
        max_values_per_column=max_values_per_column, max_slices=max_slices, min_rows=min_rows
    )
    of_groups = select_slices(slice_groups(specs), counts, limits)
    keys = dict.fromkeys([ALL_ROWS, *(key for keys in of_groups for key in keys)])
    ids = {key: slice_id for slice_id, key in enumerate(keys)}
    return SliceCatalog(
        specs=tuple(specs),
        keys=tuple(keys),
        members=tuple(tuple(ids[key] for key in keys) for keys in of_groups),
    )


def _spec(document: dict[str, Any]) -> SliceSpec:
    return SliceSpec(
        columns=tuple(document["columns"]),
        values={name: tuple(each) for name, each in document["values"].items()},
        buckets={name: tuple(each) for name, each in document["buckets"].items()},
    )
