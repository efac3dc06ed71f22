"""Whether a model has come up: pure."""

from dataclasses import dataclass

from servable_core.config.server_config import ModelConfig
from servable_core.lifecycle.servable_id import ServableId
from servable_core.managers.aspired_versions_manager import VersionOutcomes
from servable_core.sources.version_selection import select_present
from servable_core.sources.watched_servable import StoragePathStatus


@dataclass(frozen=True, slots=True)
class ModelOutcome:
    """What has become of a model that was to come up.

    Attributes:
        is_decided: Whether all its versions are available, or something is wrong.
        error: What is wrong.
    """

    is_decided: bool
    error: Exception | None = None


def find_outcome(
    model: ModelConfig, status: StoragePathStatus | None, versions: VersionOutcomes
) -> ModelOutcome:
    """Returns what has become of a model, given what its source and its manager know.

    It has come up when every version that it asks for is available; it has failed as soon as one
    is missing or broken. A version that has yet to come to rest leaves it undecided.
    """
    if status is None or not status.is_listed:
        return ModelOutcome(is_decided=False)
    servable_ids = wanted_ids(model, status)
    for error in map(versions.find_error, servable_ids):
        if error is not None:
            return ModelOutcome(is_decided=True, error=error)
    if status.error is not None:
        is_decided = not status.settling
        return ModelOutcome(is_decided, status.error if is_decided else None)
    return ModelOutcome(is_decided=all(map(versions.is_available, servable_ids)))


def wanted_ids(model: ModelConfig, status: StoragePathStatus) -> list[ServableId]:
    """Returns the versions that a model asks for, of those that its source aspires to.

    The source may aspire to more, which is kept until these are there.
    """
    return [ServableId(model.name, v) for v in select_present(model.versions, status.aspired)]
