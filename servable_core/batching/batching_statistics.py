"""What a batching session has done: the figures by which batching is tuned."""

import threading
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from servable_core.batching.auto_batch_size import BatchSizeReport

_MANY_BATCHES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapeStatistics:
    """Model calls of one shape.

    Attributes:
        num_runs: How many.
        num_rows: Rows in them that callers submitted.
        run_secs: Their time, summed.
    """

    num_runs: int = 0
    num_rows: int = 0
    run_secs: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchingStatistics:
    """Totals so far. Cells are rows times length, where inputs are ragged.

    Attributes:
        num_batches: Batches that threads took; those whose tasks share no model call count apart.
        num_runs: Model calls, failed ones included.
        num_extra_runs: Those of them that a failure, or memory, made necessary.
        num_rows: Rows that callers submitted, in batches taken.
        num_slots: Rows that these batches could have had.
        num_tasks: Tasks in them; each part of a split task counts.
        num_splits: Tasks that were cut.
        num_padding_rows: Rows added to reach an allowed size.
        num_cells: Cells that went into the model, padding included.
        num_padding_cells: Cells added.
        num_failed_rows: Rows that failed on their own.
        num_rejections: Submissions refused, since there was no room for them.
        num_dropped: Tasks cancelled or past their deadline before they ran.
        run_secs: Time in the model, summed over the batch threads.
        queue_secs: Time between submission and model call, summed over the tasks.
        max_queue_secs: The longest such time.
        shapes: Successful model calls by (rows, padded length; 0 where nothing is ragged).
        batch_size: What calibration has found; None where the size is given.
        ceiling: The most rows of a call that memory allows, where it was exhausted before.
    """

    num_batches: int = 0
    num_runs: int = 0
    num_extra_runs: int = 0
    num_rows: int = 0
    num_slots: int = 0
    num_tasks: int = 0
    num_splits: int = 0
    num_padding_rows: int = 0
    num_cells: int = 0
    num_padding_cells: int = 0
    num_failed_rows: int = 0
    num_rejections: int = 0
    num_dropped: int = 0
    run_secs: float = 0.0
    queue_secs: float = 0.0
    max_queue_secs: float = 0.0
    shapes: Mapping[tuple[int, int], ShapeStatistics] = field(default_factory=dict)
    batch_size: BatchSizeReport | None = None
    ceiling: int | None = None

    @property
    def mean_batch_size(self) -> float:
        """Rows per batch; 0 before the first."""
        return self.num_rows / self.num_batches if self.num_batches else 0.0

    @property
    def fill(self) -> float:
        """Rows per row that the batches could have had; 0 before the first."""
        return self.num_rows / self.num_slots if self.num_slots else 0.0

    @property
    def padding_waste(self) -> float:
        """Cells added, per cell that went into the model; 0 where nothing is ragged."""
        return self.num_padding_cells / self.num_cells if self.num_cells else 0.0


class StatisticsRecorder:
    """Adds up what a session does; thread-safe.

    Usual batches are noted, and added up many at a time: their tasks should not wait for that.
    """

    def __init__(self) -> None:
        # Rows, slots, waits and run time of batches to add up. Taken under _lock; safe to append to.
        self._usual: deque[tuple[int, int, Sequence[float], float]] = deque()
        self._lock = threading.Lock()
        self._counts: dict[str, float] = defaultdict(int)  # Guarded by _lock.
        self._max_queue_secs = 0.0  # Guarded by _lock.
        # [num_runs, num_rows, run_secs] by (rows, padded length).
        self._shapes: dict[tuple[int, int], list[float]] = {}  # Guarded by _lock.

    def count(self, name: str, number: int = 1) -> None:
        """Adds to the statistic of this name."""
        with self._lock:
            self._counts[name] += number

    def add_usual(
        self, num_rows: int, num_slots: int, waits_secs: Sequence[float], run_secs: float
    ) -> None:
        """Counts a batch without ragged inputs whose one call, without padding, has succeeded."""
        self._usual.append((num_rows, num_slots, waits_secs, run_secs))
        if len(self._usual) >= _MANY_BATCHES:
            with self._lock:
                self._add_up_locked()

    def add_batch(self, *, num_rows: int, num_slots: int, waits_secs: Sequence[float]) -> None:
        """Counts a batch that a thread has taken."""
        with self._lock:
            self._add_batch_locked(num_rows, num_slots, waits_secs)

    def add_failed_run(self, run_secs: float, *, is_extra: bool) -> None:
        """Counts a model call that has failed."""
        with self._lock:
            self._add_run_locked(run_secs, is_extra=is_extra)

    def add_run(
        self,
        *,
        num_rows: int,
        padded_rows: int,
        padded_length: int,
        cells: int,
        run_secs: float,
        is_extra: bool,
        is_padded: bool = True,
    ) -> None:
        """Counts a model call that has succeeded; `cells` without padding, if `is_padded` at all."""
        num_cells = padded_rows * padded_length if is_padded else cells
        with self._lock:
            self._add_run_locked(run_secs, is_extra=is_extra)
            counts = self._counts
            counts["num_padding_rows"] += padded_rows - num_rows
            counts["num_cells"] += num_cells
            counts["num_padding_cells"] += num_cells - cells
            self._add_shape_locked((padded_rows, padded_length), num_rows, run_secs)

    def _add_up_locked(self) -> None:
        while self._usual:
            num_rows, num_slots, waits_secs, run_secs = self._usual.popleft()
            self._add_batch_locked(num_rows, num_slots, waits_secs)
            self._add_run_locked(run_secs, is_extra=False)
            self._add_shape_locked((num_rows, 0), num_rows, run_secs)

    def _add_batch_locked(self, num_rows: int, num_slots: int, waits_secs: Sequence[float]) -> None:
        counts = self._counts
        counts["num_batches"] += 1
        counts["num_rows"] += num_rows
        counts["num_slots"] += num_slots
        counts["num_tasks"] += len(waits_secs)
        counts["queue_secs"] += sum(waits_secs)
        self._max_queue_secs = max(self._max_queue_secs, *waits_secs)

    def _add_run_locked(self, run_secs: float, *, is_extra: bool) -> None:
        counts = self._counts
        counts["num_runs"] += 1
        counts["num_extra_runs"] += is_extra
        counts["run_secs"] += run_secs

    def _add_shape_locked(self, shape: tuple[int, int], num_rows: int, run_secs: float) -> None:
        totals = self._shapes.setdefault(shape, [0, 0, 0.0])
        totals[0] += 1
        totals[1] += num_rows
        totals[2] += run_secs

    def snapshot(
        self, batch_size: BatchSizeReport | None, ceiling: int | None
    ) -> BatchingStatistics:
        """Returns the totals so far, with what sizing has found."""
        with self._lock:
            self._add_up_locked()
            counts: dict[str, Any] = dict(self._counts)
            max_queue_secs = self._max_queue_secs
            shapes = {
                shape: ShapeStatistics(num_runs=int(runs), num_rows=int(rows), run_secs=secs)
                for shape, (runs, rows, secs) in self._shapes.items()
            }
        return BatchingStatistics(
            **counts,
            max_queue_secs=max_queue_secs,
            shapes=shapes,
            batch_size=batch_size,
            ceiling=ceiling,
        )
