"""What a kind of servable needs to be served: how to load it, and when a version is complete."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from servable_core.errors import InvalidArgumentError
from servable_core.lifecycle.loader import Loader
from servable_core.lifecycle.servable_id import ServableId
from servable_core.runtime.file_system import FileInfo, FileSystem


class CreateLoader(Protocol):
    """Makes loaders; thread-safe."""

    def __call__(self, servable_id: ServableId, path: str, file_system: FileSystem) -> Loader[Any]:
        """Returns the loader of one version; cheap, reads nothing yet.

        Args:
            servable_id: Name and version.
            path: The version directory, local or a URI.
            file_system: Lists and reads it.
        """


def _miss_nothing(_files: Mapping[str, FileInfo]) -> str | None:
    return None


class FindMissing(Protocol):
    """Tells whether a version directory is complete; pure."""

    def __call__(self, files: Mapping[str, FileInfo], /) -> str | None:
        """Returns what is missing, or None, given the files by their path in the directory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """One kind of servable, under the name that `model_platform` gives it; thread-safe.

        HASHMAP = Platform(
            name="hashmap",
            create_loader=lambda servable_id, path, file_system: SimpleLoader(
                lambda: read_map(path, file_system)
            ),
        )

    Attributes:
        name: Name in config files.
        create_loader: Makes the loader of a version.
        find_missing: What a version that is being copied still lacks; besides it must hold no
            temporary files and have come to rest.
    """

    name: str
    create_loader: CreateLoader
    find_missing: FindMissing = _miss_nothing

    def __post_init__(self) -> None:
        if not self.name:
            raise InvalidArgumentError("name of a platform must not be empty")
