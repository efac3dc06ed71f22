"""Ragged inputs that a model takes as they are: batched with their like, and never padded."""

import numpy as np
import pytest

from servable_core.batching import (
    BatchingSession,
    QueueOptions,
    SharedBatchScheduler,
    SharedBatchSchedulerOptions,
)
from servable_core.batching.batch_runner import RunOptions
from servable_core.batching.length_ladder import LengthLadder
from servable_core.batching.padding import PaddingOptions, cut_outputs, pad_inputs
from servable_core.batching.ragged_array import RaggedArray
from servable_core.errors import FailedPreconditionError

ROWS = [[1, 2], [], [3] * 9, [4, 5, 6], [7]]
OPTIONS = PaddingOptions(
    ladder=LengthLadder(rungs=(4, 16)), unpadded=("x",), ragged_outputs=frozenset({"dense"})
)


def _dense(rows):
    return rows.padded(int(rows.lengths.max(initial=0)), -1)


class TestPadding:
    def test_input_stays_ragged(self):
        """What is padded beside it is padded as ever; the length is the rung of the longest row."""
        x = RaggedArray.from_rows([[1], [2, 3]], "int64")
        ids = RaggedArray.from_rows([[1] * 5, []], "int64")
        padded = pad_inputs({"x": x, "ids": ids}, OPTIONS)
        assert padded.inputs["x"] is x
        assert padded.inputs["ids"].shape == (2, 16)
        assert (padded.padded_length, padded.is_padded, padded.keeps_lengths) == (16, True, True)

    def test_nothing_is_padded(self):
        """Then the length only tells which rows are alike."""
        padded = pad_inputs({"x": RaggedArray.from_rows(ROWS, "int64")}, OPTIONS)
        assert (padded.padded_length, padded.is_padded, padded.keeps_lengths) == (16, False, True)

    @pytest.mark.parametrize(("start", "stop"), [(0, 5), (3, 5), (1, 2)])
    def test_output_as_wide_as_the_longest_row_is_cut(self, start, stop):
        """The model has padded it itself, to the longest of the rows that it was given."""
        x = RaggedArray.from_rows(ROWS, "int64")
        padded = pad_inputs({"x": x}, OPTIONS)
        outputs = {"dense": _dense(x[start:stop]), "wide": np.zeros((stop - start, 16))}
        cut = cut_outputs(outputs, padded, slice(start, stop), OPTIONS)
        rows = [cut["dense"].row(index).tolist() for index in range(stop - start)]
        assert rows == ROWS[start:stop]
        assert cut["wide"] is outputs["wide"]

    def test_output_of_another_width_stays(self):
        """Also one that is as wide as rows would have been padded to."""
        padded = pad_inputs({"x": RaggedArray.from_rows(ROWS, "int64")}, OPTIONS)
        dense = np.zeros((5, 16))
        assert cut_outputs({"dense": dense}, padded, slice(0, 5), OPTIONS)["dense"] is dense

    def test_inputs_of_different_lengths(self):
        """Which of them an output is as wide as nobody knows, unless they agree in these rows."""
        x, tags = (RaggedArray.from_rows(each, "int64") for each in ([[1], [2, 3]], [[1], [2]]))
        options = PaddingOptions(unpadded=("x", "tags"), ragged_outputs=frozenset({"dense"}))
        padded = pad_inputs({"x": x, "tags": tags}, options)
        with pytest.raises(FailedPreconditionError, match=r"'dense' is as wide .* 'tags' has rows"):
            cut_outputs({"dense": _dense(x)}, padded, slice(0, 2), options)
        cut = cut_outputs({"dense": _dense(x[:1])}, padded, slice(0, 1), options)
        assert cut["dense"].row(0).tolist() == [1]


class TestSession:
    def _run(self, inputs, model, **options):
        with (
            SharedBatchScheduler(SharedBatchSchedulerOptions(num_batch_threads=1)) as scheduler,
            BatchingSession(
                model,
                scheduler,
                QueueOptions(max_batch_size=4, **options),
                name="m",
                run_options=RunOptions(padding=OPTIONS),
            ) as session,
        ):
            return session.run(inputs), session.statistics()

    @pytest.mark.parametrize("allowed", [(), (1, 4)])
    def test_model_gets_the_rows_themselves(self, allowed):
        """Without sizes given there are none besides; with some, copies of them."""
        calls = []

        def model(inputs):
            calls.append(inputs["x"])
            x = inputs["x"]
            sums = np.array([x.row(index).sum() for index in range(len(x))])
            return {"dense": _dense(x), "sum": sums}

        inputs = {"x": RaggedArray.from_rows(ROWS, "int64")}
        outputs, statistics = self._run(inputs, model, allowed_batch_sizes=allowed)
        assert outputs["sum"].tolist() == [sum(row) for row in ROWS]
        assert [outputs["dense"].row(index).tolist() for index in range(5)] == ROWS
        fed = sorted(each.row(index).tolist() for each in calls for index in range(len(each)))
        if allowed:
            assert {len(each) for each in calls} <= set(allowed)
            assert all(row in ROWS for row in fed)
        else:
            assert fed == sorted(ROWS)
        assert statistics.num_cells == 15
        assert statistics.padding_waste == 0

    def test_bad_row_is_found(self):
        """Batches are halved as of any other rows."""

        def model(inputs):
            if (inputs["x"].values[inputs["x"].offsets[0] : inputs["x"].offsets[-1]] == 5).any():
                raise ValueError("no 5")
            return {"length": inputs["x"].lengths}

        with pytest.raises(Exception, match="no 5") as caught:
            self._run({"x": RaggedArray.from_rows(ROWS, "int64")}, model)
        assert list(caught.value.errors) == [3]
        assert caught.value.outputs["length"].tolist() == [2, 0, 9, 1]
