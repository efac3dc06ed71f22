"""Which slices of the rows are wanted: columns, crosses, named values, buckets of numbers.

    parse_slice("country")            a slice for each country
    parse_slice("country,device")     a cross: a slice for each pair that occurs
    parse_slice("country=DE|FR")      these countries alone; needs no scan of the data
    parse_slice("age=[18,30,65]")     (-inf, 18), [18, 30), [30, 65), [65, inf); needs none either
    parse_slice("country=DE,age=[18,30]")

`slice_catalog` tells which slices there are, and which of them a row is in.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from servable_core.errors import InvalidArgumentError

NULL_VALUE = "__null__"
OTHER_VALUE = "__other__"

_SYNTAX = "write columns as country, country=DE|FR or age=[18,30,65], with commas between them"
# A column, then nothing, a list of edges, or values up to the next comma.
_PART = re.compile(r"([^=,\[\]]+)(?:=(?:\[([^\]]*)\]|([^,\[\]]*)))?(?:,|$)")
_FIELDS = ("columns", "values", "buckets")


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceSpec:
    """Slices by some columns. Where all slices come together, columns are sorted by name.

    Attributes:
        columns: One, or several for a cross.
        values: For columns whose values are named: these alone.
        buckets: For columns of numbers that are cut: the edges, increasing.
    """

    columns: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        place = f"slice {','.join(self.columns)!r}"
        if not self.columns or not all(self.columns):
            raise InvalidArgumentError(f"{place}: a column has no name; {_SYNTAX}")
        twice = [name for name in self.columns if self.columns.count(name) > 1]
        both = [name for name in self.values if name in self.buckets]
        unknown = [name for name in (*self.values, *self.buckets) if name not in self.columns]
        for names, what in (
            (twice, "is named twice"),
            (both, "has both values and buckets"),
            (unknown, "has values or buckets, but is not among its columns"),
        ):
            if names:
                raise InvalidArgumentError(f"{place}: column {names[0]!r} {what}; {_SYNTAX}")
        for name, values in self.values.items():
            if not values or len(set(values)) < len(values):
                raise InvalidArgumentError(
                    f"{place}: {name!r} needs values, each once, got {list(values)}"
                )
        for name, edges in self.buckets.items():
            _check_edges(place, name, edges)

    @property
    def needs_scan(self) -> bool:
        """Whether only the data tells which slices there are."""
        return any(name not in self.values and name not in self.buckets for name in self.columns)

    def __str__(self) -> str:
        return ",".join(self._part(name) for name in self.columns)

    def _part(self, name: str) -> str:
        if name in self.values:
            return f"{name}={'|'.join(self.values[name])}"
        if name in self.buckets:
            return f"{name}=[{','.join(map(number_name, self.buckets[name]))}]"
        return name


def _check_edges(place: str, name: str, edges: Sequence[float]) -> None:
    is_finite = bool(edges) and all(map(math.isfinite, edges))
    if not is_finite or not all(low < high for low, high in pairwise(edges)):
        raise InvalidArgumentError(
            f"{place}: the edges of the buckets of {name!r} must be numbers that increase, got {list(edges)}"
        )


def parse_slice(text: str) -> SliceSpec:
    """Returns the slices that `--slice=TEXT` asks for.

    Raises:
        InvalidArgumentError: It has another form; the message shows the form.
    """
    values: dict[str, tuple[str, ...]] = {}
    buckets: dict[str, tuple[float, ...]] = {}
    columns: list[str] = []
    place = 0
    while place < len(text) or not columns or text.endswith(","):
        part = _PART.match(text, place)
        if part is None or place == len(text):
            raise InvalidArgumentError(f"--slice={text}: {_SYNTAX}")
        name, edges, named = part[1].strip(), part[2], part[3]
        columns.append(name)
        if edges is not None:
            buckets[name] = _numbers(f"--slice={text}", name, edges.split(","))
        elif named is not None:
            values[name] = tuple(each.strip() for each in named.split("|"))
        place = part.end()
    return SliceSpec(columns=tuple(columns), values=values, buckets=buckets)


def parse_slices_section(entries: Any) -> tuple[SliceSpec, ...]:
    """Returns the slices of the section `slices:` of a configuration file.

    Args:
        entries: A list, or None. An entry is a text as `parse_slice` takes it, or a mapping with
            `columns`, and where wanted `values` and `buckets`, each by column.

    Raises:
        InvalidArgumentError: An entry has another form, or there are two for the same slices.
    """
    if entries is None:
        return ()
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise InvalidArgumentError(f"slices: must be a list, got {entries!r}; {_SYNTAX}")
    return tuple(
        parse_slice(each) if isinstance(each, str) else _parse_mapping(each) for each in entries
    )


def _parse_mapping(entry: Any) -> SliceSpec:
    if not isinstance(entry, Mapping) or "columns" not in entry or set(entry) - set(_FIELDS):
        raise InvalidArgumentError(
            f"slices: an entry must be a text, or have columns and perhaps values and buckets, got {entry!r}"
        )
    values, buckets = (_by_column(name, entry.get(name)) for name in _FIELDS[1:])
    return SliceSpec(
        columns=_texts(entry["columns"]),
        values={name: _texts(each) for name, each in values.items()},
        buckets={name: _numbers("slices", name, _listed(each)) for name, each in buckets.items()},
    )


def _by_column(name: str, found: Any) -> Mapping[str, Any]:
    if not isinstance(found, Mapping | None):
        raise InvalidArgumentError(
            f"slices: {name} must name columns, as {{age: [18, 30]}}, got {found!r}"
        )
    return found or {}


def _listed(found: Any) -> list[Any]:
    return list(found) if isinstance(found, list | tuple) else [found]


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(value_name(each) for each in _listed(found))


def value_name(value: Any) -> str:
    """Returns what a value of YAML is called as a value of a slice: true, 1.5, DE."""
    if value is None:
        return NULL_VALUE
    if isinstance(value, bool):
        return str(value).lower()
    return number_name(value) if isinstance(value, float) else str(value)


def _numbers(place: str, name: str, texts: Sequence[Any]) -> tuple[float, ...]:
    try:
        return tuple(float(each) for each in texts)
    except (TypeError, ValueError):
        raise InvalidArgumentError(
            f"{place}: the edges of the buckets of {name!r} must be numbers, got {list(texts)}"
        ) from None


def number_name(number: float) -> str:
    """Returns a number as briefly as it can be told from others: 18, 0.5, 1e+20."""
    is_short = math.isfinite(number) and number == int(number) and abs(number) < 1e15
    return str(int(number)) if is_short else repr(number)


def bucket_names(edges: Sequence[float]) -> tuple[str, ...]:
    """Returns the names of the buckets between edges, and of the two outside of them."""
    names = list(map(number_name, edges))
    inner = [f"[{low}, {high})" for low, high in pairwise(names)]
    return (f"(-inf, {names[0]})", *inner, f"[{names[-1]}, inf)")
