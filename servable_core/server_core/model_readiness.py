"""Waits until models have come up, and checks what their labels may point to."""

from collections.abc import Callable, Collection, Iterable

from servable_core.config.server_config import ServerConfig
from servable_core.errors import DeadlineExceededError
from servable_core.lifecycle.servable_id import ServableId
from servable_core.managers.aspired_versions_manager import AspiredVersionsManager, VersionOutcomes
from servable_core.runtime.clock import Clock
from servable_core.server_core.model_feed import ModelFeed
from servable_core.server_core.model_outcome import ModelOutcome, find_outcome, wanted_ids
from servable_core.server_core.version_labels import check_label


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

        def are_up(versions: VersionOutcomes) -> bool:
            outcomes = self._outcomes(config, names, versions)
            for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error
            return all(outcome.is_decided for outcome in outcomes)

        self._wait(are_up, names, deadline)

    def await_decisions(
        self, config: ServerConfig, names: Collection[str], timeout_secs: float | None
    ) -> bool:
        """Waits until these models have come up or failed; returns whether they have in time."""
        return self._manager.wait_until(
            lambda versions: all(
                each.is_decided for each in self._outcomes(config, names, versions)
            ),
            timeout_secs,
        )

    def await_calm(self, names: Collection[str], deadline: float | None) -> None:
        """Waits until what the manager was told last of these models is in force.

        Otherwise a removal that is still on its way would be lost, and an old failure with it.

        Raises:
            DeadlineExceededError: After `deadline`.
        """
        self._wait(lambda versions: all(map(versions.is_in_force, names)), names, deadline)

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

    def _outcomes(
        self, config: ServerConfig, names: Collection[str], versions: VersionOutcomes
    ) -> list[ModelOutcome]:
        statuses = self._feed.statuses()
        models = [model for model in config.models if model.name in names]
        return [find_outcome(model, statuses[model.name], versions) for model in models]

    def _wait(
        self,
        predicate: Callable[[VersionOutcomes], bool],
        names: Collection[str],
        deadline: float | None,
    ) -> None:
        left_secs = None if deadline is None else max(0.0, deadline - self._clock.now())
        if not self._manager.wait_until(predicate, left_secs):
            raise DeadlineExceededError(
                f"not available in the time allowed: {self._describe(names)}"
            )
