"""Whether a version directory has arrived in full: pure, from listings and times alone.

Nobody tells when a copy is finished, so a version counts as complete when no name in it is that of
a temporary file, its platform finds all the files that it needs, and it has come to rest.

To come to rest is to look the same, in names, sizes and times of change, for `settle_secs`. Times of
change are believed only of what was there when the base path was first listed: `cp -p`, rsync and
`gsutil cp -P` keep the old times of change, so a copy that starts later may look old in the middle.
Publish by renaming a finished directory, or a version waits for `settle_secs`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeAlias

from servable_core.runtime.file_system import FileInfo

FindMissing: TypeAlias = Callable[[Mapping[str, FileInfo]], str | None]
"""Takes the files of a version by their path in it; returns what it still lacks, or None."""

# Copying tools and writers use these; only unmistakable ones, since models bring files of their own.
_TEMPORARY_NAME = re.compile(r".*\.(tmp|temp|partial|filepart|gstmp)|\..+\.[A-Za-z0-9]{6}")
_TEMPORARY_DIRECTORY = re.compile(r".*_(tmp|temp|temporary)")


@dataclass(frozen=True, slots=True)
class Sighting:
    """How a version looked, and since when.

    Attributes:
        files: Everything below its directory.
        since_secs: Monotonic time at which it was first seen like this.
    """

    files: tuple[FileInfo, ...]
    since_secs: float


def accept_any(_files: Mapping[str, FileInfo]) -> str | None:
    """A `FindMissing` that misses nothing."""
    return None


def find_temporary_name(names: Iterable[str]) -> str | None:
    """Returns the first path that is one of a temporary file, or None.

    Those have a part like rsync's `.name.AbC123`, or one that ends in `.tmp`, `.temp`, `.partial`,
    `.filepart` or `.gstmp`, or are in a directory that ends in `_tmp`, `_temp` or `_temporary`.
    """
    return next((name for name in names if _is_temporary(name)), None)


def has_old_mtimes(files: Iterable[FileInfo], wall_time: float, settle_secs: float) -> bool:
    """Returns whether the store tells times of change and all are `settle_secs` ago or longer."""
    return all(0 < file.mtime_secs <= wall_time - settle_secs for file in files)


def _is_temporary(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(map(_TEMPORARY_NAME.fullmatch, parts)) or any(
        map(_TEMPORARY_DIRECTORY.fullmatch, parts[:-1])
    )
