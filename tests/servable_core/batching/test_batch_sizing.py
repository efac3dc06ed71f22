"""Sizing: configured, calibrated, and as memory allows."""

from collections import deque

import pytest

from servable_core.batching.auto_batch_size import CalibrationOptions
from servable_core.batching.batch_sizing import BatchSizing, Calibration, SizingOptions
from servable_core.errors import InvalidArgumentError

UNBOUNDED = 10**9
QUICK = CalibrationOptions(window_secs=0.0, window_batches=1, num_windows=1, num_settling_batches=0)


def sizing(*, is_memory_short=lambda: False, **options):
    return BatchSizing(SizingOptions(**{"max_batch_size": 1024} | options), is_memory_short)


@pytest.mark.parametrize(
    ("options", "length", "target"),
    [
        ({}, 0, 1024),
        ({}, 64, 1024),
        ({"max_batch_cells": 4096}, 0, 1024),
        ({"max_batch_cells": 4096}, 64, 64),
        ({"max_batch_cells": 4096}, 1, 1024),
        ({"max_batch_cells": 4096}, 5000, 1),
        ({"max_batch_cells": 4096, "allowed_batch_sizes": (8, 48, 1024)}, 64, 48),
        ({"max_batch_cells": 4096, "allowed_batch_sizes": (8, 48, 1024)}, 1024, 4),
    ],
)
def test_target_is_bounded_by_rows_and_by_cells(options, length, target):
    """Cells count only where rows have a length; allowed sizes are kept to where that is possible."""
    assert sizing(**options).target_rows(length) == target


@pytest.mark.parametrize(
    ("options", "num_rows", "length", "max_rows", "padded"),
    [
        ({}, 5, 0, UNBOUNDED, 5),
        ({"allowed_batch_sizes": (8, 1024)}, 5, 0, UNBOUNDED, 8),
        ({"allowed_batch_sizes": (8, 1024)}, 8, 0, UNBOUNDED, 8),
        ({"allowed_batch_sizes": (8, 1024)}, 9, 0, UNBOUNDED, 1024),
        ({"allowed_batch_sizes": (8, 1024)}, 0, 0, UNBOUNDED, 0),
        ({"allowed_batch_sizes": (8, 1024)}, 9, 0, 512, 9),
        ({"allowed_batch_sizes": (8, 1024)}, 2000, 0, UNBOUNDED, 2000),
        ({"max_batch_cells": 4096, "allowed_batch_sizes": (8, 1024)}, 3, 64, UNBOUNDED, 8),
        ({"max_batch_cells": 4096, "allowed_batch_sizes": (8, 1024)}, 3, 1024, UNBOUNDED, 3),
        ({"max_batch_cells": 4096}, 3, 64, UNBOUNDED, 8),
        ({"max_batch_cells": 4096}, 9, 64, UNBOUNDED, 64),
        ({"max_batch_cells": 4096}, 9, 64, 32, 9),
        ({"max_batch_cells": 4096}, 65, 64, UNBOUNDED, 65),
        ({"max_batch_cells": 4096}, 0, 64, UNBOUNDED, 0),
    ],
)
def test_batches_are_padded_to_few_sizes(options, num_rows, length, max_rows, padded):
    """To an allowed size, or with ragged rows to an eighth or all of the target; never beyond memory."""
    assert sizing(**options).padded_rows(num_rows, length, max_rows) == padded


def test_ceiling_is_of_one_length_and_only_falls():
    """Rows of other lengths take other memory."""
    sizes = sizing(max_batch_cells=4096)
    assert sizes.ceiling is None
    sizes.note_ceiling(64, 32)
    sizes.note_ceiling(64, 40)
    assert [sizes.max_rows(64), sizes.target_rows(64)] == [32, 32]
    assert sizes.max_rows(32) > 1e9
    assert sizes.target_rows(32) == 128
    assert sizes.ceiling == 32


@pytest.mark.parametrize("num_waiting", [1, 16, 40])
@pytest.mark.parametrize("sizes", [(256, 512, 1024, 2048), (256, 384, 512, 640)])
def test_batches_that_waited_while_the_size_changed_are_no_measure_of_it(sizes, num_waiting):
    """They are as large as the size before wanted them: the curve is that of the sizes all the same."""
    calibration = Calibration(sizes=sizes, first=sizes[1])
    subject = sizing(max_batch_size=UNBOUNDED, calibration=calibration)
    waiting = deque([subject.target_rows(0)] * num_waiting)
    now = 0.0
    while not subject.report().is_frozen:
        num_rows = waiting.popleft()
        run_secs = 0.05 + 1e-4 * num_rows
        now += run_secs
        subject.record(num_rows, 0, run_secs, now)
        waiting.append(subject.target_rows(0))
    rates = {size: size / (0.05 + 1e-4 * size) for size in sizes[1:]}
    assert subject.report().curve == pytest.approx(rates)
    assert subject.report().size == sizes[-1]


def test_short_memory_halves_now_and_then():
    """It is asked twice a second, and after a halving, which takes time to show, not for five."""
    asked = []
    sizes = sizing(is_memory_short=lambda: asked.append(None) or len(asked) > 1)
    targets = []
    for now in [0.0, 0.4, 0.6, 1.2, 5.5, 5.7]:
        sizes.relieve_memory(0, now)
        targets.append((len(asked), sizes.target_rows(0)))
    assert targets == [(1, 1024), (1, 1024), (2, 512), (2, 512), (2, 512), (3, 256)]


def test_short_memory_leaves_one_row():
    """Less is not possible."""
    sizes = sizing(max_batch_size=2, is_memory_short=lambda: True)
    for now in range(0, 100, 10):
        sizes.relieve_memory(0, float(now))
    assert sizes.target_rows(0) == 1


def test_short_memory_that_halving_does_not_relieve_is_left():
    """Whatever fills it, it is not a batch of a sixteenth; other lengths have halvings of their own."""
    sizes = sizing(is_memory_short=lambda: True)
    for now in range(0, 100, 10):
        sizes.relieve_memory(0, float(now))
    assert [sizes.target_rows(0), sizes.target_rows(64)] == [64, 1024]
    sizes.relieve_memory(64, 100.0)
    assert [sizes.target_rows(0), sizes.target_rows(64)] == [64, 512]


def feed(sizes, length, secs_per_batch, num_batches=50):
    """Runs full batches of one length, one after the other."""
    now = 0.0
    for _ in range(num_batches):
        rows = sizes.target_rows(length)
        run_secs = secs_per_batch(rows)
        now += run_secs
        sizes.record(rows, length, run_secs, now)


def test_dense_batches_are_calibrated():
    """Overhead per call: the largest size is best, and `report` says so."""
    calibration = Calibration(sizes=(64, 256, 1024), first=64, options=QUICK)
    sizes = sizing(calibration=calibration)
    assert sizes.target_rows(0) == 64
    feed(sizes, 0, lambda rows: 0.01)
    assert sizes.target_rows(0) == 1024
    assert sizes.report().is_frozen
    assert set(sizes.report().curve) == {64, 256, 1024}


def test_batches_that_are_cut_by_files_are_calibrated_too():
    """Files of 600 rows: a reader joins none of them to another for a batch of 1024."""
    calibration = Calibration(sizes=(512, 1024, 2048), first=1024, options=QUICK)
    sizes = sizing(max_batch_size=4096, calibration=calibration)
    for batch in range(1, 20):
        sizes.record(min(600, sizes.target_rows(0)), 0, 0.01, batch * 0.01)
    assert 1024 in sizes.report().curve


def test_length_that_comes_no_more_is_not_waited_for():
    """Sorted data: the first length is gone before it was measured."""
    options = CalibrationOptions(
        window_secs=0.0, window_batches=1, num_windows=2, num_settling_batches=0
    )
    calibration = Calibration(sizes=(1024, 4096), first=1024, options=options)
    sizes = sizing(calibration=calibration)
    sizes.probe(64)
    feed(sizes, 64, lambda rows: 0.01, num_batches=2)
    sizes.probe(32)
    feed(sizes, 32, lambda rows: 0.01, num_batches=options.max_batches_passed_over)
    assert sizes.report().curve == {}
    sizes.probe(32)
    feed(sizes, 32, lambda rows: 0.01)
    assert sizes.report().is_frozen
    assert sizes.target_rows(32) == 128


def test_sizes_that_options_do_not_allow_do_not_keep_calibration_from_ending():
    """A rung is measured with the batches that it leads to."""
    calibration = Calibration(sizes=(48, 96, 192), first=48, options=QUICK)
    sizes = sizing(allowed_batch_sizes=(32, 64, 1024), calibration=calibration)
    feed(sizes, 0, lambda rows: 0.01)
    assert sizes.report().is_frozen
    assert sizes.target_rows(0) == 64


def test_ragged_batches_are_calibrated_on_the_probed_length():
    """Others keep the first size until the end, then follow: so the shapes stay few."""
    calibration = Calibration(sizes=(1024, 4096), first=1024, options=QUICK)
    sizes = sizing(calibration=calibration)
    sizes.probe(64)
    sizes.probe(32)
    feed(sizes, 32, lambda rows: 0.01)
    assert sizes.report().curve == {}
    feed(sizes, 64, lambda rows: 0.01, num_batches=1)
    assert [sizes.target_rows(64), sizes.target_rows(32)] == [64, 32]
    feed(sizes, 64, lambda rows: 0.01)
    assert sizes.report().is_frozen
    assert [sizes.target_rows(64), sizes.target_rows(32)] == [64, 128]


def test_rung_that_memory_does_not_allow_is_not_credited():
    """Batches kept small by memory do not count as large ones, however few the calls."""
    calibration = Calibration(sizes=(1024, 2048, 4096), first=1024, options=QUICK)
    sizes = sizing(calibration=calibration)
    sizes.probe(64)
    sizes.note_ceiling(64, 16)
    feed(sizes, 64, lambda rows: 0.01)
    assert sizes.report().size == 1024
    assert sizes.target_rows(64) == 16


def test_ceiling_of_the_probed_length_ends_the_ladder():
    """Larger rungs are not tried there, and lengths that follow start below them."""
    calibration = Calibration(sizes=(1024, 2048, 4096), first=4096, options=QUICK)
    sizes = sizing(calibration=calibration)
    sizes.probe(64)
    sizes.note_ceiling(32, 4)
    assert sizes.report().size == 4096
    sizes.note_ceiling(64, 32)
    assert sizes.report().size == 2048
    feed(sizes, 64, lambda rows: 0.01)
    assert sizes.report().is_frozen
    assert sizes.target_rows(16) == 128


def test_rung_that_rows_do_not_allow_is_not_credited():
    """Where `max_batch_size` binds, more cells change nothing."""
    calibration = Calibration(sizes=(1024, 2048, 4096), first=1024, options=QUICK)
    sizes = sizing(max_batch_size=8, calibration=calibration)
    sizes.probe(64)
    feed(sizes, 64, lambda rows: 0.01)
    assert sizes.report().is_frozen
    assert sizes.report().curve == pytest.approx({1024: 51200.0, 2048: 51200.0, 4096: 51200.0})
    assert sizes.report().size == 1024


def test_cells_must_be_positive():
    """The message names the option."""
    with pytest.raises(InvalidArgumentError, match="max_batch_cells must be 1 or more, got 0"):
        SizingOptions(max_batch_size=1, max_batch_cells=0)


@pytest.mark.parametrize(("pause_secs", "rows_per_sec"), [(0.0, 8.0), (4.0, 1.6), (1000.0, 0.8)])
def test_waiting_for_rows_counts_but_a_pause_does_not(pause_secs, rows_per_sec):
    """Batches of a second each: behind ten seconds, nobody has sent any."""
    sizes = sizing(calibration=Calibration(sizes=(8, 16), first=8, options=QUICK))
    sizes.record(8, 0, 1.0, now=1.0)
    sizes.record(8, 0, 1.0, now=2.0 + pause_secs)
    assert sizes.report().curve == pytest.approx({8: rows_per_sec})
