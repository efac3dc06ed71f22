"""Models in, a running source, adapters and manager out: what DoFns and servers share."""

import contextlib
import threading
from collections.abc import Callable, Collection
from typing import TypeVar

from typing_extensions import override

from servable_core.config.server_config import ModelConfig, ServerConfig
from servable_core.errors import DeadlineExceededError, NotFoundError
from servable_core.lifecycle.servable_handle import ServableHandle
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_request import ServableRequest
from servable_core.lifecycle.servable_state import ServableState
from servable_core.managers.aspired_versions_manager import AspiredVersionsManager
from servable_core.policies.resource_preserving import ResourcePreservingPolicy
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.closeable import Closeable
from servable_core.runtime.event_bus import EventBus
from servable_core.runtime.file_system import FileSystem, LocalFileSystem
from servable_core.servables.platform_registry import PlatformRegistry
from servable_core.server_core.config_change import (
    ConfigChange,
    check_change,
    models_by_name,
    union_of,
    with_model,
    without_model,
)
from servable_core.server_core.followed_models import FollowedFeed
from servable_core.server_core.model_feed import ModelFeed
from servable_core.server_core.model_readiness import ModelReadiness
from servable_core.server_core.model_spec import ModelSpec
from servable_core.server_core.model_status import ModelStatus, to_model_status
from servable_core.server_core.options import ServerCoreOptions
from servable_core.server_core.pinned_models import PinnedFeed, PinnedModels
from servable_core.server_core.turn import Turn
from servable_core.server_core.version_labels import (
    Labels,
    assigned_labels,
    find_version,
    labels_of,
    moved_labels,
)

T = TypeVar("T")


class ServerCore(Closeable):
    """Models that are loaded, followed and handed out; thread-safe.

    Look-ups take no lock. One that fails to load, or is missing, concerns its own model alone. A
    version number that is loaded stays what it is, also when its model gets another base path.

        with ServerCore(read_server_config("models.config")) as core:
            spec = ModelSpec("ranker", version_label="stable")
            with core.get_servable_handle(spec, Ranker) as handle:
                handle.servable.rank(...)

    Args:
        models: A configuration, to be followed and changed at run time; or pinned versions, which
            stay as they are.
        platforms: Loads what a configuration names; those built in, if not given.
        file_system: Where its base paths are; this machine's, if not given.
        options: See `ServerCoreOptions`.
        event_bus: Told of every state of a version; for a `ServableStateMonitor`, say, that
            subscribes before the core is made.
        clock: Times polls, back-off and time-outs.

    Raises:
        Exception: If all models are required, the first error, after whatever was loaded has been
            unloaded again.
        DeadlineExceededError: Likewise, if loading takes longer than the options allow.
    """

    def __init__(
        self,
        models: ServerConfig | PinnedModels,
        *,
        platforms: PlatformRegistry | None = None,
        file_system: FileSystem | None = None,
        options: ServerCoreOptions | None = None,
        event_bus: EventBus[ServableState] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._options = options or ServerCoreOptions()
        self._clock = clock or SystemClock()
        self._platforms = platforms or PlatformRegistry()
        self._manager = AspiredVersionsManager(
            options=self._options.to_manager_options(),
            policy_for=self._options.policy_of,
            event_bus=event_bus,
            clock=self._clock,
        )
        # Left in reverse order: the source is detached first, the manager closed last.
        self._closing = contextlib.ExitStack()
        self._closing.enter_context(self._manager)
        self._lock = threading.Lock()
        self._reload_turn = Turn("reload", self._clock)
        try:
            self._feed = self._create_feed(models, file_system or LocalFileSystem())
            self._config = self._feed.config  # Guarded by _lock.
            # Written under _lock, read without; replaced as a whole.
            self._labels: Labels = labels_of(self._config)
            self._readiness = ModelReadiness(self._feed, self._manager, self._describe, self._clock)
            self._feed.connect(self._manager, self._closing)
            self._load_initial_models()
        except BaseException:
            # A load that hangs must not hide the error that matters.
            with contextlib.suppress(DeadlineExceededError):
                self.close()
            raise

    def get_servable_handle(
        self, request: ServableRequest | ModelSpec, servable_type: type[T]
    ) -> ServableHandle[T]:
        """Returns a handle of the version asked for; close it soon.

        Raises:
            NotFoundError: If it is not available, or the core is closed.
            InvalidArgumentError: If it is not a `servable_type`, or there is no such label.
        """
        if isinstance(request, ServableRequest):
            return self._manager.get_servable_handle(request, servable_type)
        resolved = self.resolve(request)
        try:
            return self._manager.get_servable_handle(resolved, servable_type)
        except NotFoundError as error:
            if request.version_label is None:
                raise
            raise NotFoundError(
                f"label {request.version_label!r} points to a version that is not available: {error}"
            ) from error

    def resolve(self, spec: ModelSpec) -> ServableRequest:
        """Returns what `spec` asks the manager for; a label is that of the moment.

        Raises:
            InvalidArgumentError: If there is no such label.
        """
        if spec.version_label is not None:
            version = find_version(self._labels, spec.name, spec.version_label)
            return ServableRequest.specific(spec.name, version)
        return ServableRequest(spec.name, spec.version)

    def check_label(self, model_name: str, label: str) -> None:
        """Checks that requests for a label are answered, as is checked when a label is given.

        Raises:
            InvalidArgumentError: If there is no such label.
            FailedPreconditionError: If its version is not available, or not wanted any more.
        """
        version = find_version(self._labels, model_name, label)
        self._readiness.check_labels(self.config, [(label, ServableId(model_name, version))])

    def list_available_servable_ids(self) -> list[ServableId]:
        """Returns the ids of all versions that can be obtained, sorted."""
        return self._manager.list_available_servable_ids()

    @property
    def config(self) -> ServerConfig:
        """The configuration in force."""
        with self._lock:
            return self._config

    @property
    def num_load_threads(self) -> int:
        """Versions loaded at a time."""
        return self._manager.num_load_threads

    def statuses(self) -> tuple[ModelStatus, ...]:
        """Returns how every model is doing, also those of a reload under way; never waits."""
        sources, labels = self._feed.statuses(), self._labels
        return tuple(
            to_model_status(
                model,
                labels.get(model.name, {}),
                sources[model.name],
                {s.servable_id.version: s for s in self._manager.states(model.name)},
            )
            for model in self._feed.config.models
            if model.name in sources
        )

    def poll(self) -> None:
        """Looks for new versions now, on this thread; does not wait for their loads."""
        self._feed.poll()

    def reload(self, config: ServerConfig, timeout_secs: float | None = None) -> None:
        """Puts another configuration in force: returns when all that it brings is available.

        Until then the former one serves on: its labels hold, and models and versions that are to
        go stay, so that a failure costs nothing. (Only where a base path changes, or the policy is
        `ResourcePreservingPolicy`, versions are replaced as they come.) Memory has to do for both;
        where it does not, remove a model first. If anything new is missing, broken or late, or a
        label would point to a version that is not available, the former configuration is restored.
        One reload runs at a time; others wait for their turn.

        Versions that had failed before are loaded anew at once, also of models that stay as they
        are; those nobody waits for.

        Args:
            config: All models; those it leaves out are unloaded.
            timeout_secs: For the turn and the loads together; None is for ever.

        Raises:
            InvalidArgumentError: The configuration makes no sense; nothing was changed.
            FailedPreconditionError: It changes a platform, or gives a label to a version that is
                not available; or the models are pinned.
            DeadlineExceededError: After `timeout_secs`.
            AbortedError: If the core is closed meanwhile.
            Exception: Why the first of the models did not come up.
        """
        self._reload(lambda _: config, timeout_secs)

    def add_model(self, model: ModelConfig, timeout_secs: float | None = None) -> None:
        """Adds one model; returns when it is available, and leaves nothing if it fails.

        Raises:
            AlreadyExistsError: If there is one of that name.
            Exception: As `reload`.
        """
        self._reload(lambda config: with_model(config, model), timeout_secs)

    def remove_model(self, name: str, timeout_secs: float | None = None) -> None:
        """Removes one model with its labels; it is unloaded when its last handle is closed.

        Raises:
            NotFoundError: If there is none of that name.
            Exception: As `reload`.
        """
        self._reload(lambda config: without_model(config, name), timeout_secs)

    @override
    def close(self) -> None:
        """Unloads everything, after the last handle of each; further calls do nothing.

        Raises:
            DeadlineExceededError: If handles are still open after the time allowed.
        """
        self._closing.close()

    def _create_feed(
        self, models: ServerConfig | PinnedModels, file_system: FileSystem
    ) -> ModelFeed:
        if isinstance(models, PinnedModels):
            return PinnedFeed(models)
        if self._options.requires_all_models:
            check_change(ServerConfig(), models, self._platforms.names)
        return FollowedFeed(
            models,
            platforms=self._platforms,
            file_system=file_system,
            options=self._options,
            on_poll=self._manager.recheck,
            clock=self._clock,
        )

    def _load_initial_models(self) -> None:
        config, readiness = self.config, self._readiness
        names = models_by_name(config).keys()
        deadline = readiness.deadline(self._options.load_timeout_secs)
        if self._options.requires_all_models:
            readiness.await_models(config, names, deadline)
            readiness.check_labels(config, self._labels_to_check({}, labels_of(config)))
        else:
            readiness.await_decisions(config, names, deadline)
        # Not to wait for loads that are late, or that nobody wants any more.
        self._manager.set_num_load_threads(self._options.num_load_threads, wait=False)

    def _reload(
        self, make_config: Callable[[ServerConfig], ServerConfig], timeout_secs: float | None
    ) -> None:
        deadline = self._readiness.deadline(timeout_secs)
        with self._reload_turn.taken(timeout_secs):
            if isinstance(self._feed, PinnedFeed):
                self._feed.refuse()
            old = self.config
            new = make_config(old)
            check_change(old, new, self._platforms.names)
            self._bring_up(old, new, deadline)
            with self._lock:
                self._config, self._labels = new, labels_of(new)
            self._feed.update(new)

    def _bring_up(self, old: ServerConfig, new: ServerConfig, deadline: float | None) -> None:
        """Loads what `new` has besides `old`, or restores `old` and raises why."""
        readiness, to_load = self._readiness, ConfigChange.between(old, new).to_load
        labels = self._labels_to_check(labels_of(old), labels_of(new), to_load)
        # What no load can change is checked before anything happens.
        readiness.check_labels(new, [each for each in labels if each[1].name not in to_load])
        readiness.await_calm(to_load, deadline)
        try:
            self._feed_anew(union_of(old, new, keeps_versions=self._keeps_versions))
            readiness.await_models(new, to_load, deadline)
            readiness.check_labels(new, labels)
        except BaseException:
            self._feed.update(old)
            raise

    def _feed_anew(self, config: ServerConfig) -> None:
        """Feeds these models, and gives what had failed before a fresh chance."""
        self._feed.update(config)
        if self._manager.renew_failed(models_by_name(config)):
            # Told again, for the list that came with the update may have been taken over already.
            self._feed.update(config)

    def _labels_to_check(
        self, old: Labels, new: Labels, changed_models: Collection[str] = ()
    ) -> list[tuple[str, ServableId]]:
        if self._options.allows_labels_of_unavailable_versions:
            return list(moved_labels(old, new))
        return list(assigned_labels(old, new, changed_models))

    def _keeps_versions(self, model_name: str) -> bool:
        # Who unloads before loading has no memory for both.
        return not isinstance(self._options.policy_of(model_name), ResourcePreservingPolicy)

    def _describe(self, names: Collection[str]) -> str:
        return "; ".join(str(each) for each in self.statuses() if each.name in names)
