"""A source that aspires to a fixed set of versions: what a batch job has pinned."""

from collections.abc import Mapping

from typing_extensions import override

from servable_core.errors import FailedPreconditionError
from servable_core.lifecycle.servable_data import ServableData
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.source import Source, Target


class StaticStoragePathSource(Source[str]):
    """Emits once, on the thread that connects it, and never again.

    Args:
        models: For each servable name the versions aspired and where each one lies.
    """

    def __init__(self, models: Mapping[str, Mapping[int, str]]) -> None:
        self._versions = {
            name: [
                ServableData.of(ServableId(name, version), path)
                for version, path in sorted(paths.items())
            ]
            for name, paths in models.items()
        }
        self._is_connected = False

    @property
    def servable_ids(self) -> list[ServableId]:
        """Every version this source aspires to."""
        return [data.servable_id for versions in self._versions.values() for data in versions]

    @override
    def set_target(self, target: Target[str]) -> None:
        if self._is_connected:
            raise FailedPreconditionError("the source has a target already")
        self._is_connected = True
        for servable_name, versions in self._versions.items():
            target.set_aspired_versions(servable_name, versions)
