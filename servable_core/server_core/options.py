"""How a `ServerCore` follows, loads and unloads its models."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from servable_core.errors import InvalidArgumentError
from servable_core.lifecycle.servable_id import ServableId
from servable_core.managers.aspired_versions_manager import AspiredVersionsManagerOptions
from servable_core.policies.aspired_version_policy import AspiredVersionPolicy
from servable_core.policies.availability_preserving import AvailabilityPreservingPolicy
from servable_core.resources.resource_allocation import host_ram
from servable_core.runtime.retry import RetryOptions


def _do_nothing(_servable_id: ServableId) -> None:
    """Stands for a hook that nobody gave."""


def _initial_load_threads() -> int:
    return 4 * (os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerCoreOptions:
    """How a `ServerCore` follows, loads and unloads its models.

    Attributes:
        requires_all_models: Whether the constructor raises the first error; else the core serves
            what there is, and `statuses` tells of the rest.
        num_initial_load_threads: Versions loaded at a time until the constructor returns.
        num_load_threads: Versions loaded at a time from then on, while requests are served.
        num_unload_threads: Versions unloaded at a time.
        load_retry: How often and how fast a failed load is tried again.
        reload_retry: Likewise from the beginning, when all attempts have failed; None is the
            manager's default.
        load_timeout_secs: How long the constructor waits for the models; None is for ever.
        close_timeout_secs: How long `close` waits for open handles; None is for ever.
        total_ram_bytes: What all servables together may take; None sets no limit.
        aspired_version_policy: Order of loads and unloads within one model.
        pre_load_hook: Told of each load just before it, on the thread that loads.
        poll_interval_secs: Time between looks at the base paths; 0 looks once, None never by
            itself: then `poll` does.
        settle_secs: How long a new version must look the same before it is loaded.
        servable_versions_always_present: Never unload the last version of a model because its
            directory is gone.
    """

    requires_all_models: bool = True
    num_initial_load_threads: int = field(default_factory=_initial_load_threads)
    num_load_threads: int = 4
    num_unload_threads: int = 1
    load_retry: RetryOptions = field(default_factory=RetryOptions)
    reload_retry: RetryOptions | None = None
    load_timeout_secs: float | None = None
    close_timeout_secs: float | None = 60.0
    total_ram_bytes: int | None = None
    aspired_version_policy: AspiredVersionPolicy = field(
        default_factory=AvailabilityPreservingPolicy
    )
    pre_load_hook: Callable[[ServableId], None] = _do_nothing
    poll_interval_secs: float | None = 1.0
    settle_secs: float = 5.0
    servable_versions_always_present: bool = False

    def __post_init__(self) -> None:
        if self.total_ram_bytes is not None and self.total_ram_bytes < 1:
            raise InvalidArgumentError(
                f"total_ram_bytes must be 1 or more, or None, got {self.total_ram_bytes}"
            )

    def to_manager_options(self) -> AspiredVersionsManagerOptions:
        """Returns the manager's share, with the threads of the initial load."""
        defaults = AspiredVersionsManagerOptions()
        total = self.total_ram_bytes
        return AspiredVersionsManagerOptions(
            num_load_threads=self.num_initial_load_threads,
            num_unload_threads=self.num_unload_threads,
            load_retry=self.load_retry,
            reload_retry=self.reload_retry or defaults.reload_retry,
            total_resources=None if total is None else host_ram(total),
            pre_load_hook=self.pre_load_hook,
            close_timeout_secs=self.close_timeout_secs,
        )
