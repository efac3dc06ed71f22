"""Whatever happens, every task ends exactly once, with its own rows, within the bounds."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from servable_core.batching import (
    BatchingSession,
    QueueOptions,
    SharedBatchScheduler,
    SharedBatchSchedulerOptions,
)
from servable_core.batching.batch_queue import BatchPaddingPolicy
from servable_core.batching.batch_runner import RunOptions
from servable_core.batching.length_ladder import LengthLadder
from servable_core.batching.padding import PaddingOptions
from servable_core.batching.ragged_array import RaggedArray
from servable_core.batching.row_errors import RowErrors
from servable_core.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from servable_core.testing import FakeClock

LADDER = LengthLadder(rungs=(2, 4, 8))
MAX_CELLS = 24


@st.composite
def queue_options(draw):
    max_batch_size = draw(st.integers(1, 20))
    below = st.lists(st.integers(1, max_batch_size), max_size=2, unique=True)
    sizes = draw(st.none() | below)
    allowed = () if sizes is None else (*sorted({*sizes} - {max_batch_size}), max_batch_size)
    return QueueOptions(
        max_batch_size=max_batch_size,
        batch_timeout_secs=draw(st.sampled_from([0.0, 1.0, 5.0])),
        max_enqueued_batches=draw(st.integers(1, 6)),
        enable_large_batch_splitting=draw(st.booleans()),
        merge_tasks=draw(st.booleans()),
        allowed_batch_sizes=allowed,
        batch_padding_policy=draw(st.sampled_from(BatchPaddingPolicy)),
    )


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What is wrong with the model: of how many rows one is bad, and how many fit into memory."""

    bad_period: int | None
    memory_rows: int


TROUBLE = st.builds(
    Trouble,
    bad_period=st.sampled_from([None, None, 1, 3, 17]),
    memory_rows=st.sampled_from([1, 3, 10, 100]),
)
SUBMISSION = st.tuples(
    st.integers(0, 50),  # rows
    st.booleans(),  # whether ragged
    st.sampled_from([None, None, 1.0, 4.0]),  # deadline
)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), SUBMISSION),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.just("advance"), st.integers(1, 6)),
        st.tuples(st.just("step"), st.none()),
        st.tuples(st.just("flush"), st.none()),
    ),
    max_size=50,
)


def rows_of(ragged):
    return [ragged.row(index).tolist() for index in range(len(ragged))]


@dataclass(frozen=True)
class Submitted:
    """What went in, what is to come out, and until when it had to begin."""

    inputs: dict[str, Any]
    future: Any
    deadline: float


class Driver:
    """Does actions to a session without threads, and checks its bounds after each."""

    def __init__(self, options, trouble):
        self.options = options
        self.trouble = trouble
        self.clock = FakeClock()
        self.submitted = []
        self.refused_rows = set()
        self.num_rows = 0
        self.call_sizes = []
        self.good_call_sizes = []
        self.scheduler = SharedBatchScheduler(
            SharedBatchSchedulerOptions(num_batch_threads=0), clock=self.clock
        )
        self.session = BatchingSession(
            self.run,
            self.scheduler,
            options,
            name="m",
            run_options=RunOptions(
                padding=PaddingOptions(ladder=LADDER, ragged_outputs=frozenset({"values"}))
            ),
            max_batch_cells=MAX_CELLS,
            clock=self.clock,
        )

    def run(self, inputs):
        row = inputs["row"]
        self.call_sizes.append(len(row))
        self.check_batch(inputs)
        if len(row) > self.trouble.memory_rows:
            raise ResourceExhaustedError(f"{len(row)} rows do not fit")
        if any(self.is_bad(each) for each in row):
            raise ValueError("bad")
        self.good_call_sizes.append(len(row))
        return dict(inputs)

    def check_batch(self, inputs):
        row = inputs["row"]
        assert len(row) <= self.options.max_batch_size
        assert not self.refused_rows.intersection(row.tolist())
        if "values" in inputs:
            assert inputs["values"].size <= MAX_CELLS or len(row) == 1

    def is_bad(self, row):
        period = self.trouble.bad_period
        return period is not None and row % period == 0

    def do(self, action, argument):
        getattr(self, action)(argument)
        for queue in self.session._queues.values():
            # An empty queue takes a task as large as all its batches, even if these are small now.
            waiting = [batch.size for batch in queue._queue._batches]
            max_batches = self.options.max_enqueued_batches
            assert len(waiting) <= max_batches or sum(waiting[:-1]) < queue.max_task_size
            assert queue.scheduling_capacity >= 0
            head = queue.head_locked
            if head is not None:  # nothing waits for more than its timeout
                waits_until = head.started_secs + self.options.batch_timeout_secs
                assert queue.due_secs_locked <= waits_until

    def submit(self, submission):
        num_rows, is_ragged, deadline_secs = submission
        inputs = self.new_inputs(num_rows, is_ragged)
        dense = self.session._dense_queue
        has_room = is_ragged or dense._queue.has_room(num_rows or 1)
        try:
            future = self.session.submit(inputs, timeout_secs=0, deadline_secs=deadline_secs)
        except UnavailableError:
            assert is_ragged or not has_room
            self.refused_rows.update(inputs["row"].tolist())
        except InvalidArgumentError:
            assert num_rows > dense.max_task_size
            self.refused_rows.update(inputs["row"].tolist())
        else:
            assert has_room
            deadline = np.inf if deadline_secs is None else self.clock.now() + deadline_secs
            self.submitted.append(Submitted(inputs, future, deadline))

    def new_inputs(self, num_rows, is_ragged):
        rows = np.arange(self.num_rows, self.num_rows + num_rows)
        self.num_rows += num_rows
        if not is_ragged:
            return {"row": rows}
        values = [[row] * (row * 7 % 11) for row in rows.tolist()]
        return {"row": rows, "values": RaggedArray.from_rows(values, "int64")}

    def cancel(self, index):
        if index < len(self.submitted):
            self.submitted[index].future.cancel()

    def advance(self, secs):
        self.clock.advance(secs)

    def step(self, _):
        due = min(queue.due_secs_locked for queue in self.session._queues.values())
        assert self.scheduler.step() == (due <= self.clock.now())

    def flush(self, _):
        self.session.flush()
        assert all(
            queue.due_secs_locked in {-np.inf, np.inf} for queue in self.session._queues.values()
        )

    def check_answer(self, submitted):
        """Its own rows in order, or an error that it has earned."""
        future, rows = submitted.future, submitted.inputs["row"]
        assert future.done()
        if future.cancelled():
            return
        error = future.exception(0)
        bad = [index for index, row in enumerate(rows.tolist()) if self.is_bad(row)]
        if isinstance(error, DeadlineExceededError):
            assert submitted.deadline <= self.clock.now()
        elif not bad:
            self.check_outputs(submitted, future.result(0), bad)
        elif len(rows) == 1:
            assert str(error) == "bad"
        else:
            assert isinstance(error, RowErrors)
            assert list(error.errors) == bad
            self.check_outputs(submitted, error.outputs, bad)

    def check_outputs(self, submitted, outputs, bad):
        good = np.delete(np.arange(len(submitted.inputs["row"])), bad)
        if not len(good) and bad:
            assert outputs == {}
            return
        assert np.array_equal(outputs["row"], submitted.inputs["row"][good])
        if "values" in submitted.inputs:
            expected = submitted.inputs["values"].take(good)
            assert rows_of(outputs["values"]) == rows_of(expected)

    def check_statistics(self):
        """No call and no row is counted twice, and none is left out."""
        statistics = self.session.statistics()
        shapes = statistics.shapes
        runs = Counter({shape: each.num_runs for shape, each in shapes.items()})
        assert statistics.num_runs == len(self.call_sizes)
        assert sum((Counter({rows: n}) for (rows, _), n in runs.items()), Counter()) == Counter(
            self.good_call_sizes
        )
        own_rows = sum(each.num_rows for each in shapes.values())
        assert own_rows + statistics.num_padding_rows == sum(self.good_call_sizes)
        assert own_rows + statistics.num_failed_rows == statistics.num_rows
        assert statistics.num_batches <= statistics.num_runs
        assert statistics.num_rows <= statistics.num_slots


@settings(deadline=None, max_examples=300)
@given(options=queue_options(), trouble=TROUBLE, actions=ACTIONS)
def test_every_task_ends_once_with_its_own_rows(options, trouble, actions):
    """Any order of submissions, splits, cancellations, deadlines, failures, flushes and time."""
    driver = Driver(options, trouble)
    for action in actions:
        driver.do(*action)
    driver.session.close()
    for submitted in driver.submitted:
        driver.check_answer(submitted)
    driver.check_statistics()
    driver.scheduler.close()
