"""How a `ServerCore` follows, loads and unloads its models."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from servable_core.errors import InvalidArgumentError
from servable_core.lifecycle.servable_id import ServableId
from servable_core.managers.aspired_versions_manager import AspiredVersionsManagerOptions
from servable_core.policies.aspired_version_policy import AspiredVersionPolicy
from servable_core.policies.availability_preserving import AvailabilityPreservingPolicy
from servable_core.resources.resource_allocation import ResourceAllocation, host_ram
from servable_core.runtime.retry import RetryOptions

_NUMBERS_OF_THREADS = ("num_initial_load_threads", "num_load_threads", "num_unload_threads")


def _do_nothing(_servable_id: ServableId) -> None:
    """Stands for a hook that nobody gave."""


def _initial_load_threads() -> int:
    return 4 * (os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerCoreOptions:
    """How a `ServerCore` follows, loads and unloads its models.

    Attributes:
        requires_all_models: Whether the constructor raises the first error, at once; else it waits
            until each version is available or has failed, the core serves what there is, and
            `statuses` tells of the rest.
        num_initial_load_threads: Versions loaded at a time until the constructor returns.
        num_load_threads: Versions loaded at a time from then on, while requests are served.
        num_unload_threads: Versions unloaded at a time.
        load_retry: How often and how fast a failed load is tried again.
        reload_retry: Likewise from the beginning, when all attempts have failed; None is the
            manager's default.
        load_timeout_secs: How long the constructor waits for the models; None is for ever.
        close_timeout_secs: How long `close` waits for open handles; None is for ever.
        total_ram_bytes: What all servables together may take of this machine's memory; None sets
            no limit. Short for a `total_resources` of `host_ram` alone.
        total_resources: Likewise, by device and instance, for instance of GPUs; bound. A model
            whose estimate names a device that is not in it is refused.
        aspired_version_policy: Order of loads and unloads within one model.
        policy_for: The order for the model of that name, instead of the one
            `aspired_version_policy`. Pure.
        pre_load_hook: Told of each load just before it, on the thread that loads.
        poll_interval_secs: Time between looks at the base paths; 0 looks once, None never by
            itself: then `poll` does, and whoever waits for models as soon as a new version of
            theirs may have settled.
        settle_secs: How long a new version must look the same before it is loaded.
        servable_versions_always_present: Never unload the last version of a model because its
            directory is gone.
        allows_labels_of_unavailable_versions: Whether a new label may point to a version that is
            not available; requests for it fail until it is. A label in use still moves only to a
            version that is available, lest its requests fail.
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
    total_resources: ResourceAllocation | None = None
    aspired_version_policy: AspiredVersionPolicy = field(
        default_factory=AvailabilityPreservingPolicy
    )
    policy_for: Callable[[str], AspiredVersionPolicy] | None = None
    pre_load_hook: Callable[[ServableId], None] = _do_nothing
    poll_interval_secs: float | None = 1.0
    settle_secs: float = 5.0
    servable_versions_always_present: bool = False
    allows_labels_of_unavailable_versions: bool = False

    def __post_init__(self) -> None:
        for name in _NUMBERS_OF_THREADS:
            num_threads = getattr(self, name)
            if num_threads < 0:
                raise InvalidArgumentError(f"{name} must be 0 or more, got {num_threads}")
        if self.total_ram_bytes is not None and self.total_ram_bytes < 1:
            raise InvalidArgumentError(
                f"total_ram_bytes must be 1 or more, or None, got {self.total_ram_bytes}"
            )
        if self.total_resources is not None:
            self._check_total_resources(self.total_resources)

    def policy_of(self, model_name: str) -> AspiredVersionPolicy:
        """Returns the order of loads and unloads of one model."""
        if self.policy_for is not None:
            return self.policy_for(model_name)
        return self.aspired_version_policy

    def to_manager_options(self) -> AspiredVersionsManagerOptions:
        """Returns the manager's share, with the threads of the initial load."""
        defaults = AspiredVersionsManagerOptions()
        return AspiredVersionsManagerOptions(
            num_load_threads=self.num_initial_load_threads,
            num_unload_threads=self.num_unload_threads,
            load_retry=self.load_retry,
            reload_retry=self.reload_retry or defaults.reload_retry,
            total_resources=self._total(),
            pre_load_hook=self.pre_load_hook,
            close_timeout_secs=self.close_timeout_secs,
        )

    def _total(self) -> ResourceAllocation | None:
        if self.total_ram_bytes is not None:
            return host_ram(self.total_ram_bytes)
        return self.total_resources

    def _check_total_resources(self, total: ResourceAllocation) -> None:
        if self.total_ram_bytes is not None:
            raise InvalidArgumentError(
                f"total_ram_bytes is {self.total_ram_bytes} and total_resources {total}: give one of them"
            )
        if not total.is_bound:
            raise InvalidArgumentError(
                f"total_resources must be bound, got {total}: give each resource an instance, from 0"
            )
