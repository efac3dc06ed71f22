"""Loads lookup tables from version directories."""

from servable_core.errors import InvalidArgumentError
from servable_core.lifecycle.loader import Loader, SimpleLoader
from servable_core.lifecycle.servable_id import ServableId
from servable_core.runtime.file_system import FileSystem
from servable_core.servables.lookup_table.lookup_table import LookupTable
from servable_core.servables.lookup_table.table_files import (
    KEY_COLUMN,
    find_missing,
    read_columns,
)
from servable_core.servables.platform import Platform


def create_lookup_table_loader(
    servable_id: ServableId, path: str, file_system: FileSystem
) -> Loader[LookupTable]:
    """Returns a loader for the version directory at `path`; cheap, nothing is read yet."""
    return SimpleLoader(lambda: _load(servable_id, path, file_system))


def _load(servable_id: ServableId, path: str, file_system: FileSystem) -> LookupTable:
    try:
        columns = read_columns(path, file_system)
        return LookupTable(columns.pop(KEY_COLUMN), columns)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"lookup table {servable_id} at {path}: {error}") from error


PLATFORM = Platform(
    name="lookup_table", create_loader=create_lookup_table_loader, find_missing=find_missing
)
