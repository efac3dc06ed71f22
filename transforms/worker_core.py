"""The worker core: one manager and one batch scheduler per process, shared by all DoFns and threads.

Cores are keyed by their configuration and counted. A core that nobody uses is kept for a while,
because runners tear idle DoFns down and set them up again.
"""

import atexit
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from servable_core.batching import (
    BatchingSession,
    BatchingStatistics,
    QueueOptions,
    SharedBatchScheduler,
    SharedBatchSchedulerOptions,
)
from servable_core.lifecycle import ServableId, ServableRequest
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.executor import start_thread
from servable_core.servables.saved_model.bundle import SavedModelBundle
from servable_core.servables.saved_model.loader import create_saved_model_loader
from servable_core.servables.saved_model.tensorflow_runtime import (
    TensorFlowThreads,
    configure_threads,
    num_gpus,
)
from servable_core.servables.signature import SignatureSpec, find_signature
from servable_core.server_core import ServerCore, ServerCoreOptions
from transforms.execution import ExecutionOptions, batch_threads, tensorflow_threads
from transforms.input_batch import concat_arrays
from transforms.plan import PinnedModel
from transforms.storage import file_system_for

GRACE_SECS = 60.0
_BATCHES_PER_THREAD = (
    4  # enough that a thread always finds the next batch, not more memory than that
)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerCoreConfig:
    """What makes two cores the same.

    Attributes:
        models: Versions to load.
        execution: Threads and limits.
        merges_tasks: Whether rows of different units may share a batch; not in deterministic jobs.
        recorded_threads: TensorFlow's (intra-op, inter-op) threads that a plan recorded, if any.
    """

    models: tuple[PinnedModel, ...]
    execution: ExecutionOptions
    merges_tasks: bool = True
    recorded_threads: tuple[int, int] | None = None


class WorkerCore:
    """Loaded models behind a manager, and the sessions that batch for them. Thread-safe."""

    def __init__(self, config: WorkerCoreConfig) -> None:
        """Loads all models; takes seconds.

        Raises:
            ServableCoreError: A model cannot be loaded, or is not the one that was planned.
        """
        self._config = config
        gpus = num_gpus()
        num_threads = batch_threads(config.execution, gpus)
        configure_threads(_tensorflow_threads(config, num_threads, gpus))
        pinned = {each.servable_id: each for each in config.models}
        self._server_core = ServerCore(
            _versions_by_name(config.models),
            lambda servable_id, path: create_saved_model_loader(
                servable_id, path, file_system_for(path), pinned[servable_id].fingerprint or None
            ),
            options=ServerCoreOptions(),
        )
        self._num_threads = num_threads
        self._scheduler: SharedBatchScheduler[Any] = SharedBatchScheduler(
            SharedBatchSchedulerOptions(num_batch_threads=num_threads)
        )
        self._lock = threading.Lock()
        self._sessions: dict[Any, BatchingSession] = {}  # Guarded by _lock.

    def signature(self, model: PinnedModel, name: str) -> SignatureSpec:
        """Returns the signature of a loaded model."""
        with self._handle(model.servable_id) as handle:
            return find_signature(handle.servable.signatures, name, str(model.servable_id))

    def session(
        self, model: PinnedModel, signature_name: str, outputs: Sequence[str], max_batch_size: int
    ) -> BatchingSession:
        """Returns the one session for these outputs of this signature, made on first use."""
        key = (model.servable_id, signature_name, tuple(outputs), max_batch_size)
        with self._lock:
            if key not in self._sessions:
                self._sessions[key] = self._create_session(model, signature_name, outputs, key[3])
            return self._sessions[key]

    def statistics(self) -> list[BatchingStatistics]:
        """Returns the statistics of every session."""
        with self._lock:
            return [each.statistics() for each in self._sessions.values()]

    def close(self) -> None:
        """Drains the batches and unloads the models; idempotent."""
        self._scheduler.close()
        self._server_core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _handle(self, servable_id: ServableId) -> Any:
        request = ServableRequest.specific(servable_id.name, servable_id.version)
        return self._server_core.get_servable_handle(request, SavedModelBundle)

    def _create_session(
        self, model: PinnedModel, signature_name: str, outputs: Sequence[str], max_batch_size: int
    ) -> BatchingSession:
        servable_id = model.servable_id

        def run(inputs: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
            with self._handle(servable_id) as handle:  # per batch: never kept
                result: dict[str, np.ndarray] = handle.servable.predict(
                    signature_name, inputs, outputs
                )
                return result

        options = QueueOptions(
            max_batch_size=max_batch_size,
            max_enqueued_batches=_BATCHES_PER_THREAD * self._num_threads,
            merge_tasks=self._config.merges_tasks,
        )
        name = f"{servable_id}:{signature_name}"
        return BatchingSession(run, self._scheduler, options, name=name, concat=concat_arrays)


def _tensorflow_threads(config: WorkerCoreConfig, num_threads: int, gpus: int) -> TensorFlowThreads:
    if config.recorded_threads is None:
        return tensorflow_threads(num_threads, gpus)
    intra_op, inter_op = config.recorded_threads
    return TensorFlowThreads(intra_op=intra_op, inter_op=inter_op)


def _versions_by_name(models: Sequence[PinnedModel]) -> dict[str, dict[int, str]]:
    versions: dict[str, dict[int, str]] = {}
    for each in models:
        versions.setdefault(each.name, {})[each.version] = each.path
    return versions


class WorkerCoreCache:
    """The process's cores by configuration, counted. Thread-safe."""

    def __init__(self, clock: Clock, grace_secs: float) -> None:
        self._clock = clock
        self._grace_secs = grace_secs
        self._changed = threading.Condition()
        self._entries: dict[WorkerCoreConfig, _Entry] = {}  # Guarded by _changed.

    def acquire(self, config: WorkerCoreConfig) -> WorkerCore:
        """Returns the core for `config`; the first caller makes it, the others wait for that.

        Each call must be matched by one `release`.
        """
        with self._changed:
            entry = self._entries.get(config)
            is_first = entry is None
            if entry is None:
                entry = self._entries[config] = _Entry()
            entry.num_users += 1
        if is_first:
            self._create(config, entry)
        try:
            return entry.core.result()
        except BaseException:
            self.release(config)
            raise

    def _create(self, config: WorkerCoreConfig, entry: "_Entry") -> None:
        try:
            entry.core.set_result(WorkerCore(config))
        except BaseException as error:  # noqa: BLE001 - raised to every waiting caller
            with self._changed:
                self._entries.pop(config, None)
            entry.core.set_exception(error)

    def release(self, config: WorkerCoreConfig) -> None:
        """Gives a core back; it is closed when nobody acquires it within the grace period."""
        with self._changed:
            entry = self._entries.get(config)
            if entry is None:
                return
            entry.num_users -= 1
            if entry.num_users:
                return
            entry.idle_since_secs = idle_since_secs = self._clock.now()
        start_thread(self._close_if_idle, config, entry, idle_since_secs, name="worker_core_reaper")

    def _close_if_idle(
        self, config: WorkerCoreConfig, entry: "_Entry", idle_since_secs: float
    ) -> None:
        deadline_secs = idle_since_secs + self._grace_secs
        with self._changed:
            while self._entries.get(config) is entry and self._clock.now() < deadline_secs:
                self._clock.wait(self._changed, deadline_secs - self._clock.now())
            still_idle = entry.num_users == 0 and entry.idle_since_secs == idle_since_secs
            if self._entries.get(config) is not entry or not still_idle:
                return
            del self._entries[config]
        entry.core.result().close()

    def close_all(self) -> None:
        """Closes every core now; for the end of a job or of the process."""
        with self._changed:
            entries = list(self._entries.values())
            self._entries.clear()
            self._changed.notify_all()
        for entry in entries:
            if entry.core.done() and entry.core.exception() is None:
                entry.core.result().close()


class _Entry:
    def __init__(self) -> None:
        self.core: Future[WorkerCore] = Future()
        self.num_users = 0  # Guarded by the cache's _changed, as idle_since_secs.
        self.idle_since_secs = 0.0


worker_cores = WorkerCoreCache(SystemClock(), GRACE_SECS)
atexit.register(worker_cores.close_all)


@contextmanager
def acquired_core(config: WorkerCoreConfig) -> Iterator[WorkerCore]:
    """Acquires the process's core for the body."""
    core = worker_cores.acquire(config)
    try:
        yield core
    finally:
        worker_cores.release(config)
