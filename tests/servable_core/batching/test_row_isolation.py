"""Isolation: every bad row is found, no other is lost, and both in few runs."""

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from servable_core.batching.row_isolation import Segment, run_isolated
from servable_core.errors import (
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)

UNBOUNDED = 10**9


class Rows:
    """Runs rows, of which some are bad, and no more at once than memory allows."""

    def __init__(self, *, bad=(), memory=UNBOUNDED, num_transient=0):
        self.bad = set(bad)
        self.memory = memory
        self.num_transient = num_transient
        self.calls = []

    def __call__(self, start, stop, max_rows):
        assert stop - start <= max_rows
        self.calls.append((start, stop))
        if self.num_transient:
            self.num_transient -= 1
            raise RuntimeError("passes")
        if stop - start > self.memory:
            raise ResourceExhaustedError(f"{stop - start} rows do not fit")
        if self.bad & set(range(start, stop)):
            raise ValueError("bad")
        return list(range(start, stop))


def bound(num_rows, num_bad):
    """Returns how many runs, besides the first, the bad rows may cost."""
    return num_bad * ((num_rows - 1).bit_length() + 1) + num_bad // 4


def results_of(segments):
    return [row for segment in segments for row in segment.result or []]


def bad_of(segments):
    return [segment.start for segment in segments if segment.is_row_fault]


@st.composite
def batches_with_bad_rows(draw):
    num_rows = draw(st.integers(1, 300))
    return num_rows, draw(st.sets(st.integers(0, num_rows - 1), max_size=num_rows))


@given(batch=batches_with_bad_rows())
@example(batch=(1024, {0}))
@example(batch=(1024, {1023}))
@example(batch=(1000, {500, 501}))
@example(batch=(1000, {0, 1, 2}))
@example(batch=(1000, set(range(1000))))
def test_bad_rows_are_found_in_few_runs(batch):
    """Exactly the bad rows fail, and each costs at most about log2 of the batch."""
    num_rows, bad = batch
    run = Rows(bad=bad)
    segments, max_rows = run_isolated(run, num_rows, UNBOUNDED)
    assert bad_of(segments) == sorted(bad)
    assert results_of(segments) == [row for row in range(num_rows) if row not in bad]
    assert max_rows == UNBOUNDED
    assert len(run.calls) - 1 <= bound(num_rows, len(bad))
    if len(bad) <= 3:
        assert len(run.calls) - 1 <= len(bad) * ((num_rows - 1).bit_length() + 1)


def test_batch_in_which_all_rows_fail_costs_few_runs_more_than_it_has_rows():
    """Behind several bad rows, the next is tried by itself."""
    run = Rows(bad=range(1024))
    segments, _ = run_isolated(run, 1024, UNBOUNDED)
    assert bad_of(segments) == list(range(1024))
    assert len(run.calls) < 1.05 * 1024


@given(
    batch=batches_with_bad_rows(),
    memory=st.integers(1, 300),
    max_rows=st.integers(1, 400),
)
def test_segments_are_in_order_whatever_happens(batch, memory, max_rows):
    """With bad rows and too little memory, too, every row is settled once and in its place."""
    num_rows, bad = batch
    segments, left = run_isolated(Rows(bad=bad, memory=memory), num_rows, max_rows)
    assert [segment.start for segment in segments] == [0, *(each.stop for each in segments[:-1])]
    assert segments[-1].stop == num_rows
    assert bad_of(segments) == sorted(bad)
    assert min(left, num_rows) <= max(memory, 1)
    assert left <= max_rows


@given(num_rows=st.integers(1, 500), memory=st.integers(1, 500))
def test_exhausted_memory_halves_and_loses_no_row(num_rows, memory):
    """The most rows that are left are those that fit, and not fewer than half of these."""
    segments, left = run_isolated(Rows(memory=memory), num_rows, UNBOUNDED)
    assert results_of(segments) == list(range(num_rows))
    if num_rows <= memory:
        assert left == UNBOUNDED
    else:
        assert memory // 2 <= left <= memory


def test_row_that_exhausts_memory_alone_says_nothing_of_others():
    """It fails, and later batches are not kept small for its sake."""

    def run(start, stop, max_rows):
        if start <= 5 < stop:
            raise MemoryError
        return list(range(start, stop))

    segments, left = run_isolated(run, 64, UNBOUNDED)
    assert bad_of(segments) == [5]
    assert results_of(segments) == [row for row in range(64) if row != 5]
    assert left == UNBOUNDED


def test_row_that_was_padded_with_others_is_run_without():
    """Its padding may be what exhausted memory."""

    def run(start, stop, max_rows):
        if max_rows > 1:
            raise MemoryError
        return list(range(start, stop))

    segments, left = run_isolated(run, 1, UNBOUNDED)
    assert results_of(segments) == [0]
    assert left == 1


@given(num_rows=st.integers(1, 200))
def test_error_that_passes_loses_no_row_of_several(num_rows):
    """A row that was never seen to fail without others is run alone before it is given up."""
    run = Rows(num_transient=1)
    segments, _ = run_isolated(run, num_rows, UNBOUNDED)
    if num_rows == 1:
        assert bad_of(segments) == [0]
    else:
        assert results_of(segments) == list(range(num_rows))
        assert len(run.calls) <= 2 + num_rows.bit_length()


@pytest.mark.parametrize(
    "error", [UnavailableError("away"), KeyboardInterrupt()], ids=["canonical code", "interrupt"]
)
def test_error_that_is_not_about_rows_ends_the_batch(error):
    """One run, one segment, no row blamed."""
    calls = []

    def run(start, stop, max_rows):
        calls.append((start, stop))
        raise error

    assert run_isolated(run, 8, UNBOUNDED)[0] == [Segment(0, 8, error=error)]
    assert calls == [(0, 8)]


def test_invalid_argument_is_about_rows():
    """A server's code for a bad request is that of a bad row."""

    def run(start, stop, max_rows):
        if start <= 2 < stop:
            raise InvalidArgumentError("row")
        return list(range(start, stop))

    assert bad_of(run_isolated(run, 8, UNBOUNDED)[0]) == [2]


@pytest.mark.parametrize("error", [ValueError("bad"), MemoryError()])
def test_no_rows_are_run_once(error):
    """A batch without rows has no row to blame."""

    def run(start, stop, max_rows):
        raise error

    segments, _ = run_isolated(run, 0, UNBOUNDED)
    assert segments == [Segment(0, 0, error=error)]
    assert results_of(run_isolated(Rows(), 0, UNBOUNDED)[0]) == []


def test_goes_on_where_it_is_told():
    """Rows between a bad one and the next wanted are not settled."""
    run = Rows(bad={3, 9})
    segments, _ = run_isolated(run, 12, UNBOUNDED, next_wanted=lambda row: row // 4 * 4 + 4)
    assert bad_of(segments) == [3, 9]
    settled = Counter(row for each in segments for row in range(each.start, each.stop))
    assert settled == dict.fromkeys([*range(10)], 1)
