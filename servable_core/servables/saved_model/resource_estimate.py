"""How much memory a SavedModel will take, before it is loaded.

The estimate is 1.2 times the size of its files. Where that is off, the exporter says better in
`assets.extra/resource_estimate.json`, which a SavedModel may carry; the second number may be left
out:

    {"ram_in_bytes": 734003200, "transient_ram_in_bytes": 50000000}
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from servable_core.errors import InvalidArgumentError
from servable_core.runtime.file_system import FileInfo, FileSystem, join_path

OVERRIDE_FILE = "assets.extra/resource_estimate.json"
_RAM_KEY = "ram_in_bytes"
_TRANSIENT_KEY = "transient_ram_in_bytes"
_BYTES_PER_FILE_BYTE = 1.2  # as the model server


@dataclass(frozen=True, kw_only=True, slots=True)
class RamEstimate:
    """Bytes of the host's memory that a SavedModel takes.

    Attributes:
        loaded: Once it is there.
        transient: On top of that while it is loaded. TensorFlow itself needs next to none: it
            reads variables to where they stay.
    """

    loaded: int
    transient: int = 0

    @property
    def peak(self) -> int:
        """What it takes at most, while it is loaded."""
        return self.loaded + self.transient


def estimate_ram(files: Sequence[FileInfo]) -> RamEstimate:
    """Returns the memory that a SavedModel of these files will take."""
    size_bytes = sum(file.size_bytes for file in files)
    return RamEstimate(loaded=math.ceil(_BYTES_PER_FILE_BYTE * size_bytes))


def parse_override(content: bytes, place: str) -> RamEstimate:
    """Returns the memory that `OVERRIDE_FILE` states.

    Raises:
        InvalidArgumentError: If it states something else; names `place`.
    """
    try:
        stated = json.loads(content)
    except ValueError as error:
        raise InvalidArgumentError(f"{place} is no JSON: {error}") from error
    if not _is_estimate(stated):
        raise InvalidArgumentError(
            f'{place}: expected {{"{_RAM_KEY}": N}}, and perhaps "{_TRANSIENT_KEY}": N, got {stated!r}'
        )
    return RamEstimate(loaded=stated[_RAM_KEY], transient=stated.get(_TRANSIENT_KEY, 0))


def read_ram_estimate(path: str, file_system: FileSystem) -> RamEstimate:
    """Returns the memory that the version at `path` will take: as stated, or as estimated.

    Raises:
        InvalidArgumentError: If what is stated makes no sense.
    """
    files = file_system.list_files(path)
    override = join_path(path, OVERRIDE_FILE)
    if override not in {file.path for file in files}:
        return estimate_ram(files)
    with file_system.open(override) as stream:
        return parse_override(stream.read(), override)


def _is_estimate(stated: Any) -> bool:
    if not isinstance(stated, dict) or _RAM_KEY not in stated:
        return False
    # Not isinstance: a bool is an int, too.
    are_counts = all(type(each) is int and each >= 0 for each in stated.values())
    return are_counts and stated.keys() <= {_RAM_KEY, _TRANSIENT_KEY}
