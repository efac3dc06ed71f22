import pytest

from servable_core.batching.batch_queue import BatchPaddingPolicy
from servable_core.batching.padding import PaddingOptions
from servable_core.config import BatchingParameters
from servable_core.errors import InvalidArgumentError
from transforms.batching_options import batching_parameters, create_batching_options, max_rows
from transforms.execution import ExecutionOptions

HINT = 512
SERVER = BatchingParameters(
    max_batch_size=128,
    allowed_batch_sizes=(32, 128),
    batch_timeout_secs=0.002,
    max_enqueued_batches=7,
    num_batch_threads=3,
)
SPLITTING = BatchingParameters(
    max_batch_size=128, enable_large_batch_splitting=True, max_execution_batch_size=64
)


def _said(server=None, own=None, **flags):
    return batching_parameters(ExecutionOptions(batching_parameters=server, **flags), own)


def _options(
    parameters=None, *, is_ragged=False, merges_tasks=True, num_gpus=0, hint=HINT, **flags
):
    execution = ExecutionOptions(batching_parameters=parameters, **flags)
    return create_batching_options(
        execution,
        batching_parameters(execution, None),
        PaddingOptions(),
        is_ragged=is_ragged,
        hint=hint,
        num_threads=2,
        num_gpus=num_gpus,
        merges_tasks=merges_tasks,
    )


class TestPrecedence:
    @pytest.mark.parametrize(
        ("field", "flags", "own", "expected"),
        [
            ("max_batch_size", {}, None, 128),
            ("max_batch_size", {}, BatchingParameters(max_batch_size=9), 9),
            ("max_batch_size", {"max_batch_size": 5}, BatchingParameters(max_batch_size=9), 5),
            ("batch_timeout_secs", {}, None, 0.002),
            ("batch_timeout_secs", {}, BatchingParameters(batch_timeout_secs=1.0), 1.0),
            ("batch_timeout_secs", {"batch_timeout_micros": 50}, None, 50e-6),
            ("batch_timeout_secs", {"batch_timeout_micros": 0}, None, 0.0),
            ("max_enqueued_batches", {}, None, 7),
            ("max_enqueued_batches", {}, BatchingParameters(), None),
            ("max_enqueued_batches", {"max_enqueued_batches": 2}, None, 2),
            ("num_batch_threads", {}, BatchingParameters(num_batch_threads=9), 3),
            ("num_batch_threads", {"num_batch_threads": 1}, None, 1),
            ("allowed_batch_sizes", {}, None, (32, 128)),
            ("allowed_batch_sizes", {}, BatchingParameters(allowed_batch_sizes=(4,)), (4,)),
            ("allowed_batch_sizes", {"allowed_batch_sizes": (8, 16)}, None, (8, 16)),
        ],
    )
    def test_flag_over_own_file_over_server_file(self, field, flags, own, expected):
        """A flag decides; else the model's file as a whole, but for threads; else the server's."""
        assert getattr(_said(SERVER, own, **flags), field) == expected

    def test_nothing_said(self):
        """Without files and flags nothing is decided here."""
        assert _said() == BatchingParameters()

    @pytest.mark.parametrize(
        ("server", "flags", "expected"),
        [
            (SERVER, {"max_batch_size": 64}, (64, (32, 64))),
            (SERVER, {"max_batch_size": 32}, (32, (32,))),
            (SERVER, {"max_batch_size": 500}, (500, (32, 128, 500))),
            (SERVER, {"max_batch_size": "auto"}, (None, (32, 128))),
            (SERVER, {"allowed_batch_sizes": (8, 16)}, (None, (8, 16))),
            (SERVER, {"allowed_batch_sizes": (8,), "max_batch_size": 8}, (8, (8,))),
            (SPLITTING, {"max_batch_size": 32}, (32, ())),
            (SPLITTING, {"max_batch_size": "auto"}, (None, ())),
        ],
    )
    def test_flag_replaces_all_sizes_of_a_file(self, server, flags, expected):
        """A size by flag never contradicts what a file said of sizes."""
        said = _said(server, **flags)
        assert (said.max_batch_size, said.allowed_batch_sizes) == expected
        assert said.max_execution_batch_size is None

    def test_flags_that_contradict_each_other(self):
        """Two flags of sizes have to go together."""
        with pytest.raises(InvalidArgumentError, match="must end in max_batch_size=32"):
            _said(allowed_batch_sizes=(8, 16), max_batch_size=32)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (BatchingParameters(), None),
        (BatchingParameters(max_batch_size=9), 9),
        (BatchingParameters(allowed_batch_sizes=(4, 8)), 8),
        (SPLITTING, 64),
    ],
)
def test_max_rows(parameters, expected):
    """The bound is the largest size of a model call, if anybody said one."""
    assert max_rows(parameters) == expected


class TestSize:
    def test_by_measuring(self):
        """Without a size calibration starts at the hint, and goes up and down from there."""
        options = _options()
        assert options.calibration.first == HINT
        assert options.calibration.sizes[0] == HINT // 16
        assert options.calibration.sizes[-1] == HINT * 16
        assert options.queue.max_batch_size >= HINT * 16

    @pytest.mark.parametrize(
        ("hint", "num_gpus", "largest"),
        [(65_536, 0, 65_536), (8192, 0, 65_536), (65_536, 1, 1_048_576), (300_000, 0, 300_000)],
    )
    def test_very_large_sizes_are_for_gpus(self, hint, num_gpus, largest):
        options = _options(hint=hint, num_gpus=num_gpus)
        assert options.calibration.sizes[-1] == largest

    @pytest.mark.parametrize("merges_tasks", [True, False])
    def test_given(self, merges_tasks):
        """A size that was given is not measured."""
        options = _options(max_batch_size=HINT, merges_tasks=merges_tasks)
        assert options.calibration is None
        assert options.queue.max_batch_size == HINT

    def test_auto_overrides_a_file(self):
        """The word `auto` measures, also where a file has a size; among its allowed sizes."""
        options = _options(SERVER, max_batch_size="auto")
        assert options.calibration.sizes == (32, 128)
        assert options.calibration.first == 128
        assert options.queue.max_batch_size == 128
        assert options.queue.allowed_batch_sizes == (32, 128)

    @pytest.mark.parametrize("parameters", [None, SERVER, SPLITTING])
    def test_deterministic(self, parameters):
        """A deterministic job has the size of its plan, whatever files say, and never waits."""
        queue = _options(parameters, merges_tasks=False).queue
        assert queue.max_batch_size == HINT
        assert not queue.merge_tasks
        assert queue.allowed_batch_sizes == ()
        assert queue.batch_timeout_secs == 0

    def test_splitting_bounds_by_execution_size(self):
        """Where requests are split, a batch has the execution size."""
        options = _options(SPLITTING)
        assert options.queue.max_batch_size == 64
        assert options.queue.enable_large_batch_splitting


class TestCells:
    def test_by_measuring(self):
        """Ragged rows are measured in cells; a GPU starts with more."""
        options = _options(is_ragged=True)
        assert options.calibration.first == 4096
        assert options.max_batch_cells is None
        assert _options(is_ragged=True, num_gpus=1).calibration.first > 4096

    @pytest.mark.parametrize(
        ("flags", "cells"),
        [
            ({"max_batch_cells": 100}, 100),
            ({"max_batch_size": 9}, None),
            ({"max_batch_size": 9, "max_batch_cells": 100}, 100),
            ({"merges_tasks": False}, 4096),
            ({"merges_tasks": False, "max_batch_cells": 100}, 100),
        ],
    )
    def test_given(self, flags, cells):
        """Rows or cells that were given are not measured; deterministic jobs always have cells."""
        options = _options(is_ragged=True, **flags)
        assert (options.calibration, options.max_batch_cells) == (None, cells)

    def test_waiting(self):
        """Ragged rows wait for their like, unless the wait was given."""
        assert _options(is_ragged=True).queue.batch_timeout_secs > 0
        assert _options(is_ragged=True, batch_timeout_micros=0).queue.batch_timeout_secs == 0
        assert _options().queue.batch_timeout_secs == 0


def test_rest_of_the_flags():
    """Queue length, padding policy and time limit get where they belong."""
    options = _options(
        max_enqueued_batches=5, batch_padding_policy="BATCH_DOWN", batch_timeout_secs=3.0
    )
    assert options.queue.max_enqueued_batches == 5
    assert options.queue.batch_padding_policy is BatchPaddingPolicy.BATCH_DOWN
    assert options.run.timeout_secs == 3.0
    assert _options().queue.max_enqueued_batches == 8
