"""What a job of 100,000 rows may rely on, with threads and the machine's clock."""

import math
import threading

import numpy as np
import pytest

from servable_core.batching import (
    BatchingSession,
    QueueOptions,
    SharedBatchScheduler,
    SharedBatchSchedulerOptions,
)
from servable_core.batching.batch_runner import RunOptions
from servable_core.batching.padding import Derivation, DerivedInput, PaddingOptions
from servable_core.batching.ragged_array import RaggedArray, concat_ragged
from servable_core.batching.row_errors import RowErrors
from servable_core.errors import ResourceExhaustedError

NUM_ROWS = 100_000
BATCH = 1024
CHUNK = 1000
CELLS = 4096


@pytest.fixture
def make_session():
    """Makes sessions on two batch threads, and closes them."""
    open_ones = []

    def make(run, *, max_batch_size=BATCH, max_enqueued_batches=16, **options):
        scheduler = SharedBatchScheduler(SharedBatchSchedulerOptions(num_batch_threads=2))
        queue = QueueOptions(
            max_batch_size=max_batch_size,
            batch_timeout_secs=1.0,
            max_enqueued_batches=max_enqueued_batches,
        )
        session = BatchingSession(run, scheduler, queue, name="m", **options)
        open_ones.extend([scheduler, session])
        return session

    yield make
    for each in reversed(open_ones):
        each.close()


def run_all(session, inputs, num_rows):
    """Submits rows in chunks; returns the rows that failed, and the outputs of all others."""
    starts = range(0, num_rows, CHUNK)
    futures = [
        session.submit({name: value[start : start + CHUNK] for name, value in inputs.items()})
        for start in starts
    ]
    session.flush()
    failed: list[int] = []
    outputs = []
    for start, future in zip(starts, futures, strict=True):
        error = future.exception(60)
        if isinstance(error, RowErrors):
            failed += [start + row for row in error.errors]
        outputs.append(error.outputs if isinstance(error, RowErrors) else future.result(0))
    return failed, outputs


@pytest.mark.parametrize(
    "bad",
    [
        [0, 1, 2],
        [0, 50_000, NUM_ROWS - 1],
        [1022, 1023, 1024],
        [1024, 2047, 2048],
        [500, 900, 99_000],
        [12_345, 12_346, 12_347],
    ],
)
def test_bad_rows_fail_alone_and_cost_little(make_session, bad):
    """Three in 100,000 are exactly three failures, at about log2 of a batch calls each."""
    x = np.arange(NUM_ROWS)

    def run(inputs):
        if np.isin(inputs["x"], bad).any():
            raise ValueError("bad")
        return {"y": inputs["x"] * 2}

    session = make_session(run)
    failed, outputs = run_all(session, {"x": x}, NUM_ROWS)
    assert failed == bad
    assert np.array_equal(np.concatenate([each["y"] for each in outputs]), np.delete(x, bad) * 2)
    statistics = session.statistics()
    assert statistics.num_failed_rows == 3
    assert 0 < statistics.num_extra_runs <= 3 * math.log2(BATCH) + 3


def test_error_that_passes_loses_no_row(make_session):
    """The first call fails, and works when it is tried again."""
    has_failed = threading.Event()

    def run(inputs):
        if not has_failed.is_set():
            has_failed.set()
            raise RuntimeError("passes")
        return {"y": inputs["x"] * 2}

    session = make_session(run)
    failed, outputs = run_all(session, {"x": np.arange(10_000)}, 10_000)
    assert failed == []
    assert np.array_equal(np.concatenate([each["y"] for each in outputs]), np.arange(10_000) * 2)
    assert session.statistics().num_extra_runs <= math.log2(BATCH) + 1


def allow(cells, calls):
    """Returns a model that is out of memory above so many rows times length."""

    def run(inputs):
        x = inputs["x"]
        calls.append(x.shape)
        if x.size > cells:
            raise ResourceExhaustedError(f"no memory for {x.shape}")
        return {"y": x.reshape(len(x), -1).sum(axis=1)}

    return run


@pytest.mark.parametrize("limit", [1, 100, 1000])
def test_memory_for_few_rows_loses_none(make_session, limit):
    """Batches settle below what fits, and not far below; each size is tried only a few times."""
    calls = []
    session = make_session(allow(limit, calls))
    x = np.arange(20_000)
    failed, outputs = run_all(session, {"x": x}, len(x))
    assert failed == []
    assert np.array_equal(np.concatenate([each["y"] for each in outputs]), x)
    statistics = session.statistics()
    assert limit // 2 <= statistics.ceiling <= limit
    assert session.batch_size == statistics.ceiling
    # The batches that had begun already when memory ran out are halved, too.
    num_exhausted = sum(rows > limit for (rows,) in calls)
    assert num_exhausted <= 20 * math.log2(BATCH / limit) + 20


def test_memory_for_few_ragged_rows_loses_none(make_session):
    """The ceiling is that of each padded length."""
    calls = []
    session = make_session(allow(1000, calls), max_batch_cells=CELLS)
    rows = [np.full(1 + index % 64, index) for index in range(5000)]
    x = RaggedArray.from_rows(rows, "int64")
    failed, outputs = run_all(session, {"x": x}, len(rows))
    assert failed == []
    sums = np.array([row.sum() for row in rows])
    assert np.array_equal(np.concatenate([each["y"] for each in outputs]), sums)
    late = calls[-len(calls) // 4 :]
    assert np.mean([rows * length <= 1000 for rows, length in late]) > 0.8
    assert session.statistics().ceiling <= 1000 // 64


def test_ragged_rows_have_few_shapes_and_little_padding(make_session):
    """Lognormal lengths, each batch bounded by its cells, and every row its own result."""
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.lognormal(3.6, 0.8, NUM_ROWS).astype(int), 4, 256)
    values = generator.integers(1, 1000, lengths.sum())
    ids = RaggedArray(values, np.concatenate([[0], np.cumsum(lengths)]))
    shapes = set()

    def run(inputs):
        shapes.add(inputs["ids"].shape)
        assert np.array_equal(inputs["mask"], inputs["ids"] > 0)
        return {"sum": inputs["ids"].sum(axis=1), "tags": inputs["ids"] * 2}

    mask = DerivedInput(name="mask", of="ids", derivation=Derivation.MASK, dtype="bool")
    padding = PaddingOptions(derived=(mask,), ragged_outputs=frozenset({"tags"}))
    session = make_session(run, run_options=RunOptions(padding=padding), max_batch_cells=CELLS)
    failed, outputs = run_all(session, {"ids": ids}, NUM_ROWS)
    assert failed == []
    sums = np.add.reduceat(values, ids.offsets[:-1])
    assert np.array_equal(np.concatenate([each["sum"] for each in outputs]), sums)
    tags = concat_ragged([each["tags"] for each in outputs])
    assert np.array_equal(tags.values, values * 2)
    assert np.array_equal(tags.lengths, lengths)
    assert max(rows * length for rows, length in shapes) <= CELLS
    assert len(shapes) <= 24
    assert shapes == set(session.statistics().shapes)
    assert session.statistics().padding_waste < 0.12
