"""Brings a remote directory to this machine, for libraries that read local files only."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from servable_core.errors import DataLossError, InvalidArgumentError
from servable_core.runtime.file_system import FileInfo, FileSystem

_CHUNK_BYTES = 1 << 20


@contextmanager
def local_directory(
    path: str, file_system: FileSystem, files: Sequence[FileInfo] | None = None
) -> Iterator[str]:
    """Yields a local directory with the files below `path`: itself, or a copy that goes afterwards.

        with local_directory(path, file_system) as directory:
            return read_model(directory)

    Args:
        path: The directory, local or a URI.
        file_system: Lists and reads it.
        files: What to copy if it is remote; by default all that is listed now.

    Raises:
        DataLossError: If less or more arrives than was listed.
        InvalidArgumentError: If a file is not below `path`, for all its name says.
    """
    local_path = file_system.local_path(path)
    if local_path is not None:
        yield local_path
        return
    with tempfile.TemporaryDirectory(prefix="servable-") as directory:
        for info in file_system.list_files(path) if files is None else files:
            _copy(info, file_system, Path(directory) / _name_below(path, info.path))
        yield directory


def _name_below(path: str, file_path: str) -> PurePosixPath:
    """Returns the path of a file in its directory; nothing is to be written anywhere else."""
    # PurePosixPath folds what listings spell in another way, such as `//`.
    base, file = PurePosixPath(path), PurePosixPath(file_path)
    if not file.is_relative_to(base) or ".." in file.parts:
        raise InvalidArgumentError(
            f"{file_path} is not a file below {path}: give it a name without '..'"
        )
    return file.relative_to(base)


def _copy(info: FileInfo, file_system: FileSystem, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with file_system.open(info.path) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink, _CHUNK_BYTES)
    num_bytes = target.stat().st_size
    if num_bytes != info.size_bytes:
        raise DataLossError(
            f"{info.path} has {info.size_bytes} bytes, but {num_bytes} arrived: it is being overwritten, or the store failed; try again"
        )
