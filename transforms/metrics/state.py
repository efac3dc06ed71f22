"""What every state can do: be merged in any order, and become a table and back."""

from collections.abc import Iterable
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import pyarrow as pa

from servable_core.errors import DataLossError, InvalidArgumentError
from transforms.metrics.array_types import Integers
from transforms.metrics.key_layout import KeyLayout

SCHEMA_VERSION = 1
VERSION_KEY = "metrics_schema_version"
_T = TypeVar("_T")


class State(Protocol):
    """A summary of rows; an immutable value, so it may be shared freely.

    Merging is associative and commutative to the last bit, an empty state is its identity, and no
    result shares memory with an argument.
    """

    @classmethod
    def merge(cls, states: Iterable[Self]) -> Self:
        """Returns the state of the rows of all of `states`, which are at least one."""

    @property
    def nbytes(self) -> int:
        """Bytes that the state holds."""

    def to_table(self) -> pa.Table:
        """Returns the state as a table; equal states give equal tables."""

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Returns the state of which `table` was made."""


def freeze(*arrays: np.ndarray[Any, Any]) -> None:
    """Makes arrays read-only: states are shared."""
    for array in arrays:
        array.setflags(write=False)


def at_least_one(states: Iterable[_T]) -> list[_T]:
    """Returns the states as a list.

    Raises:
        InvalidArgumentError: There are none, so it is unknown what an empty one is like.
    """
    found = list(states)
    if not found:
        raise InvalidArgumentError("merge needs at least one state; begin with an empty one")
    return found


def only(values: Iterable[_T], what: str) -> _T:
    """Returns the one value that all states share.

    Raises:
        InvalidArgumentError: They differ; the states are of different evaluations.
    """
    first, *others = values
    for other in others:
        if other != first:
            raise InvalidArgumentError(
                f"states of one {what} only can be merged, got {first} and {other}; evaluate both with the same options"
            )
    return first


def keyed_table(
    layout: KeyLayout, keys: Integers, columns: dict[str, Any], described: dict[str, str]
) -> pa.Table:
    """Returns a table with a column for each coordinate, and `columns`."""
    coordinates = zip(layout.names, layout.unpack(keys), strict=True)
    table = pa.table({**dict(coordinates), **columns})
    metadata = {
        VERSION_KEY: str(SCHEMA_VERSION),
        "sizes": ",".join(map(str, layout.sizes)),
        **described,
    }
    return table.replace_schema_metadata(metadata)


def described(table: pa.Table, kind: str) -> dict[str, str]:
    """Returns what a table says of itself.

    Raises:
        DataLossError: It is no table of a state of this kind, or one of another schema version.
    """
    metadata = _metadata(table)
    version = metadata.get(VERSION_KEY)
    if version != str(SCHEMA_VERSION) or metadata.get("kind") != kind:
        raise DataLossError(
            f"expected a table of kind {kind!r}, schema version {SCHEMA_VERSION}, got kind {metadata.get('kind')!r}, version {version}; evaluate again with this release"
        )
    return metadata


def redescribed(table: pa.Table, said: dict[str, str]) -> pa.Table:
    """Returns the table with `said` added to what it says of itself."""
    return table.replace_schema_metadata({**_metadata(table), **said})


def _metadata(table: pa.Table) -> dict[str, str]:
    found = table.schema.metadata or {}
    return {key.decode(): value.decode() for key, value in found.items()}


def layout_of(table: pa.Table, metadata: dict[str, str]) -> KeyLayout:
    """Returns the layout of a table's coordinates, its first columns."""
    sizes = tuple(int(each) for each in metadata["sizes"].split(",") if each)
    return KeyLayout(names=tuple(table.column_names[: len(sizes) + 1]), sizes=sizes)


def keys_of(table: pa.Table, layout: KeyLayout) -> Integers:
    """Returns the keys of a table's rows."""
    return layout.pack(*(table[name].to_numpy() for name in layout.names))
