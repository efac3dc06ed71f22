"""Loads pinned versions of SavedModels: copied to this machine if they are remote, then verified."""

import functools

from servable_core.lifecycle import Loader, ServableId, SimpleLoader
from servable_core.resources.resource_allocation import ResourceAllocation, host_ram
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.file_system import FileSystem
from servable_core.runtime.local_copy import local_directory
from servable_core.servables.saved_model.bundle import SavedModelBundle
from servable_core.servables.saved_model.devices import replicated_ram, resolve_devices
from servable_core.servables.saved_model.fingerprint import check_fingerprint, fingerprint_version
from servable_core.servables.saved_model.options import SavedModelOptions
from servable_core.servables.saved_model.resource_estimate import read_ram_estimate
from servable_core.servables.saved_model.structure import read_signatures
from servable_core.servables.saved_model.warmup import WarmupOptions, warm_up

_DEFAULT_OPTIONS = SavedModelOptions()
_DEFAULT_WARMUP = WarmupOptions()
_SYSTEM_CLOCK = SystemClock()


def create_saved_model_loader(
    servable_id: ServableId,
    path: str,
    file_system: FileSystem,
    expected_fingerprint: str | None,
    *,
    options: SavedModelOptions = _DEFAULT_OPTIONS,
    warmup: WarmupOptions = _DEFAULT_WARMUP,
    clock: Clock = _SYSTEM_CLOCK,
) -> Loader[SavedModelBundle]:
    """Returns a loader for the version directory at `path`; cheap, nothing is read yet.

    It counts as the memory that `resource_estimate` tells, for each replica on its device, its
    transient part only until it is loaded. All that is unloaded is free at once; see
    docs/concepts.md for when TensorFlow gives it back to the operating system.

    Args:
        servable_id: Name and version, for messages.
        path: The version directory, local or a URI.
        file_system: Lists and reads it.
        expected_fingerprint: What the version must still be; None accepts whatever is there.
        options: On which devices it is loaded, and whether it is compiled.
        warmup: What is run on each replica before the load is done; by default the requests that
            the version carries. A request that fails is a failure of the load.
        clock: Measures how long the load and the warm-up take.
    """
    estimate = functools.cache(lambda: read_ram_estimate(path, file_system))

    def loaded() -> ResourceAllocation:
        return replicated_ram(estimate().loaded, resolve_devices(options.devices))

    load = functools.partial(
        _load,
        servable_id,
        path,
        file_system,
        expected_fingerprint,
        options=options,
        warmup=warmup,
        clock=clock,
    )
    return SimpleLoader(
        load,
        estimate=lambda: loaded() + host_ram(estimate().transient),
        estimate_loaded=loaded,
    )


def _load(
    servable_id: ServableId,
    path: str,
    file_system: FileSystem,
    expected_fingerprint: str | None,
    *,
    options: SavedModelOptions,
    warmup: WarmupOptions,
    clock: Clock,
) -> SavedModelBundle:
    start = clock.now()
    files = file_system.list_files(path)
    if expected_fingerprint is not None:
        found = fingerprint_version(path, files, file_system)
        check_fingerprint(path, expected_fingerprint, found)
    signatures = read_signatures(path, files, file_system)
    with local_directory(path, file_system, files) as directory:
        bundle = SavedModelBundle.load(str(servable_id), directory, signatures, options)
        loaded = clock.now()
        for each in bundle.by_replica():
            warm_up(each, str(servable_id), path, directory, warmup)
        bundle.load_secs, bundle.warmup_secs = loaded - start, clock.now() - loaded
    return bundle
