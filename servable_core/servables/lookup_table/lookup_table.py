"""A table of rows by key."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from servable_core.errors import InvalidArgumentError
from servable_core.servables.lookup_table.key_index import KeyIndex


class LookupTable:
    """Columns of values, looked up by key; immutable and thread-safe.

        values, found = table.lookup(np.array([7, 42]))
        embeddings = values["embedding"]  # zeros in the rows where found is False

    Args:
        keys: One key for each row, integers or strings; each comes once.
        columns: Values by column name, one row for each key; may be memory-mapped.

    Raises:
        InvalidArgumentError: If a key comes twice, or numbers of rows differ.
    """

    def __init__(self, keys: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        self._index = KeyIndex(keys)
        for name, column in columns.items():
            if column.ndim < 1 or len(column) != len(keys):
                raise InvalidArgumentError(
                    f"column {name!r} has the shape {column.shape}, expected one row for each of {len(keys)} keys"
                )
        self._columns = MappingProxyType({name: _read_only(columns[name]) for name in columns})

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """All values by column name, read-only, in the order of the rows."""
        return self._columns

    @property
    def has_text_keys(self) -> bool:
        """Whether keys are strings; integers otherwise."""
        return self._index.is_text

    def __len__(self) -> int:
        return len(self._index)

    def lookup(self, keys: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Returns the values of each key, and whether it was found.

        Args:
            keys: An array of any shape, of integers or of strings and bytes as the table's keys are.

        Returns:
            A new array for each column, of the shape of `keys` followed by that of a value; zeros,
            or empty bytes, in place of missing keys. And an array of booleans.

        Raises:
            InvalidArgumentError: If the keys are not of the table's type.
        """
        rows, found = self._index.find(keys)
        return {name: _take(column, rows, found) for name, column in self._columns.items()}, found

    def __repr__(self) -> str:
        return f"LookupTable({len(self)} rows, columns {', '.join(self._columns)})"


def _take(column: np.ndarray, rows: np.ndarray, found: np.ndarray) -> np.ndarray:
    fill = b"" if column.dtype == np.object_ else 0
    values = np.full(rows.shape + column.shape[1:], fill, column.dtype)
    values[found] = column[rows[found]]
    return values


def _read_only(column: np.ndarray) -> np.ndarray:
    view = column.view()
    view.flags.writeable = False
    return view
