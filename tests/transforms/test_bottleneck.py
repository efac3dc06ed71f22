import pytest

from transforms.bottleneck import JobTimes, find_bottleneck
from transforms.stage_times import added_up


def _times(*, units=8, steady=10.0, at_once=2, threads=4, **stage_secs):
    """Returns a job of ten seconds in which two units ran at a time, beside four batch threads."""
    return JobTimes(
        stage_secs=added_up([{"queue": 0.0, "run": 0.0}, stage_secs]),
        unit_secs=at_once * steady,
        steady_secs=steady,
        batch_thread_secs=threads * steady,
        num_units=units,
    )


def test_model_bound():
    """Busy batch threads are the bottleneck, also where units wait for rows most of the time."""
    found = find_bottleneck(_times(run=36.0, wait_for_model=18.0))
    assert (found.stage, found.share) == ("run", 0.9)
    assert found.flags[0] == "--num_batch_threads"
    assert find_bottleneck(_times(run=36.0, wait_for_rows=18.0, read=19.0)).stage == "run"


@pytest.mark.parametrize("slowest", ["read", "parse", "preprocess"])
def test_input_bound(slowest):
    """Units wait for rows and batch threads idle: the slowest work of the reader is to blame."""
    reader = {"read": 2.0, "parse": 2.0, "preprocess": 2.0} | {slowest: 14.0}
    found = find_bottleneck(_times(run=8.0, wait_for_rows=15.0, convert=1.0, **reader))
    assert (found.stage, found.share) == (slowest, 0.75)
    assert found.flags == ("--direct_num_workers",)


def test_a_slow_reader_that_nobody_waits_for():
    """What is read far ahead holds nothing up, however long it takes."""
    assert find_bottleneck(_times(run=8.0, read=19.0, write=12.0)).stage == "write"


@pytest.mark.parametrize("stage", ["bind", "convert", "write"])
def test_bound_by_a_units_own_thread(stage):
    """A unit's own thread is busy while batch threads idle."""
    found = find_bottleneck(_times(run=8.0, wait_for_rows=1.0, **{stage: 16.0}))
    assert (found.stage, found.share) == (stage, 0.8)


def test_too_few_calls_at_a_time():
    """Units wait for calls of the model though threads for more of them are idle."""
    found = find_bottleneck(_times(run=10.0, wait_for_model=18.0))
    assert (found.stage, found.share) == ("queue", 0.9)


@pytest.mark.parametrize(("units", "first"), [(1, "--unit_bytes"), (8, "--direct_num_workers")])
def test_more_workers_need_units(units, first):
    """Where all units ran at once already, further workers would have nothing to do."""
    times = _times(units=units, at_once=min(units, 2), write=8.0)
    assert find_bottleneck(times).flags[0] == first


@pytest.mark.parametrize("nothing", [{"steady": 0.5}, {"threads": 0}, {"at_once": 0}])
def test_too_short_to_tell(nothing):
    """Nothing is said of short jobs, nor where receipts of an older version lack the figures."""
    assert find_bottleneck(_times(run=40.0, write=5.0, **nothing)) is None


def test_shares_end_at_one():
    """Clocks of several workers may add up to more than there was."""
    assert find_bottleneck(_times(run=50.0)).share == 1.0
    assert find_bottleneck(_times(write=50.0)).share == 1.0
