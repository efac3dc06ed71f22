"""What a `ServerCore` says of models when its loaders only read what a version is made of."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

from typing_extensions import override

from servable_core.config import ServerConfig
from servable_core.errors import DeadlineExceededError, FailedPreconditionError
from servable_core.lifecycle import Loader, ServableId, SimpleLoader
from servable_core.lifecycle.servable_state import ManagerState
from servable_core.runtime.clock import Clock
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


class StructurePlatforms(PlatformRegistry):
    """The platforms there are, but their loaders only read what a version is made of."""

    @override
    def find(self, name: str) -> Platform:
        def create_loader(
            servable_id: ServableId,  # noqa: ARG001 - callers may name it
            path: str,
            file_system: FileSystem,
        ) -> Loader[VersionStructure]:
            return _structure_loader(name, path, file_system)

        return replace(super().find(name), create_loader=create_loader)


def pinned_structures(name: str, paths: Mapping[int, str]) -> PinnedModels:
    """Returns versions of one SavedModel, of which only the structure is read."""
    return PinnedModels(
        {name: paths},
        lambda _servable_id, path: _structure_loader(_SAVED_MODEL, path, file_system_for(path)),
    )


def survey_models(
    models: ServerConfig | PinnedModels,
    *,
    file_system: FileSystem | None = None,
    clock: Clock | None = None,
) -> list[ModelSurvey]:
    """Returns what a server would say of each model, in their order; whatever is wrong is in it.

    Args:
        models: A configuration, or versions from `pinned_structures`.
        file_system: Where the base paths of a configuration are; by default, wherever Beam's file
            systems reach.
        clock: Times how long a store may take.
    """
    core = ServerCore(
        models,
        platforms=StructurePlatforms(),
        file_system=file_system or _AnyFileSystem(),
        options=ServerCoreOptions(
            requires_all_models=False,
            load_retry=_ONCE,
            reload_retry=_ONCE,
            load_timeout_secs=PATIENCE_SECS,
            close_timeout_secs=_CLOSE_PATIENCE_SECS,
            poll_interval_secs=0.0,
            settle_secs=0.0,
        ),
        clock=clock,
    )
    with _closing(core):
        return [_survey(core, status) for status in core.statuses()]


@contextlib.contextmanager
def _closing(core: ServerCore) -> Iterator[None]:
    try:
        yield
    finally:
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


def _structure_loader(
    platform: str, path: str, file_system: FileSystem
) -> Loader[VersionStructure]:
    return SimpleLoader(lambda: _read_structure(platform, path, file_system), release_memory=None)


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
