"""How managers load and unload."""

from collections.abc import Callable
from dataclasses import dataclass, field

from servable_core.errors import InvalidArgumentError
from servable_core.lifecycle.servable_id import ServableId
from servable_core.managers.loader_harness import is_worth_retrying
from servable_core.resources.resource_allocation import ResourceAllocation
from servable_core.runtime.retry import RetryOptions


def _do_nothing(_servable_id: ServableId) -> None:
    """Stands for a hook that nobody gave."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BasicManagerOptions:
    """How a manager loads and unloads.

    Attributes:
        num_load_threads: Loads at a time; 0 loads on the thread that steps.
        num_unload_threads: Unloads at a time; 0 unloads on the thread that steps.
        load_retry: How often and how fast a failed load, or estimate, is tried again.
        should_retry_load: Whether a failure may pass by itself.
        total_resources: What all servables together may use; bound. None sets no limit.
        pre_load_hook: Told of each load just before it, on the thread that loads; if it fails,
            the load has failed.
        has_manage_thread: Whether a thread steps; without one, the owner calls `step`.
        close_timeout_secs: How long `close` waits for handles and running loads; None is for ever.
    """

    num_load_threads: int = 0
    num_unload_threads: int = 0
    load_retry: RetryOptions = field(default_factory=RetryOptions)
    should_retry_load: Callable[[Exception], bool] = is_worth_retrying
    total_resources: ResourceAllocation | None = None
    pre_load_hook: Callable[[ServableId], None] = _do_nothing
    has_manage_thread: bool = True
    close_timeout_secs: float | None = 60.0

    def __post_init__(self) -> None:
        if self.num_load_threads < 0 or self.num_unload_threads < 0:
            raise InvalidArgumentError(
                "num_load_threads and num_unload_threads must be 0 or more, "
                f"got {self.num_load_threads} and {self.num_unload_threads}"
            )
