from dataclasses import replace

import pytest

from pipelines.job_estimate import BatchSample, estimate_job
from tests.robustness.plans import make_plan

SAMPLE = BatchSample(rows=100, input_bytes=0, secs=2.0, empty_bytes=50, written_bytes=250)


def _plan(num_units=3, rows=500, **content):
    plan = make_plan(num_units=num_units, rows=rows)
    return replace(plan, content=replace(plan.content, **content))


def test_rows_that_are_planned():
    """3 units of 2 x 500 rows are 30 batches, 2 at a time; each unit's part has its own frame."""
    estimate = estimate_job(_plan(), SAMPLE, num_batch_threads=2)
    assert (estimate.rows, estimate.secs) == (3000, pytest.approx(30.0))
    assert estimate.output_bytes == 30 * 200 + 3 * 50


def test_a_job_of_one_batch_is_not_quicker_with_more_threads():
    """There is nothing for the other threads to do."""
    estimate = estimate_job(_plan(num_units=1, rows=50), SAMPLE, num_batch_threads=8)
    assert estimate.secs == pytest.approx(2.0)
    assert estimate.output_bytes == SAMPLE.written_bytes


def test_a_sample_of_planned_rows():
    """Only the share that is asked for."""
    assert estimate_job(_plan(sample=0.1), SAMPLE, num_batch_threads=1).rows == 300


def test_rows_that_nobody_has_counted():
    """The bytes that the batch's rows took tell how many there are."""
    plan = _plan(rows=-1)
    estimate = estimate_job(plan, replace(SAMPLE, input_bytes=10), num_batch_threads=1)
    assert plan.size_bytes == 303
    assert estimate.rows == 3030


def test_nothing_to_tell_by():
    """Neither rows nor bytes, or a batch of nothing."""
    assert estimate_job(_plan(rows=-1), SAMPLE, num_batch_threads=1) is None
    assert estimate_job(_plan(), replace(SAMPLE, rows=0), num_batch_threads=1) is None


@pytest.mark.parametrize(
    ("secs", "written_bytes", "words"),
    [
        (0.0001, 1024, "0.1 s on this machine, start-up apart, and write about 1.0 KiB,"),
        (42.4, 3 << 20, "42 s on this machine, start-up apart, and write about 3.0 MiB,"),
        (6000, 5 << 29, "100 min on this machine, start-up apart, and write about 2.5 GiB,"),
    ],
)
def test_in_words(secs, written_bytes, words):
    """Times and sizes are in units that one can read."""
    plan = _plan(num_units=1, rows=50)
    sample = replace(SAMPLE, secs=secs, written_bytes=written_bytes)
    assert words in str(estimate_job(plan, sample, num_batch_threads=1))
