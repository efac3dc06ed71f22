"""Names for versions, and when a name may point where: pure.

A label is given to a version that can be obtained, and to no other, unless the options allow it
for labels that are not in use. So that it can be given in the
same configuration that brings the version up, that is asked when all loads of the configuration are
done. A label that stays as it is is never questioned, even when its version has gone since:
requests for it fail then, and `statuses` shows it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeAlias

from servable_core.config.server_config import ServerConfig
from servable_core.errors import FailedPreconditionError, InvalidArgumentError
from servable_core.lifecycle.servable_id import ServableId

Labels: TypeAlias = Mapping[str, Mapping[str, int]]
"""For each model its labels and their versions."""


def labels_of(config: ServerConfig) -> Labels:
    """Returns the labels that a configuration gives."""
    return {model.name: dict(model.version_labels) for model in config.models}


def assigned_labels(
    old: Labels, new: Labels, changed_models: Collection[str] = ()
) -> Iterator[tuple[str, ServableId]]:
    """Yields each label that is new or points elsewhere, and all those of `changed_models`."""
    for name, labels in new.items():
        former = {} if name in changed_models else old.get(name, {})
        for label, version in labels.items():
            if former.get(label) != version:
                yield label, ServableId(name, version)


def moved_labels(old: Labels, new: Labels) -> Iterator[tuple[str, ServableId]]:
    """Yields each label that is in use and points elsewhere now."""
    for label, servable_id in assigned_labels(old, new):
        if label in old.get(servable_id.name, {}):
            yield label, servable_id


def check_label(
    label: str, servable_id: ServableId, can_serve: Callable[[ServableId], bool]
) -> None:
    """Checks that a label may be given to a version.

    Raises:
        FailedPreconditionError: If the version cannot be obtained.
    """
    if not can_serve(servable_id):
        raise FailedPreconditionError(
            f"label {label!r} cannot be given to version {servable_id.version} of model {servable_id.name!r}, which is not available; load it first, by the model's version policy"
        )


def find_version(labels: Labels, model_name: str, label: str) -> int:
    """Returns the version that `label` points to.

    Raises:
        InvalidArgumentError: If the model has no such label; names those it has.
    """
    of_model = labels.get(model_name, {})
    if label not in of_model:
        known = ", ".join(map(repr, sorted(of_model))) or "none"
        raise InvalidArgumentError(
            f"model {model_name!r} has no version label {label!r}; its labels: {known}"
        )
    return of_model[label]
