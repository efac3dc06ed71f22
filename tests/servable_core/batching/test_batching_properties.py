"""Whatever happens, every task ends exactly once, with its own rows, within the bounds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from servable_core.batching import (
    BatchingSession,
    QueueOptions,
    SharedBatchScheduler,
    SharedBatchSchedulerOptions,
)
from servable_core.errors import InvalidArgumentError, UnavailableError
from servable_core.testing import FakeClock

OPTIONS = st.builds(
    QueueOptions,
    max_batch_size=st.integers(1, 20),
    batch_timeout_secs=st.sampled_from([0.0, 1.0, 5.0]),
    max_enqueued_batches=st.integers(1, 6),
    enable_large_batch_splitting=st.booleans(),
    merge_tasks=st.booleans(),
)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(1, 50)),
        st.tuples(st.just("cancel"), st.integers(0, 50)),
        st.tuples(st.just("advance"), st.integers(1, 6)),
        st.tuples(st.just("step"), st.just(0)),
        st.tuples(st.just("flush"), st.just(0)),
    ),
    max_size=50,
)


class Driver:
    """Does actions to a session without threads, and checks its bounds after each."""

    def __init__(self, options, clock):
        self.options = options
        self.clock = clock
        self.batch_rows = []
        self.tasks = []
        self.scheduler = SharedBatchScheduler(
            SharedBatchSchedulerOptions(num_batch_threads=0), clock=clock
        )
        self.session = BatchingSession(self.run, self.scheduler, options, name="m", clock=clock)
        self.queue = self.session._queue

    def run(self, inputs):
        self.batch_rows.append(len(inputs["x"]))
        return {"x": inputs["x"]}

    def do(self, action, argument):
        getattr(self, action)(argument)
        assert self.queue._queue.num_batches <= self.options.max_enqueued_batches
        assert self.queue.scheduling_capacity >= 0

    def submit(self, size):
        start = 1000 * len(self.tasks)
        inputs = {"x": np.arange(start, start + size)}
        has_room = self.queue._queue.has_room(size)
        try:
            self.tasks.append((inputs["x"], self.session.submit(inputs, timeout_secs=0)))
        except UnavailableError:
            assert not has_room
        except InvalidArgumentError:
            assert size > self.queue.max_task_size
        else:
            assert has_room

    def cancel(self, index):
        if index < len(self.tasks):
            self.tasks[index][1].cancel()

    def advance(self, secs):
        self.clock.advance(secs)

    def step(self, _):
        due = self.queue.due_secs_locked <= self.clock.now()
        assert self.scheduler.step() == due

    def flush(self, _):
        self.session.flush()
        assert self.queue.due_secs_locked in {-np.inf, np.inf}


@settings(deadline=None, max_examples=300)
@given(options=OPTIONS, actions=ACTIONS)
def test_every_task_ends_once_with_its_own_rows(options, actions):
    """Submissions, splits, cancellations, flushes and time in any order lose and double nothing."""
    driver = Driver(options, FakeClock())
    for action in actions:
        driver.do(*action)
    driver.scheduler.close()
    finished = [(x, future) for x, future in driver.tasks if not future.cancelled()]
    assert all(future.done() for _, future in driver.tasks)
    assert all(np.array_equal(future.result(0)["x"], x) for x, future in finished)
    assert all(rows <= options.max_batch_size for rows in driver.batch_rows)
    assert sum(driver.batch_rows) == sum(len(x) for x, _ in finished)
