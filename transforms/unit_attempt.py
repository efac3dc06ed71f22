"""One attempt at a unit: what it has read, written and put aside, and whether that adds up."""

import threading
from collections import Counter
from collections.abc import Sequence

from servable_core.errors import DataLossError
from servable_core.runtime.clock import Clock
from transforms.bad_records import BadRecord
from transforms.distinct_rows import DistinctRows
from transforms.failure_budget import FailureBudget
from transforms.input_batch import InputBatch
from transforms.job_state import JobState
from transforms.plan import Plan
from transforms.stage_times import StageTimes, added_up
from transforms.unit_table import Unit


class UnitAttempt:
    """Counts; what is written counts in the job's progress, too.

    The reader's thread adds to `rows_read` and to the bad records, the writer's to all else.

    Attributes:
        rows_read: Records read so far, those included that cannot be read.
        bad_records: Those that lack the outputs of a model, or of all.
        bytes_written: Input bytes that the rows written stand for.
        num_batches: Batches written.
        distinct: For each model of the plan, the distinct rows it was given; empty if it gets all.
        reader_times: Where the time of the reader's thread goes.
        writer_times: Where that of the writer's goes.
    """

    def __init__(
        self, unit: Unit, plan: Plan, state: JobState, budget: FailureBudget, clock: Clock
    ) -> None:
        self._unit = unit
        self._plan = plan
        self._state = state
        self._budget = budget
        self._rows_written = 0
        self._lock = threading.Lock()
        # Bad records by the model whose outputs they lack; None: by all.
        self._num_bad: Counter[tuple[str, int] | None] = Counter()  # Guarded by _lock.
        self.rows_read = 0
        self.bad_records: list[BadRecord] = []
        self.bytes_written = 0
        self.num_batches = 0
        self.distinct: tuple[DistinctRows, ...] = ()
        self.reader_times = StageTimes(clock.now)
        self.writer_times = StageTimes(clock.now)

    def add_unreadable(self, records: Sequence[BadRecord]) -> None:
        """Takes records that are none of the rows read."""
        self.rows_read += len(records)
        self.add_bad_records(records)

    def add_bad_records(self, records: Sequence[BadRecord]) -> None:
        """Takes records that failed.

        Raises:
            FailedPreconditionError: With them, more have failed than may.
        """
        if not records:
            return
        with self._lock:
            before = max(self.rows_failed)
            self.bad_records.extend(records)
            self._num_bad.update(each.model for each in records)
            added = max(self.rows_failed) - before
        self._state.add_failed(added)
        counters = self._state.counters()
        rows = max(counters.rows, self.rows_read)
        self._budget.check(counters.rows_failed, rows, is_final=False)

    def add_written(self, batch: InputBatch, bad_records: Sequence[BadRecord]) -> None:
        """Takes a batch whose rows are written, or put aside."""
        num_bytes = min(batch.input_bytes, self._unit.size_bytes - self.bytes_written)
        self._rows_written += batch.num_rows
        self.bytes_written += num_bytes
        self.num_batches += 1
        self._state.add_rows(batch.num_rows)
        self._state.add_bytes(num_bytes)
        self.add_bad_records(bad_records)

    @property
    def stage_secs(self) -> dict[str, float]:
        """Where the time of both threads has gone."""
        return added_up([self.reader_times.secs(), self.writer_times.secs()])

    @property
    def rows_failed(self) -> tuple[int, ...]:
        """For each model of the plan, the records that have no outputs of it."""
        of_all = self._num_bad[None]
        models = ((each.name, each.version) for each in self._plan.models)
        return tuple(of_all + self._num_bad[model] for model in models)

    @property
    def rows_reused(self) -> tuple[int, ...]:
        """For each model of the plan, the rows that got the outputs of an equal one."""
        if not self.distinct:
            return (0,) * len(self._plan.models)
        return tuple(each.num_reused for each in self.distinct)

    def check_rows(self, rows_written: Sequence[int]) -> None:
        """Checks that every record is written or put aside, for each model.

        Raises:
            DataLossError: It is not; or not all records that were planned were read.
        """
        planned = self._plan.planned_rows(self._unit)
        if planned is not None and self.rows_read != planned:
            raise DataLossError(f"{self.rows_read} rows were read where {planned} were planned")
        for written, failed in zip(rows_written, self.rows_failed, strict=True):
            if written + failed != self.rows_read:
                aside = f" and {failed} put aside" if failed else ""
                raise DataLossError(
                    f"{self.rows_read} rows were read, but {written} written{aside}"
                )

    def take_back(self) -> None:
        """Takes what was written out of the job's progress again."""
        self._state.add_rows(-self._rows_written)
        self._state.add_bytes(-self.bytes_written)
        self._state.add_failed(-max(self.rows_failed))
