"""What a `ServerCore` would say of a model: by its own rules, but nothing is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass

from servable_core.config import ModelConfig
from servable_core.errors import ServableCoreError
from servable_core.lifecycle import ServableId
from servable_core.lifecycle.servable_state import ManagerState, ServableState
from servable_core.servables.platform import FindMissing
from servable_core.servables.platform_registry import PlatformRegistry
from servable_core.servables.saved_model.structure import read_signatures
from servable_core.servables.signature import SignatureSpec
from servable_core.server_core import ModelStatus
from servable_core.server_core.model_status import to_model_status
from servable_core.sources import StoragePathStatus, VersionDirectory, WatchedServable
from servable_core.sources.base_path_watch import ListingTime
from servable_core.sources.watched_servable import ServableWatch
from transforms.model_versions import list_versions
from transforms.storage import file_system_for

_SAVED_MODEL = "tensorflow"
_FIRST_LOOK = ListingTime(now=0, wall_time=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionStructure:
    """What can be known of a version without loading it.

    Attributes:
        directory: Where it lies.
        signatures: Its signatures by name; None if its platform has none.
    """

    directory: VersionDirectory
    signatures: Mapping[str, SignatureSpec] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSurvey:
    """How a model would be served.

    Attributes:
        status: As of a core that has just started; whatever is whole is available.
        present: All versions that have a directory, ascending.
        structures: The versions that are available.
    """

    status: ModelStatus
    present: tuple[int, ...]
    structures: Mapping[int, VersionStructure]


def survey_model(model: ModelConfig) -> ModelSurvey:
    """Looks at the version directories of a model.

    Raises:
        NotFoundError: The base path does not exist, or has no version. Whatever else is wrong is
            in the status.
    """
    directories = list_versions(model.base_path, f"base path {model.base_path}")
    source = _look(model, PlatformRegistry().find(model.platform).find_missing, directories)
    outcomes = {each: _try_read(model.platform, directories[each]) for each in source.aspired}
    states = {each: _to_state(model.name, each, outcomes[each]) for each in outcomes}
    return ModelSurvey(
        status=to_model_status(model, model.version_labels, source, states),
        present=tuple(directories),
        structures={
            version: outcome
            for version, outcome in outcomes.items()
            if isinstance(outcome, VersionStructure)
        },
    )


def _look(
    model: ModelConfig, find_missing: FindMissing, directories: Mapping[int, VersionDirectory]
) -> StoragePathStatus:
    """Returns what a source says after its first look, if it waits for no version to settle."""
    watched = WatchedServable(
        base_path=model.base_path, version_policy=model.versions, find_missing=find_missing
    )
    watch = ServableWatch(name=model.name, servable=watched)
    return watch.listed(directories, _FIRST_LOOK, 0, settle_secs=0, always_present=False).status


def _try_read(platform: str, directory: VersionDirectory) -> VersionStructure | ServableCoreError:
    if platform != _SAVED_MODEL:
        return VersionStructure(directory=directory, signatures=None)
    file_system = file_system_for(directory.path)
    try:
        signatures = read_signatures(directory.path, directory.files, file_system)
    except ServableCoreError as error:
        return error
    return VersionStructure(directory=directory, signatures=signatures)


def _to_state(
    name: str, version: int, outcome: VersionStructure | ServableCoreError
) -> ServableState:
    is_whole = isinstance(outcome, VersionStructure)
    return ServableState(
        servable_id=ServableId(name, version),
        manager_state=ManagerState.AVAILABLE if is_whole else ManagerState.END,
        error=outcome if isinstance(outcome, ServableCoreError) else None,
    )
