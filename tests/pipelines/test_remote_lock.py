"""The lock on an output directory in an object store: a record that its holder refreshes."""

import json

import pytest

from pipelines import output_directory
from pipelines.output_directory import locked
from servable_core.errors import UnavailableError
from servable_core.testing.fake_clock import FakeClock
from tests import memory_file_system as memory

_OUTPUT = "mem://job"
_LOCK = f"{_OUTPUT}/_plan/lock"
_BEAT_SECS = 30.0


@pytest.fixture(name="clock")
def _clock():
    yield FakeClock()
    memory.clear()


def _locked(clock, *, take_over=False):
    return locked(_OUTPUT, take_over=take_over, clock=clock)


def _put(clock, age_secs):
    record = {"owner": "somebody", "refreshed_secs": clock.wall_time() - age_secs}
    memory.put(_LOCK, json.dumps(record).encode())


def _record():
    return json.loads(memory.content(_LOCK))


def _beat(clock):
    """Lets the holder refresh its record once, and wait for the next time."""
    clock.block_until_waiters(1)
    clock.advance(_BEAT_SECS)
    clock.block_until_waiters(1)


class TestHolding:
    def test_one_at_a_time(self, clock):
        """The second launcher is told whose it is; behind the first, nothing stays."""
        with _locked(clock):
            with pytest.raises(UnavailableError, match=f"{_record()['owner'][:9]}.*--take_over"):
                _locked(clock).__enter__()
            assert memory.paths(_OUTPUT) == [_LOCK]
        assert memory.paths(_OUTPUT) == []
        with _locked(clock):
            pass

    def test_is_refreshed(self, clock):
        """However long the job takes, its record is never old."""
        with _locked(clock):
            for _ in range(8):
                _beat(clock)
            assert _record()["refreshed_secs"] == clock.wall_time()
            with pytest.raises(UnavailableError, match="last seen 0 s ago"):
                _locked(clock).__enter__()

    def test_a_store_that_fails_for_a_while(self, clock, monkeypatch):
        """The record is refreshed as soon as that can be done again."""

        def fail(*_):
            raise OSError("the store is away")

        with _locked(clock):
            before = _record()
            with monkeypatch.context() as patch:
                patch.setattr(output_directory, "write_bytes", fail)
                _beat(clock)
            assert _record() == before
            _beat(clock)
            assert _record()["refreshed_secs"] == clock.wall_time()


class TestTakingOver:
    @pytest.mark.parametrize("age_secs", [0, 179])
    def test_a_fresh_record_is_respected(self, clock, age_secs):
        """Its owner may be at work."""
        _put(clock, age_secs)
        with pytest.raises(UnavailableError, match=f"somebody, last seen {age_secs} s ago"):
            _locked(clock).__enter__()

    @pytest.mark.parametrize(("age_secs", "take_over"), [(180, False), (0, True)])
    def test_the_record_is_replaced(self, clock, age_secs, take_over):
        """If it is old, or somebody says that its owner is gone."""
        _put(clock, age_secs)
        with _locked(clock, take_over=take_over):
            assert _record()["owner"] != "somebody"

    def test_who_has_lost_the_lock_lets_it_be(self, clock):
        """Neither the next refresh nor the end of the old job touches the new owner's record."""
        with _locked(clock):
            _put(clock, 0)
            taken = _record()
            _beat(clock)
            assert _record() == taken
        assert _record() == taken

    @pytest.mark.parametrize("content", [b"", b"nobody", b"[]", b'{"owner": "a"}'])
    def test_what_is_no_record(self, clock, content):
        """It may be somebody's, so it is for the user to say."""
        memory.put(_LOCK, content)
        with pytest.raises(UnavailableError, match=f"{_LOCK} .*--take_over"):
            _locked(clock).__enter__()
        with _locked(clock, take_over=True):
            assert _record()["owner"]
