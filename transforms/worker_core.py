"""The worker core: one manager and one batch scheduler per process, shared by all DoFns and threads.

Cores are keyed by their configuration and counted. A core that nobody uses is kept for a while,
because runners tear idle DoFns down and set them up again.
"""

import atexit
import itertools
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from typing_extensions import override

from servable_core.batching import BatchingSession, BatchingStatistics
from servable_core.config import BatchingParameters
from servable_core.errors import FailedPreconditionError
from servable_core.lifecycle import ServableId, ServableRequest
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.closeable import Closeable
from servable_core.runtime.executor import start_thread
from servable_core.servables.saved_model.bundle import SavedModelBundle
from servable_core.servables.saved_model.loader import create_saved_model_loader
from servable_core.servables.saved_model.options import SavedModelOptions, parse_devices
from servable_core.servables.saved_model.tensorflow_options import configure_tensorflow
from servable_core.servables.saved_model.tensorflow_runtime import (
    TensorFlowThreads,
    configure_threads,
    current_threads,
    num_gpus,
)
from servable_core.servables.saved_model.warmup import WarmupOptions
from servable_core.servables.signature import SignatureSpec
from servable_core.server_core import PinnedModels, ServerCore, ServerCoreOptions
from transforms.batching_options import batching_parameters
from transforms.batching_report import UnreportedCounters, counters
from transforms.byte_budget import ByteBudget
from transforms.execution import (
    ExecutionOptions,
    batch_threads,
    tensorflow_options,
    tensorflow_threads,
)
from transforms.heads import find_heads, predict_heads
from transforms.plan import PinnedModel, Plan
from transforms.storage import file_system_for
from transforms.worker_sessions import SessionKey, SessionRequest, WorkerSessions

GRACE_SECS = 60.0
_CLOSE_PATIENCE_SECS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerCoreConfig:
    """What makes two cores the same.

    Attributes:
        models: Versions to load.
        execution: Threads and limits.
        merges_tasks: Whether rows of different units may share a batch; not in deterministic jobs.
        isolates_all_rows: Whether every row that fails is to be found; else, the first.
        jit_compile: Whether XLA compiles the models.
        mixed_precision: Whether models compute in 16 bits where that is held harmless.
        recorded_threads: TensorFlow's (intra-op, inter-op) threads that a plan recorded, if any.
    """

    models: tuple[PinnedModel, ...]
    execution: ExecutionOptions
    merges_tasks: bool = True
    isolates_all_rows: bool = False
    jit_compile: bool = False
    mixed_precision: bool = False
    recorded_threads: tuple[int, int] | None = None


def worker_core_config(plan: Plan, execution: ExecutionOptions) -> WorkerCoreConfig:
    """Returns the configuration that all workers of the job share."""
    cells = plan.content.deterministic_batch_cells
    return WorkerCoreConfig(
        models=plan.models,
        execution=execution if cells is None else replace(execution, max_batch_cells=cells),
        merges_tasks=plan.content.deterministic_batch_size is None,
        isolates_all_rows=plan.content.keeps_bad_records,
        jit_compile=plan.content.jit_compile,
        mixed_precision=plan.content.mixed_precision,
        recorded_threads=plan.content.deterministic_threads,
    )


class WorkerCore(Closeable):
    """Loaded models behind a manager, and the sessions that batch for them. Thread-safe.

    Attributes:
        token: Tells this core from all others, also from those of other processes.
        num_batch_threads: Model calls at a time.
        model_loads: What each model took: `load_secs` and `warmup_secs`.
        counters: What its batching has done since somebody asked.
        in_flight: The bytes of rows that its units have read and not written.
    """

    def __init__(self, config: WorkerCoreConfig) -> None:
        """Loads all models; takes seconds.

        Raises:
            ServableCoreError: A model cannot be loaded, or is not the one that was planned.
        """
        self._config = config
        gpus = num_gpus()
        num_threads = batch_threads(config.execution, gpus)
        _configure_tensorflow(config, num_threads, gpus)
        model_options, warmup = _model_options(config), _warmup_options(config.execution)
        pinned = {each.servable_id: each for each in config.models}
        self._server_core = ServerCore(
            PinnedModels(
                _versions_by_name(config.models),
                lambda servable_id, path: create_saved_model_loader(
                    servable_id,
                    path,
                    file_system_for(path),
                    pinned[servable_id].fingerprint or None,
                    warmup=warmup,
                    options=model_options,
                ),
            ),
            options=ServerCoreOptions(),
        )
        self.num_batch_threads = num_threads
        self.token = uuid.uuid4().hex
        self.in_flight = ByteBudget(config.execution.max_in_flight_bytes)
        self._sessions = WorkerSessions(
            self.predict,
            execution=config.execution,
            merges_tasks=config.merges_tasks,
            isolates_all_rows=config.isolates_all_rows,
            num_batch_threads=num_threads,
            num_gpus=gpus,
        )
        self.counters = UnreportedCounters(
            lambda: counters(itertools.chain(*self.statistics().values()))
        )
        self.model_loads = {str(each): self._load_times(each) for each in pinned}

    def signature(self, model: PinnedModel, name: str) -> SignatureSpec:
        """Returns the signature of a loaded model."""
        with self._handle(model.servable_id) as handle:
            signatures = handle.servable.signatures
            return find_heads(signatures, name, str(model.servable_id), remedy="ask for another")

    def predict(
        self,
        model: PinnedModel,
        signature_name: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[str],
    ) -> dict[str, np.ndarray]:
        """Runs a loaded model on the caller's thread, without batching."""
        with self._handle(model.servable_id) as handle:
            servable = handle.servable
            return predict_heads(
                servable.signatures, signature_name, inputs, outputs, servable.predict
            )

    def batching_parameters(self, model: PinnedModel) -> BatchingParameters:
        """Returns what flags and files say of batching for a model.

        Raises:
            InvalidArgumentError: The model's own file is broken, or does not go with the flags.
        """
        return self._sessions.batching_parameters(model)

    def session(self, request: SessionRequest) -> BatchingSession:
        """Returns the one session for equal requests, made on first use.

        Raises:
            InvalidArgumentError: What files and flags say of batching does not go together.
        """
        return self._sessions.session(request)

    def statistics(self) -> dict[SessionKey, list[BatchingStatistics]]:
        """Returns what the sessions of each signature have done so far."""
        return self._sessions.statistics()

    @override
    def close(self) -> None:
        """Drains the batches and unloads the models; idempotent."""
        self._sessions.close()
        self._server_core.close()

    def _handle(self, servable_id: ServableId) -> Any:
        request = ServableRequest.specific(servable_id.name, servable_id.version)
        return self._server_core.get_servable_handle(request, SavedModelBundle)

    def _load_times(self, servable_id: ServableId) -> dict[str, float]:
        with self._handle(servable_id) as handle:
            return {
                "load_secs": round(handle.servable.load_secs, 6),
                "warmup_secs": round(handle.servable.warmup_secs, 6),
            }


def _model_options(config: WorkerCoreConfig) -> SavedModelOptions:
    devices = parse_devices(config.execution.devices or "")
    return SavedModelOptions(devices=devices, jit_compile=config.jit_compile)


def _warmup_options(execution: ExecutionOptions) -> WarmupOptions:
    sizes = batching_parameters(execution, None).execution_batch_sizes
    return WarmupOptions(synthetic_batch_sizes=sizes if execution.warm_up_batch_sizes else ())


def _configure_tensorflow(config: WorkerCoreConfig, num_threads: int, gpus: int) -> None:
    configure_tensorflow(
        tensorflow_options(config.execution, mixed_precision=config.mixed_precision)
    )
    if config.recorded_threads is None:
        configure_threads(tensorflow_threads(num_threads, gpus))
        return
    intra_op, inter_op = config.recorded_threads
    recorded = TensorFlowThreads(intra_op=intra_op, inter_op=inter_op)
    configure_threads(recorded)
    if current_threads() != recorded:
        raise FailedPreconditionError(
            f"a deterministic job needs TensorFlow's threads as its plan recorded them ({recorded}), but TensorFlow has started in this process with {current_threads()}: run the job in a process of its own"
        )


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

    @contextmanager
    def acquired(self, config: WorkerCoreConfig) -> Iterator[WorkerCore]:
        """Holds the core for `config` during the body; the first caller makes it, the others wait.

        It is closed when nobody has acquired it for the grace period.
        """
        with self._changed:
            entry = self._entries.get(config)
            is_first = entry is None
            if entry is None:
                entry = self._entries[config] = _Entry()
            entry.num_users += 1
        try:
            if is_first:
                self._create(config, entry)
            yield entry.core.result()
        finally:
            with self._changed:
                entry.num_users -= 1
                entry.idle_since_secs = self._clock.now()
                self._changed.notify_all()

    def _create(self, config: WorkerCoreConfig, entry: "_Entry") -> None:
        try:
            entry.core.set_result(WorkerCore(config))
        except BaseException as error:  # noqa: BLE001 - raised to every waiting caller
            with self._changed:
                self._entries.pop(config, None)
            entry.core.set_exception(error)
        else:
            start_thread(self._close_when_idle, config, entry, name="worker_core_reaper")

    def _close_when_idle(self, config: WorkerCoreConfig, entry: "_Entry") -> None:
        with self._changed:
            while self._entries.get(config) is entry:
                left_secs = self._grace_left_secs(entry)
                if left_secs is not None and left_secs <= 0:
                    del self._entries[config]
                    break
                self._clock.wait(self._changed, left_secs)
            else:
                return  # somebody else has closed it
        entry.core.result().close()

    def _grace_left_secs(self, entry: "_Entry") -> float | None:
        """Returns how long an unused core is still kept, or None while it is in use."""
        if entry.num_users:
            return None
        return entry.idle_since_secs + self._grace_secs - self._clock.now()

    def close_idle(self) -> None:
        """Closes every core that nobody uses, grace or not; for the end of a job.

        A core whose model hangs is left behind: its threads end with the process.
        """
        with self._changed:
            idle = [config for config, entry in self._entries.items() if not entry.num_users]
            entries = [self._entries.pop(config) for config in idle]
            self._changed.notify_all()
        start_thread(_close, entries, name="worker_core_closer").join(_CLOSE_PATIENCE_SECS)

    def close_all(self) -> None:
        """Closes every core now; for the end of the process."""
        with self._changed:
            entries = list(self._entries.values())
            self._entries.clear()
            self._changed.notify_all()
        _close(entries)


class _Entry:
    def __init__(self) -> None:
        self.core: Future[WorkerCore] = Future()
        self.num_users = 0  # Guarded by the cache's _changed, as idle_since_secs.
        self.idle_since_secs = 0.0


def _close(entries: Iterable[_Entry]) -> None:
    for entry in entries:
        if entry.core.done() and entry.core.exception() is None:
            entry.core.result().close()


worker_cores = WorkerCoreCache(SystemClock(), GRACE_SECS)
atexit.register(worker_cores.close_all)


def acquired_core(config: WorkerCoreConfig) -> AbstractContextManager[WorkerCore]:
    """Acquires the process's core for the body."""
    return worker_cores.acquired(config)
