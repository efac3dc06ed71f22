"""Totals add up."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from servable_core.batching.auto_batch_size import BatchSizeReport
from servable_core.batching.batching_statistics import (
    BatchingStatistics,
    ShapeStatistics,
    StatisticsRecorder,
)


def test_nothing_was_done():
    """All is zero, and no ratio divides by it."""
    statistics = StatisticsRecorder().snapshot(None, None)
    assert statistics == BatchingStatistics()
    assert (statistics.mean_batch_size, statistics.fill, statistics.padding_waste) == (0, 0, 0)


def test_totals_and_ratios():
    """Batches as taken, calls as made, cells as padded."""
    recorder = StatisticsRecorder()
    recorder.add_batch(num_rows=6, num_slots=8, waits_secs=[1.0, 3.0, 0.5])
    recorder.add_batch(num_rows=2, num_slots=8, waits_secs=[2.0])
    recorder.add_failed_run(0.5, is_extra=True)
    shape = {"padded_rows": 8, "padded_length": 16, "run_secs": 0.5}
    recorder.add_run(num_rows=6, cells=60, is_extra=False, **shape)
    recorder.add_run(num_rows=2, cells=4, is_extra=True, **shape)
    recorder.count("num_dropped", 2)
    report = BatchSizeReport(size=8, is_frozen=True, curve={})
    statistics = recorder.snapshot(report, 4)
    assert statistics == BatchingStatistics(
        num_batches=2,
        num_runs=3,
        num_extra_runs=2,
        num_rows=8,
        num_slots=16,
        num_tasks=4,
        num_padding_rows=8,
        num_cells=256,
        num_padding_cells=192,
        num_dropped=2,
        run_secs=1.5,
        queue_secs=6.5,
        max_queue_secs=3.0,
        shapes={(8, 16): ShapeStatistics(num_runs=2, num_rows=8, run_secs=1.0)},
        batch_size=report,
        ceiling=4,
    )
    ratios = (statistics.mean_batch_size, statistics.fill, statistics.padding_waste)
    assert ratios == pytest.approx((4.0, 0.5, 0.75))


def test_usual_batches_of_many_threads_are_all_added_up():
    """They are noted without a lock, and added up now and then, or when somebody asks."""
    recorder = StatisticsRecorder()
    seen = []

    def note(_):
        for _ in range(500):
            recorder.add_usual(3, 4, [0.5, 1.0], 0.25)
        seen.append(recorder.snapshot(None, None).num_rows)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(note, range(8)))
    statistics = recorder.snapshot(None, None)
    assert statistics == BatchingStatistics(
        num_batches=4000,
        num_runs=4000,
        num_rows=12_000,
        num_slots=16_000,
        num_tasks=8000,
        run_secs=1000.0,
        queue_secs=6000.0,
        max_queue_secs=1.0,
        shapes={(3, 0): ShapeStatistics(num_runs=4000, num_rows=12_000, run_secs=1000.0)},
    )
    assert all(num_rows >= 1500 for num_rows in seen)  # a thread sees what it has noted itself
