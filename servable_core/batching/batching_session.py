"""Many small model calls in, few large ones out: the face of batching towards those who infer."""

import contextlib
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
from typing_extensions import override

from servable_core.batching.batch import Batch
from servable_core.batching.batch_queue import QueueOptions
from servable_core.batching.batch_runner import BatchRunner, Run, RunOptions
from servable_core.batching.batch_sizing import BatchSizing, Calibration, SizingOptions
from servable_core.batching.batching_statistics import BatchingStatistics, StatisticsRecorder
from servable_core.batching.length_ladder import LengthLadder
from servable_core.batching.merging import Concat, group_by_layout, num_rows
from servable_core.batching.padding import row_lengths
from servable_core.batching.ragged_array import RaggedArray
from servable_core.batching.run_watch import RunWatch
from servable_core.batching.session_task import (
    Outputs,
    SessionTask,
    split_permuted,
    split_task,
)
from servable_core.batching.shared_batch_queue import SharedBatchQueue
from servable_core.batching.shared_batch_scheduler import SharedBatchScheduler
from servable_core.batching.task_future import TaskFuture
from servable_core.errors import FailedPreconditionError, UnavailableError
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.closeable import Closeable

_SYSTEM_CLOCK = SystemClock()
_NOT_RAGGED = 0
_SHORTEST_WAIT_SECS = 1e-9


class BatchingSession(Closeable):
    """Batches the calls of one model signature; thread-safe.

    Callers on any number of threads submit rows, and get futures of the outputs of exactly these
    rows, in order. Inputs are NumPy arrays, or anything else with `shape` and slices of rows, or
    `RaggedArray`s, whose rows are batched with rows of about the same length. A context manager:
    leaving it waits for the outputs of everything submitted.

    Rows that fail do not take others with them: a batch that fails is halved until they are found.
    A batch that exhausts memory is halved, too, and later ones are kept as small.

    Example:
        >>> options = QueueOptions(max_batch_size=1024, batch_timeout_secs=0.005)
        >>> with BatchingSession(model, scheduler, options, name="ranker/3") as session:
        ...     futures = [session.submit({"x": rows}) for rows in chunks]
        ...     outputs = [future.result() for future in futures]
    """

    def __init__(
        self,
        run: Run,
        scheduler: SharedBatchScheduler[SessionTask],
        options: QueueOptions,
        *,
        name: str,
        run_options: RunOptions = RunOptions(),  # noqa: B008 - frozen
        max_batch_cells: int | None = None,
        calibration: Calibration | None = None,
        concat: Concat = np.concatenate,
        is_memory_short: Callable[[], bool] = lambda: False,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> None:
        """Adds a queue to `scheduler`; with ragged inputs, one per padded length.

        Args:
            run: The model: outputs with as many rows as the inputs, row by row. Called on batch
                threads, several at the same time.
            scheduler: Whose threads to use; it outlives the session.
            options: How to form batches.
            name: What to call the session in messages.
            run_options: What to know of the model.
            max_batch_cells: Most rows times padded length of a batch, where inputs are ragged.
            calibration: Finds the size of batches below `options.max_batch_size`, or with ragged
                inputs their cells, by measuring; None where it is given.
            concat: Joins values of one input along the first dimension.
            is_memory_short: Whether batches should become smaller; asked now and then.
            clock: For deadlines and statistics.
        """
        self._name = name
        self._scheduler = scheduler
        self._queue_options = options
        self._run_options = run_options
        self._unbatched = run_options.unbatched_inputs | run_options.unbatched_outputs
        self._clock = clock
        self._recorder = StatisticsRecorder()
        self._sizing = BatchSizing(
            SizingOptions(
                max_batch_size=options.max_batch_size,
                max_batch_cells=max_batch_cells,
                allowed_batch_sizes=options.allowed_batch_sizes,
                calibration=calibration,
            ),
            is_memory_short,
        )
        self._runner = BatchRunner(
            run,
            concat,
            run_options,
            sizing=self._sizing,
            recorder=self._recorder,
            clock=clock,
            name=name,
        )
        has_timeout = run_options.timeout_secs < math.inf
        self._watch = RunWatch(run_options.timeout_secs, clock, name) if has_timeout else None
        self._lock = threading.Lock()
        self._is_closed = False  # Guarded by _lock.
        # Batches that began until then have somebody waiting for them. Guarded by _lock, but for
        # looks, of which a late one does no harm.
        self._hurried_until_secs = -math.inf
        self._dense_queue = self._add_queue(_NOT_RAGGED)
        # By the length that rows are padded to. Guarded by _lock.
        self._queues: dict[int, SharedBatchQueue[SessionTask]] = {_NOT_RAGGED: self._dense_queue}

    def submit(
        self,
        inputs: Mapping[str, Any],
        *,
        timeout_secs: float | None = None,
        deadline_secs: float | None = None,
    ) -> "Future[Outputs]":
        """Hands over rows, and returns a future of their outputs.

        Blocks while the queue is full. The arrays must not change before the future is done. The
        outputs may be views of larger arrays; write to copies of them only. The future may be
        cancelled until its batch runs. If rows fail, it fails with `RowErrors`, which has the
        outputs of the others; a single row, with its own error. Its callbacks run on a batch
        thread, so they must be short and must not submit.

        Args:
            inputs: One array per input, equal in their first dimension. Without rows the model is
                called all the same, for the dtypes and shapes of its outputs.
            timeout_secs: How long to wait for room: None without limit, 0 not at all.
            deadline_secs: From now; rows whose batch has not begun by then are dropped, and fail
                with `DeadlineExceededError`.

        Raises:
            InvalidArgumentError: The inputs are malformed, or too large to ever fit.
            UnavailableError: There is no room, and `timeout_secs` is 0.
            DeadlineExceededError: There was no room within `timeout_secs`.
            FailedPreconditionError: The session is closed.
        """
        rows = num_rows(inputs, self._name, self._run_options.unbatched_inputs)
        future: Future[Outputs] = TaskFuture()
        now = self._clock.now()
        task = SessionTask(
            inputs,
            rows,
            now,
            future,
            deadline_secs=math.inf if deadline_secs is None else now + deadline_secs,
            unbatched=self._unbatched,
        )
        lengths = row_lengths(inputs)
        try:
            if lengths is None:
                self._dense_queue.schedule(task, timeout_secs=timeout_secs)
            else:
                self._schedule_ragged(task, lengths, timeout_secs)
        except UnavailableError:
            self._recorder.count("num_rejections")
            raise
        return future

    def run(self, inputs: Mapping[str, Any]) -> Outputs:
        """Submits, waits, and returns the outputs; errors as of `submit` and of the model."""
        return self.submit(inputs).result()

    def flush(self) -> None:
        """Lets what waits now run without waiting for fuller batches; does not block."""
        for queue in self._all_queues():
            queue.flush()

    def flush_oldest(self) -> None:
        """Lets rows run that wait for their like, the oldest first, whenever there is nothing else to run.

        For callers who wait for them, and submit no more until they have them; does not block. It
        holds for the rows that wait now, until the last of them runs.
        """
        with self._lock:
            self._hurried_until_secs = self._clock.now()
        self._flush_hurried()

    def _flush_hurried(self) -> None:
        until_secs = self._hurried_until_secs
        heads = [(queue.head, queue) for queue in self._all_queues()]
        waiting = [(head, queue) for head, queue in heads if head is not None]
        if any(head.is_closed for head, _ in waiting):
            return
        hurried = [each for each in waiting if each[0].started_secs <= until_secs]
        if hurried:
            _, queue = min(hurried, key=lambda each: each[0].started_secs)
            queue.flush()
            return
        with self._lock:
            if self._hurried_until_secs == until_secs:  # nobody else has come to wait
                self._hurried_until_secs = -math.inf

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self._name

    @property
    def batch_size(self) -> int:
        """The rows that submissions should have now, to be run without being cut or joined."""
        return self._sizing.target_rows(_NOT_RAGGED)

    def statistics(self) -> BatchingStatistics:
        """Returns the totals so far; a call is counted before its futures are done."""
        return self._recorder.snapshot(self._sizing.report(), self._sizing.ceiling)

    @override
    def close(self) -> None:
        """Takes no more rows and blocks until all futures are done; idempotent."""
        with self._lock:
            self._is_closed = True  # from here on no queue is added
        for queue in self._all_queues():
            queue.close()
        if self._watch is not None:
            self._watch.close()

    def __repr__(self) -> str:
        return f"BatchingSession({self._name!r}, {self._all_queues()!r})"

    def _schedule_ragged(
        self, task: SessionTask, lengths: np.ndarray, timeout_secs: float | None
    ) -> None:
        parts = _group_rows(task, lengths, self._run_options.padding.ladder)
        if task.num_rows:
            self._sizing.probe(max(parts, key=lambda each: each[0] * each[1].num_rows)[0])
        try:
            for length, part in parts:
                room_secs = self._remaining_secs(task, timeout_secs)
                self._queue(length).schedule(part, timeout_secs=room_secs)
        except BaseException as error:
            # Those of its parts that wait already must not run.
            if not task.future.cancel():
                task.fail(error)
            raise

    def _remaining_secs(self, task: SessionTask, timeout_secs: float | None) -> float | None:
        """Returns what is left of a timeout that began with the submission; 0 only if it was 0."""
        if not timeout_secs:
            return timeout_secs
        left_secs = task.submitted_secs + timeout_secs - self._clock.now()
        return max(left_secs, _SHORTEST_WAIT_SECS)

    def _queue(self, length: int) -> SharedBatchQueue[SessionTask]:
        with self._lock:
            queue = self._queues.get(length)
            if queue is None:
                if self._is_closed:
                    raise FailedPreconditionError(
                        f"{self._name}: rows must be submitted before the session is closed"
                    )
                queue = self._queues[length] = self._add_queue(length)
            return queue

    def _add_queue(self, length: int) -> SharedBatchQueue[SessionTask]:
        target = self._sizing.target_rows(length)

        def process(batch: Batch[SessionTask]) -> None:
            nonlocal target
            self._process_batch(batch, is_ragged=length != _NOT_RAGGED)
            if self._hurried_until_secs > -math.inf:
                self._flush_hurried()
            if self._sizing.target_rows(length) == target:  # mostly; all want the queue's lock
                return
            with self._lock:  # around both: the queue must end with what was read last
                target = self._sizing.target_rows(length)
                queue.set_target_batch_size(target)

        queue = self._scheduler.add_queue(self._options_for(length), process, self._split)
        queue.set_target_batch_size(target)
        return queue

    def _options_for(self, length: int) -> QueueOptions:
        """Returns the options of a queue; rows of one length are cut wherever their batch is full."""
        if length == _NOT_RAGGED:
            return self._queue_options
        return replace(self._queue_options, enable_large_batch_splitting=True)

    def _all_queues(self) -> list[SharedBatchQueue[SessionTask]]:
        with self._lock:
            return list(self._queues.values())

    def _split(self, task: SessionTask, sizes: Sequence[int]) -> list[SessionTask]:
        self._recorder.count("num_splits")
        return split_task(task, sizes)

    def _process_batch(self, batch: Batch[SessionTask], *, is_ragged: bool) -> None:
        now = self._clock.now()
        try:
            tasks = [task for task in batch.tasks if task.claim(now)]
            if len(tasks) < len(batch.tasks):
                self._recorder.count("num_dropped", len(batch.tasks) - len(tasks))
            for group in group_by_layout(tasks, self._run_options.unbatched_inputs):
                self._run_group(group, now, is_ragged=is_ragged)
        except BaseException as error:  # a callback's, say: whatever it is, nobody waits for ever
            for task in batch.tasks:
                with contextlib.suppress(BaseException):  # its callback may raise as well
                    task.fail(error)
            raise

    def _run_group(self, tasks: Sequence[SessionTask], now: float, *, is_ragged: bool) -> None:
        if self._watch is None:
            self._runner.run_tasks(tasks, now, is_ragged=is_ragged)
        else:
            with self._watch.watching(tasks):
                self._runner.run_tasks(tasks, now, is_ragged=is_ragged)


def _group_rows(
    task: SessionTask, row_lengths: np.ndarray, ladder: LengthLadder
) -> list[tuple[int, SessionTask]]:
    """Returns the rows of a task by the length that they are padded to."""
    longest = ladder.rung(row_lengths.max(initial=0))
    rungs = ladder.round_up(row_lengths)
    if (rungs == longest).all():
        return [(longest, task)]
    order = np.argsort(rungs, kind="stable")
    lengths, sizes = np.unique(rungs, return_counts=True)
    inputs = {
        name: value if name in task.unbatched else _take(value, order)
        for name, value in task.inputs.items()
    }
    parts = split_permuted(task, inputs, order, sizes.tolist())
    return list(zip(lengths.tolist(), parts, strict=True))


def _take(value: Any, rows: np.ndarray) -> Any:
    return value.take(rows) if isinstance(value, RaggedArray) else np.asarray(value)[rows]
