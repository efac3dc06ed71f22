"""Puts a prefix before storage paths: where the same models are mounted somewhere else."""

from servable_core.lifecycle.source_adapter import UnarySourceAdapter
from servable_core.runtime.file_system import join_path


class PrefixStoragePathSourceAdapter(UnarySourceAdapter[str, str]):
    """Joins `prefix` and each path with one slash; an empty prefix changes nothing. Thread-safe.

    Args:
        prefix: Local directory or URI.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__(
            lambda _, path: join_path(prefix, path.lstrip("/")) if prefix else path,
        )
