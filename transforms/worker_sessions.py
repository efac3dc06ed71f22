"""The sessions of a worker core: each batches for one signature of one version, as requests differ."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from servable_core.batching import (
    BatchingSession,
    BatchingStatistics,
    SharedBatchScheduler,
    SharedBatchSchedulerOptions,
)
from servable_core.batching.padding import PaddingOptions
from servable_core.batching.session_task import SessionTask
from servable_core.config import BatchingParameters, read_model_batching_parameters
from servable_core.lifecycle import ServableId
from servable_core.runtime.memory import is_memory_short
from transforms.batching_options import (
    BatchingOptions,
    batching_parameters,
    create_batching_options,
)
from transforms.execution import ExecutionOptions
from transforms.input_batch import concat_arrays
from transforms.plan import PinnedModel
from transforms.storage import file_system_for

_logger = logging.getLogger(__name__)


class Predict(Protocol):
    """Runs a loaded model on the caller's thread; thread-safe."""

    def __call__(
        self,
        model: PinnedModel,
        signature_name: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[str],
        /,
    ) -> Mapping[str, np.ndarray]:
        """Returns those of the signature's outputs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionKey:
    """What statistics are counted by.

    Attributes:
        servable_id: The version.
        signature_name: Its signature.
    """

    servable_id: ServableId
    signature_name: str

    def __str__(self) -> str:
        return f"{self.servable_id}:{self.signature_name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionRequest:
    """What makes two sessions the same.

    Attributes:
        model: The version.
        signature_name: Its signature.
        outputs: Outputs wanted.
        batch_size: Rows of a batch to start with, where no size is given.
        padding: How its ragged inputs are padded.
        is_ragged: Whether it has any.
    """

    model: PinnedModel
    signature_name: str
    outputs: tuple[str, ...]
    batch_size: int
    padding: PaddingOptions
    is_ragged: bool

    @property
    def key(self) -> SessionKey:
        """Returns which signature it is about."""
        return SessionKey(servable_id=self.model.servable_id, signature_name=self.signature_name)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Session:
    key: SessionKey
    session: BatchingSession


class WorkerSessions:
    """Sessions that share one batch scheduler; thread-safe.

    Args:
        predict: Runs a batch.
        execution: Threads and limits.
        merges_tasks: Whether rows of different units may share a batch.
        isolates_all_rows: Whether every row that fails is to be found; else, the first.
        num_batch_threads: Model calls at a time.
        num_gpus: Of this machine.
    """

    def __init__(
        self,
        predict: Predict,
        *,
        execution: ExecutionOptions,
        merges_tasks: bool,
        isolates_all_rows: bool,
        num_batch_threads: int,
        num_gpus: int,
    ) -> None:
        self._predict = predict
        self._execution = execution
        self._merges_tasks = merges_tasks
        self._isolates_all_rows = isolates_all_rows
        self._num_batch_threads = num_batch_threads
        self._num_gpus = num_gpus
        self._scheduler: SharedBatchScheduler[SessionTask] = SharedBatchScheduler(
            _scheduler_options(execution, num_batch_threads)
        )
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}  # Guarded by _lock.

    def batching_parameters(self, model: PinnedModel) -> BatchingParameters:
        """Returns what flags and files say of batching for a model.

        Raises:
            InvalidArgumentError: The model's own file is broken, or does not go with the flags.
        """
        own = read_model_batching_parameters(model.path, file_system=file_system_for(model.path))
        parameters = batching_parameters(self._execution, own)
        if parameters.ignored_fields:
            _logger.warning(
                "%s: batching parameters without effect: %s",
                model.servable_id,
                ", ".join(parameters.ignored_fields),
            )
        return parameters

    def session(self, request: SessionRequest) -> BatchingSession:
        """Returns the one session for equal requests, made on first use.

        Raises:
            InvalidArgumentError: What files and flags say of batching does not go together.
        """
        words = _request_words(request)
        with self._lock:
            known = self._sessions.get(words)
        if known is not None:
            return known.session
        options = self._batching_options(request)  # reads a file of the model's
        with self._lock:
            if words not in self._sessions:
                session = self._create_session(request, options)
                self._sessions[words] = _Session(key=request.key, session=session)
            return self._sessions[words].session

    def statistics(self) -> dict[SessionKey, list[BatchingStatistics]]:
        """Returns what each session has done so far; a signature may have several of them."""
        with self._lock:
            sessions = list(self._sessions.values())
        found: dict[SessionKey, list[BatchingStatistics]] = {}
        for each in sessions:
            found.setdefault(each.key, []).append(each.session.statistics())
        return found

    def close(self) -> None:
        """Drains the batches; idempotent."""
        with self._lock:
            sessions = list(self._sessions.values())
        for each in sessions:  # each may have a thread of its own, which watches its calls
            each.session.close()
        self._scheduler.close()

    def _create_session(self, request: SessionRequest, options: BatchingOptions) -> BatchingSession:
        model, signature_name = request.model, request.signature_name

        def run(inputs: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
            # A handle for each batch: it is never kept.
            return self._predict(model, signature_name, inputs, request.outputs)

        return BatchingSession(
            run,
            self._scheduler,
            options.queue,
            name=str(request.key),
            run_options=options.run,
            max_batch_cells=options.max_batch_cells,
            calibration=options.calibration,
            concat=concat_arrays,
            is_memory_short=is_memory_short,
        )

    def _batching_options(self, request: SessionRequest) -> BatchingOptions:
        return create_batching_options(
            self._execution,
            self.batching_parameters(request.model),
            request.padding,
            is_ragged=request.is_ragged,
            hint=request.batch_size,
            num_threads=self._num_batch_threads,
            num_gpus=self._num_gpus,
            merges_tasks=self._merges_tasks,
            isolates_all_rows=self._isolates_all_rows,
        )


def _request_words(request: SessionRequest) -> str:
    """Returns the same for equal requests, which cannot be hashed; sets have no order of their own."""
    padding = request.padding
    rest = replace(request, padding=replace(padding, ragged_outputs=frozenset()))
    return repr((rest, sorted(padding.ragged_outputs)))


def _scheduler_options(
    execution: ExecutionOptions, num_threads: int
) -> SharedBatchSchedulerOptions:
    said = execution.batching_parameters
    name = said.thread_pool_name if said else None
    default = SharedBatchSchedulerOptions(num_batch_threads=num_threads)
    return default if not name else replace(default, thread_name_prefix=name)
