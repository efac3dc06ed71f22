"""Models in, a running source, adapter and manager out: what DoFns and servers share."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from servable_core.errors import DeadlineExceededError
from servable_core.lifecycle.loader import Loader
from servable_core.lifecycle.servable_handle import ServableHandle
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_request import ServableRequest
from servable_core.lifecycle.source import connect
from servable_core.lifecycle.source_adapter import UnarySourceAdapter
from servable_core.managers.aspired_versions_manager import (
    AspiredVersionsManager,
    AspiredVersionsManagerOptions,
)
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.retry import RetryOptions
from servable_core.sources.static_source import StaticStoragePathSource

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerCoreOptions:
    """How a `ServerCore` loads and unloads.

    Attributes:
        num_load_threads: Versions loaded at a time.
        num_unload_threads: Versions unloaded at a time.
        load_retry: How often and how fast a failed load is tried again.
        load_timeout_secs: How long the constructor waits for all versions; None is for ever.
        close_timeout_secs: How long `close` waits for open handles; None is for ever.
    """

    num_load_threads: int = 4
    num_unload_threads: int = 1
    load_retry: RetryOptions = field(default_factory=RetryOptions)
    load_timeout_secs: float | None = None
    close_timeout_secs: float | None = 60.0


class ServerCore:
    """A set of pinned model versions, all of them loaded; thread-safe.

    The constructor returns when every version is available, so requests never have to wait.

        with ServerCore({"ranker": {3: "/models/ranker/3"}}, create_loader) as core:
            with core.get_servable_handle(ServableRequest.latest("ranker"), Ranker) as handle:
                handle.servable.rank(...)

    Args:
        models: For each model name its versions and where each one lies.
        create_loader: Makes the loader of one version from its path; cheap, does not load.
        options: See `ServerCoreOptions`.
        clock: Times back-off and time-outs.

    Raises:
        Exception: The first load error, after whatever was loaded has been unloaded again.
        DeadlineExceededError: If loading takes longer than the options allow.
    """

    def __init__(
        self,
        models: Mapping[str, Mapping[int, str]],
        create_loader: Callable[[ServableId, str], Loader[Any]],
        *,
        options: ServerCoreOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        options = options or ServerCoreOptions()
        source = StaticStoragePathSource(models)
        self._manager = AspiredVersionsManager(
            options=_to_manager_options(options), clock=clock or SystemClock()
        )
        # Left in reverse order: the source is detached first, the manager closed last.
        self._closing = contextlib.ExitStack()
        self._closing.enter_context(self._manager)
        try:
            adapter = UnarySourceAdapter[str, Loader[Any]](create_loader)
            self._closing.enter_context(connect(adapter, self._manager))
            self._closing.enter_context(connect(source, adapter))
            self._manager.wait_until_available(source.servable_ids, options.load_timeout_secs)
        except BaseException:
            # A load that hangs must not hide the error that matters.
            with contextlib.suppress(DeadlineExceededError):
                self.close()
            raise

    def get_servable_handle(
        self, request: ServableRequest, servable_type: type[T]
    ) -> ServableHandle[T]:
        """Returns a handle of the version asked for; close it soon.

        Raises:
            NotFoundError: If it is not one of the models, or the core is closed.
            InvalidArgumentError: If it is not a `servable_type`.
        """
        return self._manager.get_servable_handle(request, servable_type)

    def list_available_servable_ids(self) -> list[ServableId]:
        """Returns the ids of all versions that can be obtained, sorted."""
        return self._manager.list_available_servable_ids()

    def close(self) -> None:
        """Unloads everything, after the last handle of each; further calls do nothing.

        Raises:
            DeadlineExceededError: If handles are still open after the time allowed.
        """
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _to_manager_options(options: ServerCoreOptions) -> AspiredVersionsManagerOptions:
    return AspiredVersionsManagerOptions(
        num_load_threads=options.num_load_threads,
        num_unload_threads=options.num_unload_threads,
        load_retry=options.load_retry,
        close_timeout_secs=options.close_timeout_secs,
    )
