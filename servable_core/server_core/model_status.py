"""How models and their versions are doing, put together from all who know: pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from servable_core.config.server_config import ModelConfig
from servable_core.lifecycle.servable_state import ManagerState, ServableState
from servable_core.sources.watched_servable import StoragePathStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionStatus:
    """How one version is doing; no promise about now.

    Attributes:
        version: Its number.
        state: How far it has come; None if it is not loaded because it is not complete yet.
        error: Why it failed.
        pending: What it still lacks, where `state` is None.
        labels: The names that requests may use for it.
    """

    version: int
    state: ManagerState | None = None
    error: Exception | None = None
    pending: str | None = None
    labels: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.version} (failed: {self.error})"
        state = "not known" if self.state is None else self.state.name.lower()
        return f"{self.version} ({self.pending or state})"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelStatus:
    """How one model is doing; no promise about now.

    Attributes:
        name: Its name.
        base_path: Where its versions are looked for.
        platform: What kind of servable it is.
        versions: Those found or loaded, and those with a label; highest first. One that was
            unloaded is gone from here.
        present: All that have a directory below the base path, wanted or not; ascending.
        error: What is wrong: with its base path, or with the versions where none is available.
    """

    name: str
    base_path: str
    platform: str
    versions: tuple[VersionStatus, ...] = ()
    present: tuple[int, ...] = ()
    error: Exception | None = None
    version_labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_available(self) -> bool:
        """Whether requests can be answered."""
        return any(version.state is ManagerState.AVAILABLE for version in self.versions)

    def __str__(self) -> str:
        versions = ", ".join(f"{self.name}/{version}" for version in self.versions)
        is_told = self.error in [None, *(version.error for version in self.versions)]
        error = "" if is_told else f": {self.error}"
        return f"{versions or f'{self.name} (no version)'}{error}"


def to_model_status(
    model: ModelConfig,
    labels: Mapping[str, int],
    source: StoragePathStatus,
    states: Mapping[int, ServableState],
) -> ModelStatus:
    """Returns the status of one model.

    Args:
        model: How it is configured.
        labels: Its labels in force.
        source: What its source knows.
        states: The state of each of its versions that the manager has.
    """
    numbers = sorted({*states, *source.pending, *labels.values()}, reverse=True)
    versions = tuple(_version_status(number, labels, source, states) for number in numbers)
    is_available = any(version.state is ManagerState.AVAILABLE for version in versions)
    errors = [version.error for version in versions if version.error is not None]
    return ModelStatus(
        name=model.name,
        base_path=source.base_path,
        platform=model.platform,
        versions=versions,
        present=source.present,
        error=source.error or (errors[0] if errors and not is_available else None),
        version_labels=labels,
    )


def _version_status(
    number: int,
    labels: Mapping[str, int],
    source: StoragePathStatus,
    states: Mapping[int, ServableState],
) -> VersionStatus:
    state = states.get(number)
    return VersionStatus(
        version=number,
        state=None if state is None else state.manager_state,
        error=None if state is None else state.error,
        pending=source.pending.get(number) if state is None else None,
        labels=tuple(sorted(label for label, version in labels.items() if version == number)),
    )
