"""Waits until models have come up, and checks what their labels may point to."""

from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias

from servable_core.config.server_config import ModelConfig, ServerConfig
from servable_core.errors import DeadlineExceededError
from servable_core.lifecycle.servable_id import ServableId
from servable_core.managers.aspired_versions_manager import AspiredVersionsManager, VersionOutcomes
from servable_core.runtime.clock import Clock
from servable_core.server_core.model_feed import ModelFeed
from servable_core.server_core.model_outcome import find_outcome, wanted_ids
from servable_core.server_core.version_labels import check_label

_Predicate: TypeAlias = Callable[[str, VersionOutcomes], bool]


class ModelReadiness:
    """Compares what a feed aspires to with what a manager has loaded; thread-safe.

    Args:
        feed: What is aspired.
        manager: What is loaded.
        describe: Returns how models are doing, in words, for messages.
        clock: Times the waits.
    """

    def __init__(
        self,
        feed: ModelFeed,
        manager: AspiredVersionsManager,
        describe: Callable[[Collection[str]], str],
        clock: Clock,
    ) -> None:
        self._feed = feed
        self._manager = manager
        self._describe = describe
        self._clock = clock

    def deadline(self, timeout_secs: float | None) -> float | None:
        """Returns the time at which `timeout_secs` are over, for the waits below."""
        return None if timeout_secs is None else self._clock.now() + timeout_secs

    def await_models(
        self, config: ServerConfig, names: Collection[str], deadline: float | None
    ) -> None:
        """Waits until these models have all their versions.

        Raises:
            Exception: What is wrong with the first of them, as soon as it is known.
            DeadlineExceededError: After `deadline`.
        """

        def is_up(name: str, versions: VersionOutcomes) -> bool:
            outcome = find_outcome(models[name], self._feed.status(name), versions)
            if outcome.error is not None:
                raise outcome.error
            return outcome.is_decided

        models = _models_in_order(config, names)
        self._wait(models, is_up, deadline)

    def await_decisions(
        self, config: ServerConfig, names: Collection[str], deadline: float | None
    ) -> None:
        """Waits until nothing of these models is on its way any more, or until `deadline`."""

        def is_decided(name: str, versions: VersionOutcomes) -> bool:
            return find_outcome(models[name], self._feed.status(name), versions).is_decided

        models = _models_in_order(config, names)
        self._has_come(models, is_decided, deadline)

    def await_calm(self, names: Collection[str], deadline: float | None) -> None:
        """Waits until what the manager was told last of these models is in force.

        Otherwise a removal that is still on its way would be lost, and an old failure with it.

        Raises:
            DeadlineExceededError: After `deadline`.
        """
        self._wait(names, lambda name, versions: versions.is_in_force(name), deadline)

    def check_labels(self, config: ServerConfig, labels: Iterable[tuple[str, ServableId]]) -> None:
        """Checks that labels may be given.

        Raises:
            FailedPreconditionError: If a version is not wanted, or not available.
        """
        statuses = self._feed.statuses()
        # A version that is not wanted any more is on its way out, even if it still serves.
        can_serve = set(self._manager.list_available_servable_ids()) & {
            servable_id
            for model in config.models
            if model.name in statuses
            for servable_id in wanted_ids(model, statuses[model.name])
        }
        for label, servable_id in labels:
            check_label(label, servable_id, can_serve.__contains__)

    def _wait(self, names: Collection[str], predicate: _Predicate, deadline: float | None) -> None:
        if not self._has_come(names, predicate, deadline):
            raise DeadlineExceededError(
                f"not available in the time allowed: {self._describe(names)}"
            )

    def _has_come(
        self, names: Collection[str], predicate: _Predicate, deadline: float | None
    ) -> bool:
        """Waits, and polls where nobody else does; returns whether it came before `deadline`."""
        while True:
            times = [secs for secs in (deadline, self._feed.next_poll_secs) if secs is not None]
            left_secs = max(0.0, min(times) - self._clock.now()) if times else None
            if self._manager.wait_until(names, predicate, left_secs):
                return True
            if deadline is not None and deadline <= self._clock.now():
                return False
            self._feed.poll()


def _models_in_order(config: ServerConfig, names: Collection[str]) -> dict[str, ModelConfig]:
    return {model.name: model for model in config.models if model.name in names}
