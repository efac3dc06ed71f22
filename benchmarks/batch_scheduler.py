"""What batching costs: `BatchingSession` beside a plain queue scheduler, in turns.

    python -m benchmarks.batch_scheduler

Prints two tables. The first is what a task of one row costs from submission to result, with a model
that returns its inputs: wall-clock time over the number of tasks. The second is the share of a batch
thread's time that is not spent in the model, for tasks of 4,096 rows: of the tabular workload, whose
network takes less than a millisecond for them, and of Examples, which it has to parse.
"""

import argparse
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, Protocol

import numpy as np

from benchmarks import loop, machine, workloads
from benchmarks.queue_scheduler import QueueScheduler
from servable_core.batching import (
    Batch,
    BatchingSession,
    QueueOptions,
    SessionTask,
    SharedBatchScheduler,
    SharedBatchSchedulerOptions,
    TaskFuture,
)

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

NUM_BATCH_THREADS = 2
TASK_ROWS = 4096
TASKS_AHEAD = 8


class Pending(Protocol):
    """What `submit` returns."""

    def result(self) -> Any:
        """Waits for the outputs."""


Inputs = Mapping[str, np.ndarray]
Run = Callable[[Inputs], Inputs]
Submit = Callable[[Inputs], Pending]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to use a scheduler.

    Attributes:
        task_rows: Rows of each task.
        batch_tasks: Tasks of a full batch.
        batch_timeout_secs: How long a batch waits to be full.
        num_batch_threads: Threads that call the model.
    """

    task_rows: int = 1
    batch_tasks: int = 1
    batch_timeout_secs: float = 0.0
    num_batch_threads: int = NUM_BATCH_THREADS


@contextmanager
def batching_session(run: Run, case: Case) -> Iterator[Submit]:
    """Opens this project's scheduler."""
    threads = SharedBatchSchedulerOptions(num_batch_threads=case.num_batch_threads)
    scheduler: SharedBatchScheduler[SessionTask]
    options = QueueOptions(
        max_batch_size=case.task_rows * case.batch_tasks, batch_timeout_secs=case.batch_timeout_secs
    )
    with (
        SharedBatchScheduler(threads) as scheduler,
        BatchingSession(run, scheduler, options, name="benchmark") as session,
    ):
        yield session.submit


class Task:
    """A row on its way, without all that a session adds: checks, layouts, merging, splitting."""

    __slots__ = ("future", "inputs")
    size = 1

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.future: TaskFuture[Inputs] = TaskFuture()


@contextmanager
def shared_batch_scheduler(run: Run, case: Case) -> Iterator[Submit]:
    """Opens the scheduler under the session, which does what the plain one does."""
    threads = SharedBatchSchedulerOptions(num_batch_threads=case.num_batch_threads)
    options = QueueOptions(
        max_batch_size=case.batch_tasks,
        batch_timeout_secs=case.batch_timeout_secs,
        enable_large_batch_splitting=False,
    )

    def process(batch: Batch[Task]) -> None:
        for task in batch.tasks:
            task.future.set_result(run(task.inputs))

    def submit(inputs: Inputs) -> Pending:
        task = Task(inputs)
        queue.schedule(task)
        return task.future

    scheduler: SharedBatchScheduler[Task]
    with SharedBatchScheduler(threads) as scheduler:
        queue = scheduler.add_queue(options, process)
        yield submit


@contextmanager
def queue_scheduler(run: Run, case: Case) -> Iterator[Submit]:
    """Opens the plain one, which hands the model one task after the other."""
    scheduler = QueueScheduler(
        lambda tasks: [run(task) for task in tasks],
        max_batch_tasks=case.batch_tasks,
        batch_timeout_secs=case.batch_timeout_secs,
        num_threads=case.num_batch_threads,
    )
    try:
        yield scheduler.submit
    finally:
        scheduler.close()


Scheduler = Callable[[Run, Case], AbstractContextManager[Submit]]


def measure_task(scheduler: Scheduler, num_clients: int, case: Case, secs: float) -> float:
    """Returns the wall-clock microseconds for each task that the clients submit and wait for."""
    row = {"x": np.zeros([1, 1], np.float32)}
    with scheduler(lambda inputs: inputs, case) as submit, ThreadPoolExecutor(num_clients) as pool:
        start = time.perf_counter()
        client = partial(submit_and_wait, submit, row, start + secs)
        num_tasks = sum(pool.map(lambda _: client(), range(num_clients)))
        return (time.perf_counter() - start) / num_tasks * 1e6


def submit_and_wait(submit: Submit, inputs: Inputs, end: float) -> int:
    """Submits one task after the other until `end`; returns their number."""
    num_tasks = 0
    while time.perf_counter() < end:
        submit(inputs).result()
        num_tasks += 1
    return num_tasks


class TimedModel:
    """A workload's model, and the seconds that were spent in it; for one batch thread."""

    def __init__(self, workload_name: str) -> None:
        workload = workloads.prepared(workload_name)
        self._signature = loop.load_signature(
            workload.model_base_path / "1",
            "serving_default",
            inter_op_threads=machine.usable_cores(),
            intra_op_threads=1,
        )
        self.secs = 0.0

    def __call__(self, inputs: Inputs) -> Inputs:
        """Returns the scores of rows."""
        start = time.perf_counter()
        scores = self._scores(inputs)
        self.secs += time.perf_counter() - start
        return {"score": scores}

    def _scores(self, inputs: Inputs) -> np.ndarray:
        import tensorflow as tf

        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        return np.asarray(self._signature(**tensors)["score"].numpy())


def matrix() -> Inputs:
    """Returns rows for the tabular workload's model."""
    return {"x": np.random.default_rng(5).standard_normal((TASK_ROWS, 32), np.float32)}


def examples() -> Inputs:
    """Returns rows for the Examples workload's model."""
    import tensorflow as tf

    file = str(workloads.prepared("examples").files()[0])
    records = tf.data.TFRecordDataset(file).take(TASK_ROWS).as_numpy_iterator()
    return {"examples": np.array(list(records), dtype=object)}


TASKS = {"tabular": matrix, "examples": examples}


def measure_share(
    scheduler: Scheduler, model: TimedModel, rows: Inputs, tasks_ahead: int, secs: float
) -> float:
    """Returns the share of a batch thread's time outside the model, from the first task to the last."""
    case = Case(task_rows=TASK_ROWS, num_batch_threads=1)
    with scheduler(model, case) as submit:
        submit(rows).result()  # the first call sets TensorFlow up
        start, secs_before = time.perf_counter(), model.secs
        submit_ahead(submit, rows, tasks_ahead, start + secs)
        return 1 - (model.secs - secs_before) / (time.perf_counter() - start)


def submit_ahead(submit: Submit, inputs: Inputs, tasks_ahead: int, end: float) -> None:
    """Keeps `tasks_ahead` tasks under way until `end`, and waits for them all."""
    pending: deque[Pending] = deque()
    while time.perf_counter() < end:
        pending.append(submit(inputs))
        if len(pending) == tasks_ahead:
            pending.popleft().result()
    while pending:
        pending.popleft().result()


def in_turns(
    measure: Callable[[Scheduler], float], rounds: int, own: Scheduler = batching_session
) -> tuple[float, float, float]:
    """Returns the medians of `own` and the plain scheduler, and that of the ratios of each round."""
    samples = [[measure(each) for each in (own, queue_scheduler)] for _ in range(rounds)]
    ours, plain = zip(*samples, strict=True)
    return median(ours), median(plain), median(own / other for own, other in samples)


def task_rows(rounds: int, secs: float) -> Iterator[str]:
    """Yields the lines of the table of tasks of one row."""
    yield "| measured | clients | batch timeout, ms | it, us | queue scheduler, us | ratio |"
    yield "|---|---|---|---|---|---|"
    for name, own in (
        ("SharedBatchScheduler", shared_batch_scheduler),
        ("BatchingSession", batching_session),
    ):
        for num_clients, timeout_secs in ((1, 0.0), (64, 0.0), (64, 0.001)):
            case = Case(batch_tasks=num_clients, batch_timeout_secs=timeout_secs)
            measure = partial(measure_task, num_clients=num_clients, case=case, secs=secs)
            ours, plain, ratio = in_turns(measure, rounds, own)
            figures = f"{ours:,.1f} | {plain:,.1f} | {ratio:.2f}"
            yield f"| {name} | {num_clients} | {timeout_secs * 1e3:g} | {figures} |"


def share_rows(rounds: int, secs: float) -> Iterator[str]:
    """Yields the lines of the table of shares."""
    yield "| workload | tasks under way | BatchingSession | queue scheduler |"
    yield "|---|---|---|---|"
    for name, make_rows in TASKS.items():
        model, rows = TimedModel(name), make_rows()
        for tasks_ahead in (1, TASKS_AHEAD):
            measure = partial(
                measure_share, model=model, rows=rows, tasks_ahead=tasks_ahead, secs=secs
            )
            ours, plain, _ = in_turns(measure, rounds)
            yield f"| {name} | {tasks_ahead} | {ours:.2%} | {plain:.2%} |"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each scheduler")
    parser.add_argument("--secs", type=float, default=1.0, help="length of a turn")
    args = parser.parse_args()
    for fact in machine.facts():
        print(f"- {fact}")
    print("\nWall-clock time per task, tasks of one row, a model that does nothing:\n")
    for line in task_rows(args.rounds, args.secs):
        print(line, flush=True)
    print(f"\nShare of a batch thread's time outside the model, tasks of {TASK_ROWS:,} rows:\n")
    for line in share_rows(args.rounds, args.secs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
