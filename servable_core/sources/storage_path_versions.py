"""Finds version directories in a listing of what lies below a model's base path; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from servable_core.runtime.file_system import FileInfo, join_path

_MAX_VERSION = 2**63 - 1  # versions are int64 everywhere else


@dataclass(frozen=True, slots=True)
class VersionDirectory:
    """One version as it lies in storage.

    Attributes:
        path: The directory, `<base path>/<version>`, with its own spelling of the version.
        files: Everything below it, sorted by path.
    """

    path: str
    files: tuple[FileInfo, ...]


def storage_path_versions(base_path: str, files: Iterable[FileInfo]) -> dict[int, VersionDirectory]:
    """Groups files by the version directory they are in, lowest version first.

    A version directory is a first path component below `base_path` that is all digits. Files
    anywhere else are ignored. Of two spellings of a number (`1`, `001`) the shortest wins.

    Args:
        base_path: Local path or URI, as it was listed.
        files: Files below it, at any depth; from stores that know no directories too.
    """
    by_name: dict[str, list[FileInfo]] = {}
    for file in files:
        name = _version_name(base_path, file.path)
        if name is not None:
            by_name.setdefault(name, []).append(file)
    versions: dict[int, VersionDirectory] = {}
    for name in sorted(by_name, key=lambda name: (int(name), len(name))):
        directory = VersionDirectory(join_path(base_path, name), tuple(sorted(by_name[name])))
        versions.setdefault(int(name), directory)
    return versions


def _version_name(base_path: str, file_path: str) -> str | None:
    """Returns the name of the version directory that the file is in, if it is in one."""
    # PurePosixPath only serves to compare: it folds the `//` of a URI, but in both alike.
    base, path = PurePosixPath(base_path), PurePosixPath(file_path)
    if not path.is_relative_to(base):
        return None
    parts = path.relative_to(base).parts
    return parts[0] if len(parts) > 1 and _is_version(parts[0]) else None


def _is_version(name: str) -> bool:
    is_number = name.isascii() and name.isdecimal() and len(name) <= len(str(_MAX_VERSION))
    return is_number and int(name) <= _MAX_VERSION
