"""Sessions with ragged inputs, deadlines, time limits and other things that a model may need."""

import threading

import numpy as np
import pytest

from servable_core.batching import BatchingSession, QueueOptions
from servable_core.batching.auto_batch_size import CalibrationOptions
from servable_core.batching.batch_runner import RunOptions
from servable_core.batching.batch_sizing import Calibration
from servable_core.batching.length_ladder import LengthLadder
from servable_core.batching.padding import Derivation, DerivedInput, PaddingOptions
from servable_core.batching.ragged_array import RaggedArray
from servable_core.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    ResourceExhaustedError,
    UnavailableError,
)

LADDER = LengthLadder(rungs=(2, 4, 8))


class Echo:
    """Returns `x`, and keeps its inputs."""

    def __init__(self):
        self.inputs = []

    def __call__(self, inputs):
        self.inputs.append(dict(inputs))
        return {"x": inputs["x"]}

    @property
    def shapes(self):
        return [inputs["x"].shape for inputs in self.inputs]


@pytest.fixture
def scheduler(make_scheduler):
    """A scheduler without threads."""
    return make_scheduler()


@pytest.fixture
def make_session(scheduler, clock):
    """Makes sessions whose batches have at most 8 rows and 16 cells, and run in `scheduler.step`."""

    def make(run, *, run_options=None, max_batch_cells=16, calibration=None, **options):
        return BatchingSession(
            run,
            scheduler,
            QueueOptions(**{"max_batch_size": 8, "batch_timeout_secs": 10.0} | options),
            name="m/1",
            run_options=run_options or RunOptions(padding=PaddingOptions(ladder=LADDER)),
            max_batch_cells=max_batch_cells,
            calibration=calibration,
            clock=clock,
        )

    return make


def ragged(*lengths):
    """Returns rows of these lengths, each full of its own length."""
    return {"x": RaggedArray.from_rows([[length] * length for length in lengths], "int64")}


def rows_of(outputs):
    return [outputs.row(index).tolist() for index in range(len(outputs))]


def test_rows_run_with_rows_of_about_their_length(make_session):
    """One queue for each rung, whoever submitted them; results in the order of submission."""
    model = Echo()
    padding = PaddingOptions(ladder=LADDER, ragged_outputs=frozenset({"x"}))
    session = make_session(model, run_options=RunOptions(padding=padding))
    futures = [session.submit(ragged(*lengths)) for lengths in ([1, 7, 2], [8, 0], [3])]
    session.close()
    # A tail becomes an eighth of a batch, or all of it: of four rows, one, and of eight, eight.
    assert sorted(model.shapes) == [(1, 4), (2, 8), (8, 2)]
    outputs = [future.result(0)["x"] for future in futures]
    assert [rows_of(each) for each in outputs] == [
        [[1], [7] * 7, [2] * 2],
        [[8] * 8, []],
        [[3] * 3],
    ]


def test_batch_is_full_when_its_cells_are(make_session, scheduler):
    """Four rows of four; the fifth waits for the next."""
    model = Echo()
    session = make_session(model)
    futures = [session.submit(ragged(3)) for _ in range(5)]
    assert scheduler.step()
    assert not scheduler.step()
    assert model.shapes == [(4, 4)]
    assert [future.done() for future in futures] == [True] * 4 + [False]
    session.close()


def test_row_longer_than_a_batch_runs_alone(make_session):
    """Cells bound batches, not rows."""
    model = Echo()
    session = make_session(model)
    session.submit(ragged(20, 20))
    session.close()
    assert model.shapes == [(1, 24), (1, 24)]


@pytest.mark.parametrize("value", [b"word", "word"], ids=["bytes", "text"])
def test_rows_of_strings(make_session, value):
    """Bytes in objects and fixed-width text are padded with the empty string."""
    model = Echo()
    session = make_session(model)
    dtype = "object" if isinstance(value, bytes) else "U4"
    future = session.submit({"x": RaggedArray.from_rows([[value], [], [value] * 2], dtype)})
    session.close()
    empty = value[:0]
    assert future.result(0)["x"].tolist() == [[value, empty], [empty, empty], [value, value]]


def test_derived_inputs_and_outputs_cut_again(make_session):
    """The model sees a mask, and the caller rows of their own lengths, those of length 0 too."""
    model = Echo()
    mask = DerivedInput(name="mask", of="x", derivation=Derivation.MASK, dtype="int64")
    padding = PaddingOptions(ladder=LADDER, derived=(mask,), ragged_outputs=frozenset({"x"}))
    session = make_session(model, run_options=RunOptions(padding=padding))
    future = session.submit(ragged(0, 5, 1))
    session.close()
    outputs = future.result(0)
    assert rows_of(outputs["x"]) == [[], [5] * 5, [1]]
    for inputs in model.inputs:
        assert np.array_equal(inputs["mask"], inputs["x"] > 0)


def test_no_ragged_rows_run_once(make_session):
    """With the shape of the first rung."""
    model = Echo()
    session = make_session(model)
    future = session.submit(ragged())
    session.close()
    assert model.shapes == [(0, 2)]
    assert future.result(0)["x"].shape == (0, 2)


def test_dense_and_ragged_rows_do_not_meet(make_session):
    """A session may have both."""
    model = Echo()
    session = make_session(model)
    futures = [session.submit(each) for each in (ragged(2), {"x": np.array([[5, 5]])}, ragged(1))]
    session.close()
    assert [future.result(0)["x"].tolist() for future in futures] == [[[2, 2]], [[5, 5]], [[1, 0]]]
    assert len(model.inputs) == 2


def test_submission_that_finds_no_room_leaves_nothing_behind(make_session, scheduler):
    """Its parts for other lengths, which had room, do not run; others in their batch do."""
    model = Echo()
    session = make_session(model, max_enqueued_batches=1, batch_timeout_secs=0.0)
    full = session.submit(ragged(8, 8))
    with pytest.raises(UnavailableError):
        session.submit(ragged(1, 8), timeout_secs=0)
    other = session.submit(ragged(2))
    session.close()
    assert [full.result(0)["x"].shape, other.result(0)["x"].tolist()] == [(2, 8), [[2, 2]]]
    assert sorted(model.shapes) == [(1, 2), (2, 8)]
    assert session.statistics().num_rejections == 1
    assert session.statistics().num_dropped == 1


def test_timeout_is_that_of_all_parts_together(make_session, scheduler, clock):
    """A submission whose parts wait for room in turn does not wait longer for it."""
    session = make_session(Echo(), max_enqueued_batches=1)
    session.submit(ragged(*[4] * 4))
    session.submit(ragged(*[8] * 2))
    errors = []

    def submit():
        try:
            session.submit(ragged(4, 8), timeout_secs=5.0)
        except DeadlineExceededError as error:
            errors.append(error)

    thread = threading.Thread(target=submit)
    thread.start()
    clock.block_until(lambda deadlines: deadlines == [1005.0])
    clock.advance(3.0)
    assert scheduler.step()  # room for the first part; the second still waits
    line = session._queues[8]._line
    clock.block_until(lambda deadlines: bool(line) and deadlines == [1005.0])
    clock.advance(2.0)
    thread.join(10)
    assert len(errors) == 1
    session.close()


def test_closed_session_adds_no_queues(make_session, scheduler):
    """A length that was never seen is no way around the end."""
    session = make_session(Echo())
    session.submit(ragged(2))
    session.close()
    for inputs in [ragged(2), ragged(8), {"x": np.zeros(1)}]:
        with pytest.raises(FailedPreconditionError, match=r"before the (session|queue) is closed"):
            session.submit(inputs)
    assert "num_queues=0" in repr(scheduler)


def test_expired_task_is_dropped_alone(make_session, scheduler, clock):
    """The rows that share its batch run, and the statistics tell."""
    model = Echo()
    session = make_session(model)
    late = session.submit({"x": np.array([1, 2])}, deadline_secs=10.0)
    other = session.submit({"x": np.array([3])}, deadline_secs=10.5)
    clock.advance(10.0)
    assert scheduler.step()
    assert model.shapes == [(1,)]
    assert other.result(0)["x"].tolist() == [3]
    with pytest.raises(DeadlineExceededError, match="waited 10 s for its batch"):
        late.result(0)
    assert session.statistics().num_dropped == 1


def test_hanging_call_fails_its_tasks_while_others_go_on(make_scheduler, clock):
    """Its futures end with the stacks; what it returns in the end is dropped."""
    hangs, go_on = threading.Event(), threading.Event()

    def run(inputs):
        if inputs["x"][0] == 13:
            hangs.set()
            assert go_on.wait(60)
        return {"y": inputs["x"]}

    session = BatchingSession(
        run,
        make_scheduler(2),
        QueueOptions(max_batch_size=2),
        name="m/1",
        run_options=RunOptions(timeout_secs=30.0),
        clock=clock,
    )
    stuck = session.submit({"x": np.array([13, 1])})
    assert hangs.wait(10)
    clock.block_until(lambda deadlines: 1030.0 in deadlines)
    clock.advance(30.0)
    with pytest.raises(
        DeadlineExceededError, match=r"2 rows took longer than 30 s[\s\S]*go_on\.wait"
    ):
        stuck.result(10)
    assert session.submit({"x": np.array([2])}).result(10)["y"].tolist() == [2]
    go_on.set()
    session.close()
    assert isinstance(stuck.exception(0), DeadlineExceededError)


def test_unbatched_inputs_and_outputs(make_session):
    """Tasks that differ in them share no call; every task gets such an output whole."""
    model = Echo()

    def run(inputs):
        return model(inputs) | {"vocabulary": np.arange(3)}

    options = RunOptions(
        unbatched_inputs=frozenset({"k"}), unbatched_outputs=frozenset({"vocabulary"})
    )
    session = make_session(run, run_options=options)
    tasks = [{"x": np.full(n, n), "k": np.int32(k)} for n, k in [(3, 1), (2, 2), (9, 1)]]
    futures = [session.submit(task) for task in tasks]
    session.close()
    for future, task in zip(futures, tasks, strict=True):
        assert future.result(0)["x"].tolist() == task["x"].tolist()
        assert future.result(0)["vocabulary"].tolist() == [0, 1, 2]
    assert all(inputs["k"].shape == () for inputs in model.inputs)


def test_batches_are_padded_to_allowed_sizes(make_session):
    """With rows that are there already; nobody sees their outputs."""
    model = Echo()
    session = make_session(model, allowed_batch_sizes=(2, 8))
    futures = [session.submit({"x": np.array(rows)}) for rows in ([1, 2, 3], [4] * 6)]
    session.close()
    assert [future.result(0)["x"].tolist() for future in futures] == [[1, 2, 3], [4] * 6]
    assert [inputs["x"].tolist() for inputs in model.inputs] == [[1, 2, 3] + [4] * 5, [4, 4]]
    assert session.statistics().num_padding_rows == 1


def test_padding_that_memory_does_not_allow_is_left_out(make_session):
    """A row is not lost because its batch was padded."""

    def run(inputs):
        if len(inputs["x"]) > 3:
            raise ResourceExhaustedError("no memory")
        return dict(inputs)

    session = make_session(run, allowed_batch_sizes=(8,))
    futures = [session.submit({"x": np.array(rows)}) for rows in ([1], [2, 3, 4, 5, 6])]
    session.close()
    assert [future.result(0)["x"].tolist() for future in futures] == [[1], [2, 3, 4, 5, 6]]
    assert session.batch_size <= 3


def test_batches_that_memory_halves_keep_to_the_allowed_sizes(make_session):
    """They may be the only shapes that the model is compiled for."""
    sizes = []

    def run(inputs):
        sizes.append(len(inputs["x"]))
        if len(inputs["x"]) > 3:
            raise ResourceExhaustedError("no memory")
        return dict(inputs)

    session = make_session(run, allowed_batch_sizes=(1, 2, 8))
    future = session.submit({"x": np.arange(6)})
    session.close()
    assert future.result(0)["x"].tolist() == [0, 1, 2, 3, 4, 5]
    assert sizes == [8, 2, 2, 2]


def test_batch_size_is_found_on_the_way(make_session, scheduler, clock):
    """A call costs a second, whatever its rows: the largest size is best, and is kept."""
    options = CalibrationOptions(
        window_secs=0.0, window_batches=2, num_windows=1, num_settling_batches=1
    )

    def run(inputs):
        clock.advance(1.0)
        return dict(inputs)

    session = make_session(run, calibration=Calibration(sizes=(2, 4, 8), first=2, options=options))
    assert session.batch_size == 2
    for _ in range(25):
        session.submit({"x": np.zeros(session.batch_size)})
        assert scheduler.step()
    report = session.statistics().batch_size
    assert (report.size, report.is_frozen) == (8, True)
    assert report.curve == pytest.approx({2: 2.0, 4: 4.0, 8: 8.0})
    assert session.batch_size == 8
    session.close()


def test_short_memory_makes_batches_smaller(scheduler, clock):
    """Rows that wait already run in smaller calls, and later batches have as many."""
    model = Echo()
    session = BatchingSession(
        model,
        scheduler,
        QueueOptions(max_batch_size=8),
        name="m/1",
        is_memory_short=lambda: len(model.inputs) == 1,
        clock=clock,
    )
    for _ in range(3):
        session.submit({"x": np.zeros(8)})
        clock.advance(1.0)
        assert scheduler.step()
    assert model.shapes == [(8,), (4,), (4,), (4,)]
    session.close()
    assert model.shapes == [(8,)] + [(4,)] * 4
    assert session.statistics().ceiling == session.batch_size == 4


def test_oldest_rows_are_hurried_while_nothing_else_runs(make_session, scheduler, clock):
    """One after the other, those that waited when they were asked for; no timeout passes."""
    model = Echo()
    session = make_session(model)
    for lengths in [(4,), (2,), (8, 8)]:  # the last one is a full batch
        session.submit(ragged(*lengths))
        clock.advance(0.1)
    session.flush_oldest()
    clock.advance(0.1)
    session.submit(ragged(3, 8))  # 3 joins the 4; nobody waits for the 8
    while scheduler.step():
        pass
    assert [shape[1] for shape in model.shapes] == [8, 4, 2]
    session.flush_oldest()
    assert scheduler.step()
    assert model.shapes[-1][1] == 8


def test_rows_hurried_once_leave_later_ones_their_time(make_session, scheduler, clock):
    """Whoever waited has got what he waited for."""
    session = make_session(Echo())
    first = session.submit(ragged(4))
    session.flush_oldest()
    assert scheduler.step()
    assert first.done()
    session.submit(ragged(4))
    assert not scheduler.step()
    clock.advance(10.0)
    assert scheduler.step()
