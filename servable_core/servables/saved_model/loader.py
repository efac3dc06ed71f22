"""Loads pinned versions of SavedModels: copied to this machine if they are remote, then verified."""

import functools

from servable_core.lifecycle import Loader, ServableId, SimpleLoader
from servable_core.resources.resource_allocation import host_ram
from servable_core.runtime.file_system import FileSystem
from servable_core.runtime.local_copy import local_directory
from servable_core.servables.saved_model.bundle import SavedModelBundle
from servable_core.servables.saved_model.fingerprint import check_fingerprint, fingerprint_version
from servable_core.servables.saved_model.resource_estimate import read_ram_estimate
from servable_core.servables.saved_model.structure import read_signatures


def create_saved_model_loader(
    servable_id: ServableId, path: str, file_system: FileSystem, expected_fingerprint: str | None
) -> Loader[SavedModelBundle]:
    """Returns a loader for the version directory at `path`; cheap, nothing is read yet.

    It counts as the memory that `resource_estimate` tells, its transient part only until it is
    loaded. All that is unloaded is free at once; see docs/concepts.md for when TensorFlow gives it
    back to the operating system.

    Args:
        servable_id: Name and version, for messages.
        path: The version directory, local or a URI.
        file_system: Lists and reads it.
        expected_fingerprint: What the version must still be; None accepts whatever is there.
    """
    estimate = functools.cache(lambda: read_ram_estimate(path, file_system))
    return SimpleLoader(
        lambda: _load(servable_id, path, file_system, expected_fingerprint),
        estimate=lambda: host_ram(estimate().peak),
        estimate_loaded=lambda: host_ram(estimate().loaded),
    )


def _load(
    servable_id: ServableId, path: str, file_system: FileSystem, expected_fingerprint: str | None
) -> SavedModelBundle:
    files = file_system.list_files(path)
    if expected_fingerprint is not None:
        found = fingerprint_version(path, files, file_system)
        check_fingerprint(path, expected_fingerprint, found)
    signatures = read_signatures(path, files, file_system)
    with local_directory(path, file_system, files) as directory:
        return SavedModelBundle.load(str(servable_id), directory, signatures)
