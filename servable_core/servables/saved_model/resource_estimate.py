"""How much memory a SavedModel will take, before it is loaded.

The estimate is 1.2 times the size of its files. Where that is off, the exporter says better in
`assets.extra/resource_estimate.json`, which a SavedModel may carry:

    {"ram_in_bytes": 734003200}
"""

import json
import math
from collections.abc import Sequence

from servable_core.errors import InvalidArgumentError
from servable_core.runtime.file_system import FileInfo, FileSystem, join_path

OVERRIDE_FILE = "assets.extra/resource_estimate.json"
_RAM_KEY = "ram_in_bytes"
_BYTES_PER_FILE_BYTE = 1.2  # as the model server


def estimate_ram_bytes(files: Sequence[FileInfo]) -> int:
    """Returns the memory that a SavedModel of these files will take."""
    return math.ceil(_BYTES_PER_FILE_BYTE * sum(file.size_bytes for file in files))


def parse_override(content: bytes, place: str) -> int:
    """Returns the memory that `OVERRIDE_FILE` states.

    Raises:
        InvalidArgumentError: If it states something else; names `place`.
    """
    try:
        stated = json.loads(content)
    except ValueError as error:
        raise InvalidArgumentError(f"{place} is no JSON: {error}") from error
    ram_bytes = stated.get(_RAM_KEY) if isinstance(stated, dict) and len(stated) == 1 else None
    if type(ram_bytes) is not int or ram_bytes < 0:  # a bool is an int, too
        raise InvalidArgumentError(f'{place}: expected {{"{_RAM_KEY}": N}}, got {stated!r}')
    return ram_bytes


def read_ram_bytes(path: str, file_system: FileSystem) -> int:
    """Returns the memory that the version at `path` will take: as stated, or as estimated.

    Raises:
        InvalidArgumentError: If what is stated makes no sense.
    """
    files = file_system.list_files(path)
    override = join_path(path, OVERRIDE_FILE)
    if override not in {file.path for file in files}:
        return estimate_ram_bytes(files)
    with file_system.open(override) as stream:
        return parse_override(stream.read(), override)
