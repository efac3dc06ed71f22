"""What tells a manager which versions to load: the seam between pinned and followed models."""

import contextlib
from collections.abc import Mapping
from typing import Any, Protocol

from servable_core.config.server_config import ServerConfig
from servable_core.lifecycle.loader import Loader
from servable_core.lifecycle.source import Target
from servable_core.sources.watched_servable import StoragePathStatus


class ModelFeed(Protocol):
    """A source with all that lies between it and a manager. Implementations are thread-safe."""

    @property
    def config(self) -> ServerConfig:
        """The models fed at present."""

    def connect(self, target: Target[Loader[Any]], closing: contextlib.ExitStack) -> None:
        """Starts telling `target`; enters into `closing` what ends that."""

    def update(self, config: ServerConfig) -> None:
        """Feeds these models from now on.

        Raises:
            FailedPreconditionError: If its models are pinned.
        """

    def poll(self) -> None:
        """Looks for versions now."""

    @property
    def next_poll_secs(self) -> float | None:
        """When whoever waits for models has to call `poll`; None if the feed polls by itself.

        That is when a version may have come to rest, in monotonic seconds; None if none has to.
        """

    def status(self, model_name: str) -> StoragePathStatus | None:
        """Returns what is known of one model, None if it is not fed; never waits."""

    def statuses(self) -> Mapping[str, StoragePathStatus]:
        """Returns what is known of each model; never waits."""
