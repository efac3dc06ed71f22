"""Many small model calls in, few large ones out: the face of batching towards those who infer."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from servable_core.batching.batch import Batch
from servable_core.batching.batch_queue import QueueOptions
from servable_core.batching.merging import group_by_layout, merge_inputs, num_rows, split_outputs
from servable_core.batching.session_task import Outputs, SessionTask, split_task
from servable_core.batching.shared_batch_scheduler import SharedBatchScheduler
from servable_core.runtime.clock import Clock, SystemClock

_SYSTEM_CLOCK = SystemClock()


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchingStatistics:
    """What a session has done so far.

    Attributes:
        num_batches: Model calls, failed ones included.
        num_rows: Rows in them.
        num_tasks: Tasks in them; each part of a split task counts.
        run_secs: Time in the model, summed over the batch threads.
        queue_secs: Time between submission and model call, summed over the tasks.
        max_queue_secs: The longest such time.
    """

    num_batches: int = 0
    num_rows: int = 0
    num_tasks: int = 0
    run_secs: float = 0.0
    queue_secs: float = 0.0
    max_queue_secs: float = 0.0

    @property
    def mean_batch_size(self) -> float:
        """Rows per model call; 0 before the first."""
        return self.num_rows / self.num_batches if self.num_batches else 0.0


class BatchingSession:
    """Batches the calls of one model signature; thread-safe.

    Callers on any number of threads submit rows, and get futures of the outputs of exactly these
    rows, in order. Inputs are numpy arrays, or anything else with `shape` and slices of rows. A
    context manager: leaving it waits for the outputs of everything submitted.

    Example:
        >>> options = QueueOptions(max_batch_size=1024, batch_timeout_secs=0.005)
        >>> with BatchingSession(model, scheduler, options, name="ranker/3") as session:
        ...     futures = [session.submit({"x": rows}) for rows in chunks]
        ...     outputs = [future.result() for future in futures]
    """

    def __init__(
        self,
        run: Callable[[Mapping[str, Any]], Mapping[str, np.ndarray]],
        scheduler: SharedBatchScheduler[SessionTask],
        options: QueueOptions,
        *,
        name: str,
        concat: Callable[[Sequence[Any]], Any] = np.concatenate,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> None:
        """Adds a queue to `scheduler`.

        Args:
            run: The model: outputs with as many rows as the inputs, row by row. Called on batch
                threads, several at the same time.
            scheduler: Whose threads to use; it outlives the session.
            options: How to form batches.
            name: What to call the session in messages.
            concat: Joins values of one input along the first dimension.
            clock: For the statistics.
        """
        self._run = run
        self._concat = concat
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._statistics = BatchingStatistics()  # Guarded by _lock.
        self._queue = scheduler.add_queue(options, self._process_batch, split_task)

    def submit(
        self, inputs: Mapping[str, Any], *, timeout_secs: float | None = None
    ) -> "Future[Outputs]":
        """Hands over rows, and returns a future of their outputs.

        Blocks while the queue is full. The arrays must not change before the future is done. The
        outputs may be views of larger arrays; write to copies of them only. The future may be
        cancelled until its batch runs. It fails with the model's error, if its own rows make one:
        after the failure of a batch its tasks run once more, each alone. Its
        callbacks run on a batch thread, so they must be short and must not submit.

        Args:
            inputs: One array per input, equal in their first dimension. Without rows the model is
                called all the same, for the dtypes and shapes of its outputs.
            timeout_secs: How long to wait for room: None without limit, 0 not at all.

        Raises:
            InvalidArgumentError: The inputs are malformed, or too large to ever fit.
            UnavailableError: There is no room, and `timeout_secs` is 0.
            DeadlineExceededError: There was no room within `timeout_secs`.
            FailedPreconditionError: The session is closed.
        """
        future: Future[Outputs] = Future()
        rows = num_rows(inputs, self._name)
        task = SessionTask(inputs, rows, self._clock.now(), future)
        self._queue.schedule(task, timeout_secs=timeout_secs)
        return future

    def run(self, inputs: Mapping[str, Any]) -> Outputs:
        """Submits, waits, and returns the outputs; errors as of `submit` and of the model."""
        return self.submit(inputs).result()

    def flush(self) -> None:
        """Lets what waits now run without waiting for fuller batches; does not block."""
        self._queue.flush()

    def statistics(self) -> BatchingStatistics:
        """Returns the totals so far; a call is counted before its futures are done."""
        with self._lock:
            return self._statistics

    def close(self) -> None:
        """Takes no more rows and blocks until all futures are done; idempotent."""
        self._queue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"BatchingSession({self._name!r}, {self._queue!r})"

    def _process_batch(self, batch: Batch[SessionTask]) -> None:
        tasks = [task for task in batch.tasks if task.claim()]
        for group in group_by_layout(tasks):
            self._run_tasks(group)

    def _run_tasks(self, tasks: list[SessionTask]) -> None:
        try:
            results = self._outputs_of(tasks)
        except BaseException as error:  # noqa: BLE001 - the futures carry it to those who ask
            if len(tasks) == 1:
                tasks[0].fail(error)
                return
            for task in tasks:  # alone, so that none fails for its neighbours' rows
                self._run_tasks([task])
        else:
            for task, outputs in zip(tasks, results, strict=True):
                task.finish(outputs)

    def _outputs_of(self, tasks: list[SessionTask]) -> list[Outputs]:
        inputs = merge_inputs(tasks, self._concat)
        start_secs = self._clock.now()
        try:
            outputs = self._run(inputs)
        finally:
            self._count(tasks, start_secs, self._clock.now())
        return split_outputs(outputs, tasks, self._name)

    def _count(self, tasks: list[SessionTask], start_secs: float, end_secs: float) -> None:
        waits = [start_secs - task.submitted_secs for task in tasks]
        rows = sum([task.num_rows for task in tasks])
        with self._lock:
            done = self._statistics
            self._statistics = BatchingStatistics(
                num_batches=done.num_batches + 1,
                num_rows=done.num_rows + rows,
                num_tasks=done.num_tasks + len(tasks),
                run_secs=done.run_secs + end_secs - start_secs,
                queue_secs=done.queue_secs + sum(waits),
                max_queue_secs=max(done.max_queue_secs, *waits),
            )
