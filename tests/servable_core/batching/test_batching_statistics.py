"""Totals add up."""

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
