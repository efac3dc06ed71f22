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
        is_decided: Whether nothing of it is on its way any more: each version is available, or has
            failed, or is missing.
        error: What is wrong, as soon as that is known, be the rest decided or not.
    """

    is_decided: bool
    error: Exception | None = None


def find_outcome(
    model: ModelConfig, status: StoragePathStatus | None, versions: VersionOutcomes
) -> ModelOutcome:
    """Returns what has become of a model, given what its source and its manager know.

    A version that loads, or has yet to come to rest, leaves it undecided. One that has failed is
    decided until it is tried again, for it stays as it is for a while.
    """
    if status is None or not status.is_listed:
        return ModelOutcome(is_decided=False)
    servable_ids = wanted_ids(model, status)
    # Asked once: a version may fail between two questions.
    errors = {each: versions.find_error(each) for each in servable_ids}
    is_pending = status.error is not None and bool(status.settling)
    known = [*errors.values(), None if is_pending else status.error]
    return ModelOutcome(
        is_decided=not is_pending
        and all(errors[each] is not None or versions.is_available(each) for each in servable_ids),
        error=next((error for error in known if error is not None), None),
    )


def wanted_ids(model: ModelConfig, status: StoragePathStatus) -> list[ServableId]:
    """Returns the versions that a model asks for, of those that its source aspires to.

    The source may aspire to more, which is kept until these are there.
    """
    return [ServableId(model.name, v) for v in select_present(model.versions, status.aspired)]
