"""Tasks in parts: joined in order, answered once, dropped when nobody wants them."""

from concurrent.futures import Future, wait

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.batching.ragged_array import RaggedArray
from servable_core.batching.row_errors import RowErrors
from servable_core.batching.session_task import SessionTask, split_permuted, split_task
from servable_core.errors import DeadlineExceededError, UnavailableError


def task_of(values, **options):
    x = np.asarray(values)
    return SessionTask({"x": x}, len(x), 0.0, Future(), **options)


def run(task, *, bad=()):
    """Finishes a task with the values of its rows, those in `bad` failing."""
    values = task.inputs["x"]
    errors = {i: ValueError(f"bad {v}") for i, v in enumerate(values.tolist()) if v in bad}
    good = np.delete(values, list(errors))
    task.finish({"y": good} if len(good) else {}, errors)


def compositions(data, total):
    """Draws sizes that add up to `total`."""
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, total - 1)), max_size=4)) - {total})
    bounds = [0, *cuts, total]
    return list(np.diff(bounds))


def leaves_of(data, task, depth=0):
    """Cuts a task into parts, some of these again, in order or permuted."""
    rows = task.num_rows
    if rows < 2 or depth == 3 or not data.draw(st.booleans()):
        return [task]
    sizes = compositions(data, rows)
    if data.draw(st.booleans()):
        order = np.array(data.draw(st.permutations(range(rows))))
        parts = split_permuted(task, {"x": task.inputs["x"][order]}, order, sizes)
    else:
        parts = split_task(task, sizes)
    return [leaf for part in parts for leaf in leaves_of(data, part, depth + 1)]


@given(data=st.data(), num_rows=st.integers(1, 30))
def test_parts_of_parts_come_back_in_order(data, num_rows):
    """However a task was cut and permuted, in whatever order its parts end, and whatever rows fail."""
    whole = task_of(range(num_rows))
    bad = data.draw(st.sets(st.integers(0, num_rows - 1)))
    leaves = leaves_of(data, whole)
    assert all(leaf.claim(0.0) for leaf in leaves)
    for leaf in data.draw(st.permutations(leaves)):
        assert not whole.future.done()
        run(leaf, bad=bad)
    good = [row for row in range(num_rows) if row not in bad]
    if not bad:
        assert whole.future.result(0)["y"].tolist() == good
    elif num_rows == 1:
        assert str(whole.future.exception(0)) == "bad 0"
    else:
        error = whole.future.exception(0)
        assert {row: str(e) for row, e in error.errors.items()} == {r: f"bad {r}" for r in bad}
        assert list(error.errors) == sorted(bad)
        assert error.outputs.get("y", np.zeros(0)).tolist() == good


def test_ragged_outputs_are_joined_and_put_in_order():
    """Rows of any length, of parts that were permuted."""
    whole = task_of([0, 1, 2])
    order = np.array([2, 0, 1])
    parts = split_permuted(whole, {"x": whole.inputs["x"][order]}, order, [1, 2])
    parts[1].finish({"y": RaggedArray.from_rows([[], [1]], "int64")}, {})
    parts[0].finish({"y": RaggedArray.from_rows([[2, 2]], "int64")}, {})
    y = whole.future.result(0)["y"]
    assert [y.row(i).tolist() for i in range(3)] == [[], [1], [2, 2]]


def test_unbatched_values_are_not_cut_and_not_joined():
    """Every part gets an input whole; of an output, one is as good as another."""
    whole = SessionTask(
        {"x": np.arange(4), "k": np.arange(3)}, 4, 0.0, Future(), unbatched={"k", "loss"}
    )
    order = np.array([3, 2, 1, 0])
    inputs = {"x": whole.inputs["x"][order], "k": whole.inputs["k"]}
    parts = split_permuted(whole, inputs, order, [2, 2])
    assert [part.inputs["k"].tolist() for part in parts] == [[0, 1, 2]] * 2
    for part in parts:
        part.finish({"y": part.inputs["x"], "loss": np.float32(0.5)}, {})
    outputs = whole.future.result(0)
    assert outputs["y"].tolist() == [0, 1, 2, 3]
    assert outputs["loss"] == 0.5


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_cancelled_task_is_not_claimed(depth):
    """Those who wait for the future are told, too, and only once it is certain."""
    whole = task_of(range(8))
    leaf = whole
    leaves = []
    for _ in range(depth):
        leaf, *others = split_task(leaf, [leaf.num_rows // 2] * 2)
        leaves += others
    assert whole.future.cancel()
    assert not any(each.claim(0.0) for each in [leaf, *leaves])
    assert wait([whole.future], timeout=0).done


@pytest.mark.parametrize("fail", [SessionTask.fail, lambda task, error: task.give_up({1: error})])
def test_parts_of_a_failed_task_are_not_claimed(fail):
    """Also those of parts: they would run for nobody."""
    whole = task_of(range(9))
    first, second, third = split_task(whole, [3, 3, 3])
    late = [*split_task(second, [1, 2]), *split_task(third, [2, 1])]
    assert first.claim(0.0)
    assert late[0].claim(0.0)
    fail(first, ValueError("bad"))
    assert not any(part.claim(0.0) for part in late[1:])
    run(late[0])
    assert isinstance(whole.future.exception(0), ValueError | RowErrors)


def test_first_answer_counts():
    """What comes later is dropped without a word: a call may end after its time."""
    task = task_of([1])
    assert task.claim(0.0)
    task.fail(UnavailableError("away"))
    run(task)
    task.fail(ValueError("late"))
    assert str(task.future.exception(0)) == "away"


@pytest.mark.parametrize("now", [1.0, 2.5])
def test_task_past_its_deadline_is_dropped(now):
    """It fails with how long it has waited; a part takes the task with it."""
    whole = task_of(range(2), deadline_secs=1.0)
    part, other = split_task(whole, [1, 1])
    assert part.claim(0.999)
    assert not other.claim(now)
    assert not part.claim(now)
    with pytest.raises(DeadlineExceededError, match=f"waited {now:.3g} s for its batch"):
        whole.future.result(0)


def test_task_without_rows_takes_a_place():
    """So that queues stay bounded."""
    assert (task_of([]).size, task_of([]).num_rows) == (1, 0)
    assert task_of([5, 6]).size == 2


def test_rows_given_up_are_those_of_the_task():
    """Their numbers are turned back, too."""
    whole = task_of([0, 1, 2])
    order = np.array([2, 0, 1])
    parts = split_permuted(whole, {"x": whole.inputs["x"][order]}, order, [1, 2])
    parts[1].give_up({1: ValueError("bad")})
    error = whole.future.exception(0)
    assert list(error.errors) == [1]
    assert error.outputs is None
