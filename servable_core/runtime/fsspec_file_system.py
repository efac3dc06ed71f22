"""Any store that fsspec reaches, as a `FileSystem`; fsspec is imported when one is asked for."""

import importlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, BinaryIO

from typing_extensions import override

from servable_core.errors import FailedPreconditionError, InvalidArgumentError
from servable_core.runtime.file_system import DirectoryProbe, FileInfo, FileSystem, join_path

# Stores name the time of the last change differently; the first one that is there counts.
_TIME_KEYS = ("mtime", "LastModified", "last_modified", "updated", "created")


class FsspecFileSystem(FileSystem, DirectoryProbe):
    """Files of one fsspec file system; as thread-safe as that is, which is as a rule.

        file_system = FsspecFileSystem.for_uri("s3://bucket/models", anon=True)

    Listings are always fresh: what fsspec has cached is dropped first.

    Args:
        file_system: An `fsspec.AbstractFileSystem`.
    """

    def __init__(self, file_system: Any) -> None:
        self._file_system = file_system

    @classmethod
    def for_uri(cls, uri: str, **storage_options: Any) -> "FsspecFileSystem":
        """Returns the file system that `uri` lies in.

        Raises:
            FailedPreconditionError: If fsspec, or what it needs for this store, is not installed.
            InvalidArgumentError: If fsspec does not know the scheme.
        """
        try:
            fsspec = importlib.import_module("fsspec.core")
            return cls(fsspec.url_to_fs(uri, **storage_options)[0])
        except ImportError as error:
            raise FailedPreconditionError(
                f"{uri} needs a package that is not installed: {error}"
            ) from error
        except ValueError as error:
            raise InvalidArgumentError(f"{uri} cannot be reached: {error}") from error

    @override
    def list_files(self, directory: str) -> list[FileInfo]:
        self._file_system.invalidate_cache()
        base = self._strip(directory)
        found: Mapping[str, Mapping[str, Any]] = self._file_system.find(base, detail=True)
        return sorted(
            FileInfo(
                # As the caller spells the directory: fsspec drops schemes.
                path=join_path(directory, name.removeprefix(base).lstrip("/")),
                size_bytes=int(info.get("size") or 0),
                mtime_secs=_mtime_secs(info),
            )
            for name, info in found.items()
            if info.get("type") == "file"
        )

    @override
    def open(self, path: str) -> BinaryIO:
        stream: BinaryIO = self._file_system.open(self._strip(path), "rb")
        return stream

    @override
    def local_path(self, path: str) -> str | None:
        protocol = self._file_system.protocol
        is_local = "file" in ((protocol,) if isinstance(protocol, str) else protocol)
        return self._strip(path) if is_local else None

    @override
    def is_directory(self, path: str) -> bool:
        return bool(self._file_system.isdir(self._strip(path)))

    def _strip(self, path: str) -> str:
        """Returns the path without its scheme."""
        stripped: str = self._file_system._strip_protocol(path)  # noqa: SLF001 - there is no other way
        return stripped


def _mtime_secs(info: Mapping[str, Any]) -> float:
    value = next((info[key] for key in _TIME_KEYS if info.get(key) is not None), None)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.timestamp()
    return float(value) if isinstance(value, int | float) else 0.0
