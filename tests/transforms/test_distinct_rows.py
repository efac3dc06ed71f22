"""Each distinct input is submitted once, and every row gets the outputs of its input."""

from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.batching.ragged_array import RaggedArray
from servable_core.batching.row_errors import RowErrors
from servable_core.errors import InvalidArgumentError, UnavailableError
from transforms.distinct_rows import DistinctRows

_BATCHES = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=12), min_size=1, max_size=8)


class _Model:
    """Doubles `x`, and refuses the values in `bad`; remembers what it was given."""

    def __init__(self, bad=(), *, goes_on=True):
        self.bad = set(bad)
        self.goes_on = goes_on
        self.given = []

    def submit(self, inputs):
        values = inputs["x"].tolist()
        self.given += values
        future = Future()
        good = np.array([value for value in values if value not in self.bad], np.int64)
        outputs = {
            "double": 2 * good,
            "list": RaggedArray.from_rows([[value] * value for value in good.tolist()], "int64"),
        }
        errors = {
            row: InvalidArgumentError(f"{value} is bad")
            for row, value in enumerate(values)
            if value in self.bad
        }
        if errors:
            kept = outputs if self.goes_on else None
            future.set_exception(RowErrors.of(errors, len(values), kept))
        else:
            future.set_result(outputs)
        return future


def _run(model, batches, **options):
    """Returns the rows, and what came for each batch: outputs, or an error."""
    rows = DistinctRows(max_batches_in_flight=options.pop("max_batches_in_flight", 2), **options)
    found = []
    for batch in batches:
        rows.start_batch()
        outputs = rows.submit(model.submit, {"x": np.array(batch, np.int64)})
        try:
            found.append(outputs.result(1))
        except Exception as error:  # noqa: BLE001 - for the test to look at
            found.append(error)
    return rows, found


@given(_BATCHES)
def test_every_row_gets_its_outputs_and_every_input_runs_once(batches):
    """Wherever the equal rows are: in the same batch, or in one long ago."""
    model = _Model()
    rows, found = _run(model, batches)
    for batch, outputs in zip(batches, found, strict=True):
        assert outputs["double"].tolist() == [2 * value for value in batch]
        lists = [outputs["list"].row(row).tolist() for row in range(len(batch))]
        assert lists == [[value] * value for value in batch]
    flat = [value for batch in batches for value in batch]
    assert model.given == list(dict.fromkeys(flat))
    assert rows.num_reused == len(flat) - len(set(flat))


@given(_BATCHES, st.sets(st.integers(0, 6)))
def test_every_row_of_a_bad_input_fails_and_no_other(batches, bad):
    """Errors are fanned out as outputs are; a row alone has its own error."""
    model = _Model(bad)
    _, found = _run(model, batches)
    for batch, outcome in zip(batches, found, strict=True):
        failed = [row for row, value in enumerate(batch) if value in bad]
        if not failed:
            assert outcome["double"].tolist() == [2 * value for value in batch]
        elif len(batch) == 1:
            assert str(outcome) == f"{batch[0]} is bad"
        else:
            assert list(outcome.errors) == failed
            assert [str(outcome.errors[row]) for row in failed] == [
                f"{batch[row]} is bad" for row in failed
            ]
            good = [2 * value for value in batch if value not in bad]
            assert outcome.outputs.get("double", np.array([])).tolist() == good
    assert len(model.given) == len(set(model.given))


def test_a_session_that_does_not_go_on_behind_the_first_bad_row():
    """The first row with the bad input is named."""
    _, (error,) = _run(_Model({5}, goes_on=False), [[3, 4, 3, 5, 5]])
    assert list(error.errors) == [3, 4]
    assert error.outputs is None


def test_an_error_that_is_not_about_rows_is_raised_as_it_is():
    """It is no row's fault, also if there is but one."""
    future = Future()
    future.set_exception(UnavailableError("gone"))
    rows = DistinctRows(max_batches_in_flight=2)
    rows.start_batch()
    outputs = rows.submit(lambda _: future, {"x": np.array([1, 1])})
    with pytest.raises(UnavailableError, match="gone"):
        outputs.result(1)


def test_rows_wait_for_those_they_share_with():
    """A batch without any new row is done when the earlier one is."""
    future = Future()
    rows = DistinctRows(max_batches_in_flight=2)
    rows.start_batch()
    rows.submit(lambda _: future, {"x": np.array([1, 2])})
    rows.start_batch()
    later = rows.submit(lambda _: pytest.fail("nothing is new"), {"x": np.array([2, 2])})
    assert not later.done()
    future.set_result({"y": np.array([10, 20])})
    assert later.done()
    assert later.result(1)["y"].tolist() == [20, 20]


def test_cancelling_gives_up_what_does_not_run_yet():
    """At the end of a unit that fails."""
    future = Future()
    rows = DistinctRows(max_batches_in_flight=2)
    rows.start_batch()
    rows.submit(lambda _: future, {"x": np.array([1])}).cancel()
    assert future.cancelled()


def test_without_rows_the_model_is_asked_all_the_same():
    """It alone knows the shapes of its outputs."""
    model = _Model()
    _, (outputs,) = _run(model, [[]])
    assert outputs["double"].shape == (0,)


class TestMemory:
    def test_inputs_are_forgotten_beyond_the_bound(self):
        """Then equal rows are computed again, once for each stretch."""
        model = _Model()
        rows, found = _run(model, [[1, 2], [1, 2], [1, 2]], max_bytes=1)
        assert model.given == [1, 2, 1, 2, 1, 2]
        assert rows.num_reused == 0
        assert all(outputs["double"].tolist() == [2, 4] for outputs in found)

    def test_outputs_count_as_soon_as_they_must_be_there(self):
        """Not as soon as they are there, for which rows are computed must not depend on timing."""
        model = _Model()
        _run(model, [[1000]] * 6, max_bytes=4000, max_batches_in_flight=2)
        assert model.given == [1000, 1000]
