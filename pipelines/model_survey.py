"""What a `ServerCore` says of models when its loaders only read what a version is made of."""

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, BinaryIO

from typing_extensions import override

from servable_core.config import ServerConfig
from servable_core.errors import CancelledError, DeadlineExceededError, FailedPreconditionError
from servable_core.lifecycle import Loader, ServableId, SimpleLoader
from servable_core.lifecycle.servable_state import ManagerState
from servable_core.runtime.clock import Clock
from servable_core.runtime.executor import start_thread
from servable_core.runtime.file_system import (
    DirectoryProbe,
    FileInfo,
    FileSystem,
    directory_exists,
)
from servable_core.runtime.retry import RetryOptions
from servable_core.servables.platform import Platform
from servable_core.servables.platform_registry import PlatformRegistry
from servable_core.servables.saved_model.structure import read_signatures
from servable_core.servables.signature import SignatureSpec
from servable_core.server_core import (
    ModelSpec,
    ModelStatus,
    PinnedModels,
    ServerCore,
    ServerCoreOptions,
)
from transforms.storage import file_system_for

PATIENCE_SECS = 300.0  # a store that has not answered by then must not keep the rest back
_CLOSE_PATIENCE_SECS = 5.0
_SAVED_MODEL = "tensorflow"
_ONCE = RetryOptions(max_num_retries=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionStructure:
    """What can be known of a version without loading it; the servable of the loaders here.

    Attributes:
        path: Where it lies.
        num_files: How many files it has.
        signatures: Its signatures by name; None if its platform has none.
    """

    path: str
    num_files: int
    signatures: Mapping[str, SignatureSpec] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSurvey:
    """How a model would be served.

    Attributes:
        status: As of a core that has just started; whatever could be read is available.
        structures: What was read, by version.
        label_errors: Why a server would refuse a label.
    """

    status: ModelStatus
    structures: Mapping[int, VersionStructure]
    label_errors: Mapping[str, Exception]


def survey_models(
    config: ServerConfig, *, file_system: FileSystem | None = None, clock: Clock | None = None
) -> list[ModelSurvey]:
    """Returns what a server would say of each model, in their order; whatever is wrong is in it.

    Args:
        config: The models.
        file_system: Where their base paths are; by default, wherever Beam's file systems reach.
        clock: Times how long a store may take.
    """
    reads = _Reads()
    return _surveys(
        config,
        reads,
        platforms=_StructurePlatforms(reads),
        file_system=file_system or _AnyFileSystem(),
        clock=clock,
    )


def survey_versions(name: str, paths: Mapping[int, str]) -> ModelSurvey:
    """Returns what a job would say of these versions of one SavedModel; whatever is wrong is in it."""
    reads = _Reads()
    pinned = PinnedModels(
        {name: paths},
        lambda _servable_id, path: reads.loader(_SAVED_MODEL, path, file_system_for(path)),
    )
    (survey,) = _surveys(
        pinned,
        reads,
        platforms=PlatformRegistry(),
        file_system=_AnyFileSystem(),
        clock=None,
    )
    return survey


class _Reads:
    """Reads versions on threads of their own, which are left behind if their store hangs.

    A core's threads are those of a pool, for which Python waits at its end.
    """

    def __init__(self) -> None:
        self._end: Future[None] = Future()

    def loader(self, platform: str, path: str, file_system: FileSystem) -> Loader[VersionStructure]:
        return SimpleLoader(partial(self._read, platform, path, file_system), release_memory=None)

    def give_up(self) -> None:
        """Ends the loads of whatever is still being read; called by one thread, more than once."""
        if not self._end.done():
            self._end.set_result(None)

    def _read(self, platform: str, path: str, file_system: FileSystem) -> VersionStructure:
        reading: Future[VersionStructure] = Future()
        read = partial(_read_structure, platform, path, file_system)
        start_thread(_settle, reading, read, name="structure-read")
        ends: list[Future[Any]] = [reading, self._end]
        wait(ends, return_when=FIRST_COMPLETED)
        if not reading.done():
            raise CancelledError(f"{path} is not waited for any more: its store does not answer")
        return reading.result()


def _settle(reading: "Future[VersionStructure]", read: Callable[[], VersionStructure]) -> None:
    try:
        reading.set_result(read())
    except BaseException as error:  # noqa: BLE001 - the future carries it to the one who asks
        reading.set_exception(error)


class _StructurePlatforms(PlatformRegistry):
    """The platforms there are, but their loaders only read what a version is made of."""

    def __init__(self, reads: _Reads) -> None:
        super().__init__()
        self._reads = reads

    @override
    def find(self, name: str) -> Platform:
        def create_loader(
            servable_id: ServableId,  # noqa: ARG001 - callers may name it
            path: str,
            file_system: FileSystem,
        ) -> Loader[VersionStructure]:
            return self._reads.loader(name, path, file_system)

        return replace(super().find(name), create_loader=create_loader)


def _surveys(
    models: ServerConfig | PinnedModels,
    reads: _Reads,
    *,
    platforms: PlatformRegistry,
    file_system: FileSystem,
    clock: Clock | None,
) -> list[ModelSurvey]:
    options = ServerCoreOptions(
        requires_all_models=False,
        load_retry=_ONCE,
        reload_retry=_ONCE,
        load_timeout_secs=PATIENCE_SECS,
        close_timeout_secs=_CLOSE_PATIENCE_SECS,
        poll_interval_secs=0.0,
        settle_secs=0.0,
    )
    with contextlib.ExitStack() as closing:
        closing.callback(reads.give_up)  # also where the core does not come to be: interrupted, say
        core = ServerCore(
            models, platforms=platforms, file_system=file_system, options=options, clock=clock
        )
        closing.callback(_close, core)
        closing.callback(reads.give_up)  # first, for the core waits for its loads
        return [_survey(core, status) for status in core.statuses()]


def _close(core: ServerCore) -> None:
    with contextlib.suppress(DeadlineExceededError):  # a store hangs, and is left behind
        core.close()


def _survey(core: ServerCore, status: ModelStatus) -> ModelSurvey:
    available = [v.version for v in status.versions if v.state is ManagerState.AVAILABLE]
    errors = {label: _label_error(core, status.name, label) for label in status.version_labels}
    return ModelSurvey(
        status=status,
        structures={version: _structure(core, status.name, version) for version in available},
        label_errors={label: error for label, error in errors.items() if error is not None},
    )


def _structure(core: ServerCore, name: str, version: int) -> VersionStructure:
    with core.get_servable_handle(ModelSpec(name, version), VersionStructure) as handle:
        return handle.servable


def _label_error(core: ServerCore, name: str, label: str) -> Exception | None:
    try:
        core.check_label(name, label)
    except FailedPreconditionError as error:
        return error
    return None


def _read_structure(platform: str, path: str, file_system: FileSystem) -> VersionStructure:
    files = file_system.list_files(path)
    has_signatures = platform == _SAVED_MODEL
    return VersionStructure(
        path=path,
        num_files=len(files),
        signatures=read_signatures(path, files, file_system) if has_signatures else None,
    )


class _AnyFileSystem(FileSystem, DirectoryProbe):
    """For each path the file system that it lies in: the models of a server may be anywhere."""

    @override
    def list_files(self, directory: str) -> list[FileInfo]:
        return file_system_for(directory).list_files(directory)

    @override
    def open(self, path: str) -> BinaryIO:
        return file_system_for(path).open(path)

    @override
    def local_path(self, path: str) -> str | None:
        return file_system_for(path).local_path(path)

    @override
    def is_directory(self, path: str) -> bool:
        return directory_exists(file_system_for(path), path)
