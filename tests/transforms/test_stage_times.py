import pytest

from servable_core.testing.fake_clock import FakeClock
from transforms.stage_times import StageTimes, TimedStage, added_up


@pytest.fixture(name="clock")
def _clock():
    return FakeClock()


@pytest.fixture(name="times")
def _times(clock):
    return StageTimes(clock.now)


def _secs(times):
    return {stage: secs for stage, secs in times.secs().items() if secs}


class TestDuring:
    def test_each_body_counts(self, clock, times):
        """A stage has the time of all its bodies; what lies between them counts for none."""
        for secs in (1.0, 2.0):
            with times.during(TimedStage.WRITE):
                clock.advance(secs)
            clock.advance(10.0)
        assert _secs(times) == {"write": 3.0}

    def test_inner_stage_interrupts_the_outer(self, clock, times):
        """No moment counts twice."""
        with times.during(TimedStage.WRITE):
            clock.advance(1.0)
            with times.during(TimedStage.BIND):
                clock.advance(5.0)
            clock.advance(2.0)
        assert _secs(times) == {"write": 3.0, "bind": 5.0}

    def test_errors(self, clock, times):
        """A body that fails counts, and what comes after it counts as usual."""

        def fail():
            with times.during(TimedStage.READ):
                clock.advance(1.0)
                raise ValueError("bad")

        with pytest.raises(ValueError, match="bad"):
            fail()
        with times.during(TimedStage.WRITE):
            clock.advance(2.0)
        assert _secs(times) == {"read": 1.0, "write": 2.0}


class TestIterate:
    def test_making_items_counts_and_using_them_does_not(self, clock, times):
        """Also what comes after the last item counts: a file is closed there."""

        def items():
            for number in range(3):
                clock.advance(1.0)
                yield number
            clock.advance(0.5)

        used = []
        for each in times.iterate(TimedStage.READ, items()):
            clock.advance(100.0)
            used.append(each)
        assert used == [0, 1, 2]
        assert _secs(times) == {"read": 3.5}

    def test_iterators_within_each_other(self, clock, times):
        """The outer one has only what it adds to the inner."""

        def read():
            for _ in range(2):
                clock.advance(1.0)
                yield

        def parse(blocks):
            for _ in blocks:
                clock.advance(3.0)
                yield

        blocks = times.iterate(TimedStage.READ, read())
        for _ in times.iterate(TimedStage.PARSE, parse(blocks)):
            clock.advance(100.0)
        assert _secs(times) == {"read": 2.0, "parse": 6.0}

    def test_abandoned(self, clock, times):
        """An iterator left early holds up no other stage."""
        next(times.iterate(TimedStage.READ, [1, 2]))
        clock.advance(1.0)
        with times.during(TimedStage.WRITE):
            clock.advance(2.0)
        assert _secs(times) == {"write": 2.0}


def test_added_up():
    """Every stage is there, also those that took no time, and those that nobody knows here."""
    total = added_up([{"read": 1.0, "write": 0.5}, {"read": 2.0, "sort": 1.0}])
    assert total == {stage.value: 0.0 for stage in TimedStage} | {
        "read": 3.0,
        "write": 0.5,
        "sort": 1.0,
    }
