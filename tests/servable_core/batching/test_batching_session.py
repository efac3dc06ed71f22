"""Sessions: rows in, the same rows' outputs back, whatever shared their batch."""

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest

from servable_core.batching import (
    BatchingSession,
    BatchingStatistics,
    QueueOptions,
    SharedBatchScheduler,
    SharedBatchSchedulerOptions,
)
from servable_core.batching.auto_batch_size import CalibrationOptions
from servable_core.batching.batch_runner import RunOptions
from servable_core.batching.batch_sizing import Calibration
from servable_core.batching.batching_statistics import ShapeStatistics
from servable_core.batching.padding import Derivation, DerivedInput, PaddingOptions
from servable_core.batching.row_errors import RowErrors
from servable_core.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)


class Model:
    """Doubles `x`, keeps what it was given, and fails on rows of -1."""

    def __init__(self, clock=None):
        self.clock = clock
        self.inputs = []

    def __call__(self, inputs):
        self.inputs.append(inputs)
        if self.clock:
            self.clock.advance(0.5)
        if (inputs["x"] == -1).any():
            raise RuntimeError("poison")
        return {"y": inputs["x"] * 2}

    @property
    def num_rows(self):
        return [len(inputs["x"]) for inputs in self.inputs]


class Column:
    """Not numpy: a list with a shape and slices."""

    def __init__(self, values):
        self.values = values
        self.shape = (len(values),)

    def __getitem__(self, rows):
        return Column(self.values[rows])


@pytest.fixture
def scheduler(make_scheduler):
    """A scheduler without threads."""
    return make_scheduler()


@pytest.fixture
def make_session(scheduler, clock):
    """Makes sessions whose batches have four rows and run in `scheduler.step`."""

    def make(run, *, concat=np.concatenate, run_options=RunOptions(), **options):  # noqa: B008
        options = QueueOptions(**{"max_batch_size": 4, "batch_timeout_secs": 10.0} | options)
        return BatchingSession(
            run,
            scheduler,
            options,
            name="m/1",
            run_options=run_options,
            concat=concat,
            clock=clock,
        )

    return make


def rows(*values):
    return {"x": np.array(values, np.float32)}


def test_tasks_share_a_batch_and_get_views_of_their_own_rows(make_session, scheduler):
    """Two tasks, one model call, outputs cut without copying."""
    model = Model()
    session = make_session(model)
    first, second = session.submit(rows(1, 2)), session.submit(rows(3, 4))
    assert scheduler.step()
    assert model.num_rows == [4]
    assert first.result(0)["y"].tolist() == [2, 4]
    assert second.result(0)["y"].tolist() == [6, 8]
    assert first.result(0)["y"].base is second.result(0)["y"].base is not None


def test_single_task_is_passed_through(make_session):
    """A batch of one task is neither copied on the way in nor on the way out."""
    output = np.ones(3, np.float32)
    seen = []
    session = make_session(lambda inputs: seen.append(inputs) or {"y": output})
    inputs = rows(1, 2, 3)
    future = session.submit(inputs)
    session.close()
    assert seen[0]["x"] is inputs["x"]
    assert future.result(0)["y"] is output


def test_split_task_is_joined_in_order(make_session, scheduler):
    """A task over three batches comes back as one."""
    model = Model()
    session = make_session(model)
    small, large = session.submit(rows(100)), session.submit(rows(*range(9)))
    session.close()
    assert model.num_rows == [4, 4, 2]
    assert small.result(0)["y"].tolist() == [200]
    assert large.result(0)["y"].tolist() == [2 * value for value in range(9)]


def test_bad_row_of_a_part_leaves_all_others_to_the_task(make_session):
    """The error names the row by its place in the submission, and has the other rows' outputs."""
    session = make_session(Model())
    future = session.submit(rows(0, 1, 2, 3, -1, 5, 6, 7, 8, 9))
    after = session.submit(rows(10))
    session.close()
    error = future.exception(0)
    assert isinstance(error, RowErrors)
    assert str(error) == "1 of 10 rows failed; row 4: poison"
    assert {row: str(each) for row, each in error.errors.items()} == {4: "poison"}
    assert error.outputs["y"].tolist() == [0, 2, 4, 6, 10, 12, 14, 16, 18]
    assert after.result(0)["y"].tolist() == [20]


def test_first_bad_row_ends_the_task_where_not_all_are_wanted(make_session):
    """Parts that come later do not run, and of the rows behind it none; neighbours are not touched."""
    model = Model()
    session = make_session(model, run_options=RunOptions(isolates_all_rows=False))
    future = session.submit(rows(0, 1, 2, 3, 4, -1, 6, 7, 8, 9))
    after = session.submit(rows(10))
    session.close()
    error = future.exception(0)
    assert (list(error.errors), error.outputs) == ([5], None)
    assert str(error) == "a row failed; row 5: poison"
    assert after.result(0)["y"].tolist() == [20]
    assert model.num_rows == [4, 4, 2, 1, 1]


def test_parts_that_fail_together_fail_the_task_once(make_scheduler, caplog):
    """Two parts fail on two threads: one error reaches the future, and none the batch threads."""
    both_run = threading.Barrier(2, timeout=60)

    def run(inputs):
        both_run.wait()
        raise UnavailableError("out of reach")  # not for any row's fault

    options = QueueOptions(max_batch_size=4)
    with BatchingSession(run, make_scheduler(2), options, name="m/1") as session:
        future = session.submit(rows(*range(8)))
    assert str(future.exception(0)) == "out of reach"
    assert not caplog.records


def test_parts_that_cannot_be_joined_fail_the_task(make_session):
    """Parts whose outputs differ in shape are an error in the future, not on the batch thread."""
    session = make_session(lambda inputs: {"y": np.zeros((len(inputs["x"]), len(inputs["x"])))})
    future = session.submit(rows(*range(6)))
    session.close()
    with pytest.raises(FailedPreconditionError, match=r"'y' has rows of shapes \[\(2,\), \(4,\)\]"):
        future.result(0)


def test_error_of_the_model_fails_only_the_task_whose_rows_make_it(make_session):
    """Neighbours in the failed batch get their outputs."""
    session = make_session(Model())
    futures = [session.submit(rows(1, -1)), session.submit(rows(2, 3)), session.submit(rows(4))]
    session.close()
    assert list(futures[0].exception(0).errors) == [1]
    assert futures[0].exception(0).outputs["y"].tolist() == [2]
    assert futures[1].result(0)["y"].tolist() == [4, 6]
    assert futures[2].result(0)["y"].tolist() == [8]


@pytest.mark.parametrize(
    ("output", "shape"),
    [(np.zeros(3), "(3,)"), (np.float32(1), "()"), (np.zeros((1, 2)), "(1, 2)")],
)
def test_output_without_the_batch_as_first_dimension_is_an_error(make_session, output, shape):
    """The message names the output, its shape, the batch and the remedy."""
    session = make_session(lambda inputs: {"y": inputs["x"], "loss": output})
    future = session.submit(rows(1, 2))
    session.close()
    with pytest.raises(FailedPreconditionError) as caught:
        future.result(0)
    assert str(caught.value) == (
        f"m/1: output 'loss' has shape {shape} for a batch of 2 rows; outputs need the batch as "
        "first dimension; leave it out with --output_tensors"
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "m/1: inputs must hold at least one array"),
        ({"x": np.float32(1)}, "m/1: input 'x' must be an array with the batch as first dimension"),
        ({"x": [1, 2]}, "m/1: input 'x' must be an array"),
        ({"x": np.zeros(2), "z": np.zeros((3, 1))}, r"\{'x': \(2,\), 'z': \(3, 1\)\}"),
        ({"x": np.zeros(41)}, "at most 40 rows .* got 41"),
    ],
)
def test_malformed_inputs_are_errors_of_submit(make_session, inputs, message):
    """What can never run is refused at once."""
    with pytest.raises(InvalidArgumentError, match=message):
        make_session(Model()).submit(inputs)


def test_inputs_are_derived_where_nothing_is_ragged(make_session):
    """The mask of an input whose rows are equally long: nothing of it is padding."""
    mask = DerivedInput(name="mask", of="x", derivation=Derivation.MASK, dtype="int64")
    options = RunOptions(padding=PaddingOptions(derived=(mask,)))
    session = make_session(lambda inputs: {"y": inputs["mask"] * inputs["x"]}, run_options=options)
    future = session.submit({"x": np.array([[1, 2], [3, 4]])})
    session.close()
    assert future.result(0)["y"].tolist() == [[1, 2], [3, 4]]


def test_calibration_learns_from_usual_batches(scheduler, clock):
    """Larger batches take as long here, so they do more per second."""
    quick = CalibrationOptions(window_secs=0.0, window_batches=1, num_settling_batches=0)
    session = BatchingSession(
        Model(clock),
        scheduler,
        QueueOptions(max_batch_size=8),
        name="m/1",
        calibration=Calibration(sizes=(2, 4), first=2, options=quick),
        clock=clock,
    )
    for _ in range(20):
        session.submit(rows(*range(session.batch_size)))
        scheduler.step()
    assert session.batch_size == 4
    report = session.statistics().batch_size
    assert (report.is_frozen, report.curve) == (True, {2: 4.0, 4: 8.0})


def test_zero_rows_run_through_the_model(make_session):
    """The outputs of no rows have the model's dtypes and shapes."""
    model = Model()
    session = make_session(model)
    future = session.submit({"x": np.zeros((0, 3), np.float16)})
    session.close()
    assert model.num_rows == [0]
    assert future.result(0)["y"].shape == (0, 3)
    assert future.result(0)["y"].dtype == np.float16


def test_zero_rows_are_run_by_themselves(make_session):
    """Tasks without rows share a call of none, whatever becomes of their neighbours."""
    model = Model()
    session = make_session(model)
    futures = [session.submit(rows(*values)) for values in ([-1], [], [], [-1])]
    session.close()
    assert [futures[index].result(0)["y"].tolist() for index in (1, 2)] == [[], []]
    assert [str(futures[index].exception(0)) for index in (0, 3)] == ["poison", "poison"]
    assert model.num_rows.count(0) == 1


def test_tasks_of_other_layouts_run_by_themselves(make_session):
    """Names, dtypes and inner shapes decide who is merged, so neighbours change no numbers."""
    model = Model()
    session = make_session(model, max_batch_size=10)
    inputs = [
        {"x": np.ones(1, np.float32)},
        {"x": np.ones(1, np.float64)},
        {"x": np.ones((1, 2), np.float32)},
        {"x": np.ones(1, np.float32), "z": np.ones(1)},
        {"x": np.ones(2, np.float32)},
    ]
    futures = [session.submit(value) for value in inputs]
    session.close()
    assert model.num_rows == [3, 1, 1, 1]
    assert [future.result(0)["y"].dtype for future in futures] == [v["x"].dtype for v in inputs]
    assert [future.result(0)["y"].shape for future in futures] == [v["x"].shape for v in inputs]


def test_inputs_may_be_other_arrays(make_session):
    """Anything with a shape and slices is split and joined by the given function."""

    def run(inputs):
        return {"length": np.array([len(value) for value in inputs["s"].values])}

    def concat(columns):
        return Column([value for column in columns for value in column.values])

    session = make_session(run, concat=concat)
    futures = [session.submit({"s": Column(v)}) for v in (["a"], ["bb", "ccc", "", "dd", "e"])]
    session.close()
    assert [f.result(0)["length"].tolist() for f in futures] == [[1], [2, 3, 0, 2, 1]]


def test_cancelled_task_is_dropped_before_the_run(make_session, scheduler):
    """A cancelled future costs the model nothing, whole or in parts; a batch of only such does not run."""
    model = Model()
    session = make_session(model)
    futures = [session.submit(rows(*values)) for values in ([1], [2, 3], range(9), [4])]
    assert [futures[0].cancel(), futures[2].cancel()] == [True, True]
    session.close()
    assert model.num_rows == [2, 1]
    assert futures[1].result(0)["y"].tolist() == [4, 6]
    assert futures[0].cancelled()
    assert futures[2].cancelled()


def test_started_task_cannot_be_cancelled(make_session, scheduler):
    """Once a part runs, the whole task does."""
    session = make_session(Model())
    future = session.submit(rows(*range(6)))
    assert scheduler.step()
    assert not future.cancel()
    session.close()
    assert len(future.result(0)["y"]) == 6


def test_unmerged_tasks_run_alone(make_session):
    """Without merging, calls depend on the submissions only."""
    model = Model()
    session = make_session(model, merge_tasks=False)
    futures = [session.submit(rows(*values)) for values in ([1], [2], range(6))]
    session.close()
    assert model.num_rows == [1, 1, 4, 2]
    assert futures[2].result(0)["y"].tolist() == [0, 2, 4, 6, 8, 10]


def test_full_session_is_unavailable(make_session):
    """Back-pressure is the queue's."""
    session = make_session(Model(), max_enqueued_batches=1)
    session.submit(rows(1, 2, 3, 4))
    with pytest.raises(UnavailableError):
        session.submit(rows(5), timeout_secs=0)


def test_closed_session_takes_nothing(make_session):
    """Leaving the context finishes what was submitted and refuses the rest."""
    with make_session(Model()) as session:
        future = session.submit(rows(1))
    assert future.result(0)["y"].tolist() == [2]
    with pytest.raises(FailedPreconditionError):
        session.submit(rows(1))
    assert repr(session).startswith("BatchingSession('m/1', [SharedBatchQueue(num_tasks=0")


def test_flush_runs_what_waits(make_session, scheduler):
    """An underfull batch runs after flush."""
    session = make_session(Model())
    future = session.submit(rows(1))
    assert not scheduler.step()
    session.flush()
    assert scheduler.step()
    assert future.done()


def test_statistics_add_up(make_session, scheduler, clock):
    """Calls, rows, times in the queue and in the model; failed calls and what they led to count too."""
    session = make_session(Model(clock))
    assert session.statistics().mean_batch_size == 0.0
    session.submit(rows(1, 2, 3))
    clock.advance(2.0)
    session.submit(rows(4))
    assert scheduler.step()
    session.submit(rows(-1, 0, 0, 0))
    assert scheduler.step()
    # The second batch: four rows fail, two, one; the three behind it do not.
    assert session.statistics() == BatchingStatistics(
        num_batches=2,
        num_runs=5,
        num_extra_runs=3,
        num_rows=8,
        num_slots=8,
        num_tasks=3,
        num_failed_rows=1,
        run_secs=2.5,
        queue_secs=2.0,
        max_queue_secs=2.0,
        shapes={
            (4, 0): ShapeStatistics(num_runs=1, num_rows=4, run_secs=0.5),
            (3, 0): ShapeStatistics(num_runs=1, num_rows=3, run_secs=0.5),
        },
    )
    assert session.statistics().mean_batch_size == 4.0
    assert session.statistics().fill == 1.0


def test_run_waits_for_its_outputs(make_scheduler, clock):
    """With threads, `run` is submit and result in one."""
    options = QueueOptions(max_batch_size=4)
    session = BatchingSession(Model(), make_scheduler(1), options, name="m/1", clock=clock)
    assert session.run(rows(1, 2))["y"].tolist() == [2, 4]
    with pytest.raises(RuntimeError, match="poison"):
        session.run(rows(-1))


def test_many_threads_get_their_own_rows():
    """Eight clients, four batch threads, tasks whole and split: every row comes back to its caller."""
    options = QueueOptions(max_batch_size=16, batch_timeout_secs=0.001, max_enqueued_batches=4)

    def client(session, seed):
        sizes = np.random.default_rng(seed).integers(0, 50, 100)
        inputs = [{"x": seed * 1e6 + np.arange(n) + 100.0 * i} for i, n in enumerate(sizes)]
        futures = [session.submit(value) for value in inputs]
        return [
            np.array_equal(future.result(60)["y"], value["x"] * 2)
            for future, value in zip(futures, inputs, strict=True)
        ]

    with (
        SharedBatchScheduler(SharedBatchSchedulerOptions(num_batch_threads=4)) as scheduler,
        BatchingSession(Model(), scheduler, options, name="m/1") as session,
        ThreadPoolExecutor(8) as pool,
    ):
        results = list(pool.map(client, [session] * 8, range(8)))
    assert np.all(results)
    assert session.statistics().num_rows == sum(
        int(np.random.default_rng(seed).integers(0, 50, 100).sum()) for seed in range(8)
    )


def test_rows_that_exhaust_memory_fail_where_they_may_not_be_halved():
    """Where it matters which rows are computed together, others must not decide that."""

    def run(inputs):
        raise ResourceExhaustedError("out of memory")

    options = QueueOptions(max_batch_size=8)
    with (
        SharedBatchScheduler(SharedBatchSchedulerOptions(num_batch_threads=0)) as scheduler,
        BatchingSession(
            run,
            scheduler,
            options,
            name="m",
            run_options=RunOptions(halves_on_exhaustion=False),
        ) as session,
    ):
        future = session.submit({"x": np.zeros(8)})
        scheduler.step()
        with pytest.raises(FailedPreconditionError, match="8 rows exhaust memory, and may not"):
            future.result(0)
        assert session.statistics().num_runs == 1


@pytest.mark.parametrize("options", [{}, {"allowed_batch_sizes": (2, 4)}], ids=["usual", "padded"])
def test_what_exhausted_memory_is_gone_when_less_is_tried(make_session, options):
    """A call that fails leaves nothing behind, or the next one could not have what it needs."""
    held = []

    def run(inputs):
        assert [each() for each in held] == [None] * len(held)
        intermediate = inputs["x"] * 2
        held.append(weakref.ref(intermediate))
        if len(intermediate) > 1:
            raise MemoryError
        return {"y": intermediate + 1}

    session = make_session(run, **options)
    future = session.submit(rows(1, 2, 3, 4))
    session.close()
    assert future.result(0)["y"].tolist() == [3, 5, 7, 9]
    assert len(held) > 5


def test_input_without_a_batch_dimension_must_be_an_array(make_session):
    """Told to the one who submits it, and not to its neighbours."""
    session = make_session(Model(), run_options=RunOptions(unbatched_inputs=frozenset({"k"})))
    with pytest.raises(InvalidArgumentError, match=r"m/1: input 'k' must be an array, got"):
        session.submit(rows(1) | {"k": [[1], [1, 2]]})
    assert session.submit(rows(1) | {"k": [[1], [1]]})


def test_tasks_that_cannot_be_compared_fail(make_session, scheduler):
    """Whatever goes wrong before the model is called, nobody waits for ever."""
    session = make_session(Model(), run_options=RunOptions(unbatched_inputs=frozenset({"k"})))
    objects = [np.array([np.ones(2), None], object) for _ in range(2)]
    futures = [session.submit(rows(1, 2) | {"k": each}) for each in objects]
    scheduler.step()
    for future in futures:
        assert isinstance(future.exception(0), ValueError)


def test_callback_that_ends_the_thread_does_not_take_neighbours_along(make_session, scheduler):
    """`SystemExit` is no `Exception`: futures do not keep it back."""

    def leave(_):
        raise SystemExit

    session = make_session(Model())
    first, second = session.submit(rows(1, 2)), session.submit(rows(3, 4))
    first.add_done_callback(leave)
    scheduler.step()
    assert first.result(0)["y"].tolist() == [2, 4]
    assert isinstance(second.exception(0), SystemExit)


def _leave(_future):
    raise SystemExit


def test_callback_of_a_late_task_does_not_take_neighbours_along(make_session, scheduler, clock):
    """It runs while the tasks are claimed: those before and behind it come to an end, too."""
    session = make_session(Model())
    before = session.submit(rows(1))
    late = session.submit(rows(2), deadline_secs=1.0)
    behind = session.submit(rows(3))
    late.add_done_callback(_leave)
    clock.advance(20)
    assert scheduler.step()
    assert isinstance(late.exception(0), DeadlineExceededError)
    assert before.done()
    assert behind.done()


def test_callbacks_that_all_end_the_thread_end_no_wait(make_session, scheduler):
    """Also where failing a task makes its callback raise."""
    session = make_session(Model())
    futures = [session.submit(rows(value)) for value in range(4)]
    for future in futures:
        future.add_done_callback(_leave)
    assert scheduler.step()
    assert all(future.done() for future in futures)


@pytest.mark.parametrize("options", [{}, {"allowed_batch_sizes": (4,)}], ids=["usual", "padded"])
@pytest.mark.parametrize("outputs", [None, 1.5, {"y": [1, 2, 3]}, {"y": None}])
def test_outputs_that_are_no_arrays_are_an_error_at_once(make_session, outputs, options):
    """Of the model, and of no row: it is not run again."""
    calls = []
    session = make_session(lambda inputs: calls.append(inputs) or outputs, **options)
    future = session.submit(rows(1, 2, 3))
    session.close()
    with pytest.raises(FailedPreconditionError, match=r"m/1: .*output"):
        future.result(0)
    assert len(calls) == 1


def test_queue_ends_with_the_last_of_two_targets(make_session, scheduler):
    """Two threads learn of smaller batches; the one with the older news comes last to the queue."""
    session = make_session(Model(), max_batch_size=64)
    queue, set_target = session._dense_queue, session._dense_queue.set_target_batch_size
    is_first, may_go_on, targets = threading.Event(), threading.Event(), []

    def slow_for_the_first(num_rows):
        if not is_first.is_set():
            is_first.set()
            assert may_go_on.wait(20)
        targets.append(num_rows)
        set_target(num_rows)

    queue.set_target_batch_size = slow_for_the_first
    for _ in range(2):
        session.submit({"x": np.zeros(64, np.float32)})
    session._sizing.note_ceiling(0, 32)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(scheduler.step)
        assert is_first.wait(20)
        session._sizing.note_ceiling(0, 16)
        second = pool.submit(scheduler.step)
        wait([second], 0.2)  # it is done, or waits for the first
        may_go_on.set()
        assert first.result(20)
        assert second.result(20)
    assert targets[-1] == 16
