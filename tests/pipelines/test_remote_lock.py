"""The lock on an output directory in an object store: claims that their holders refresh."""

import json
import random
import threading

import pytest

from pipelines import remote_lock
from pipelines.output_lock import LockLostError, locked
from servable_core.errors import Code, UnavailableError
from servable_core.runtime.clock import Clock
from servable_core.testing.fake_clock import FakeClock
from tests import memory_file_system as memory
from transforms.storage import delete_file

_OUTPUT = "mem://job"
_PLAN = f"{_OUTPUT}/_plan"
_OTHER = "lock-" + "0" * 32
_HOUR_SECS = 3600.0
_BEAT_SECS = 30.0
_PATIENCE_SECS = 10.0


@pytest.fixture(name="clock")
def _clock():
    memory.clear()
    yield FakeClock()
    memory.clear()


def _locked(clock, *, take_over=False):
    return locked(_OUTPUT, take_over=take_over, clock=clock)


def _put(clock, *, age_secs=0.0, since_secs=_HOUR_SECS, replaces=(), name=_OTHER):
    """Writes a claim of another launcher's."""
    fields = {
        "owner": "somebody",
        "since_secs": clock.wall_time() - since_secs,
        "refreshed_secs": clock.wall_time() - age_secs,
        "replaces": list(replaces),
    }
    memory.put(f"{_PLAN}/{name}", json.dumps(fields).encode())


def _claims():
    """Returns the claims that are there by name."""
    paths = memory.paths(f"{_PLAN}/lock-")
    return {each.rpartition("/")[2]: json.loads(memory.content(each)) for each in paths}


def _own():
    """Returns name and content of the only claim but that of `_put`."""
    ((name, claim),) = [each for each in _claims().items() if each[0] != _OTHER]
    return name, claim


def _beat(clock):
    """Lets the holder refresh its claim once, and wait for the next time."""
    clock.block_until_waiters(1)
    clock.advance(_BEAT_SECS)
    clock.block_until_waiters(1)


def _wait_until_lost(lock):
    lost = threading.Event()
    with lock.stopping(lambda _: lost.set()):
        assert lost.wait(_PATIENCE_SECS)


class TestHolding:
    def test_one_at_a_time(self, clock):
        """The second launcher is told whose it is; behind the first, nothing stays."""
        with _locked(clock):
            name, claim = _own()
            with pytest.raises(UnavailableError, match=f"{claim['owner'][:9]}.*--take_over"):
                _locked(clock).__enter__()
            assert memory.paths(_OUTPUT) == [f"{_PLAN}/{name}"]
        assert memory.paths(_OUTPUT) == []
        with _locked(clock):
            pass

    def test_is_refreshed(self, clock):
        """However long the job takes, its claim is never old."""
        with _locked(clock):
            for _ in range(8):
                _beat(clock)
            assert _own()[1]["refreshed_secs"] == clock.wall_time()
            with pytest.raises(UnavailableError, match="last seen 0 s ago"):
                _locked(clock).__enter__()

    def test_a_store_that_fails_for_a_while(self, clock, monkeypatch):
        """The claim is refreshed as soon as that can be done again."""

        def fail(*_):
            raise OSError("the store is away")

        with _locked(clock):
            before = _own()
            with monkeypatch.context() as patch:
                patch.setattr(remote_lock, "write_bytes", fail)
                _beat(clock)
            assert _own() == before
            _beat(clock)
            assert _own()[1]["refreshed_secs"] == clock.wall_time()

    def test_a_claim_that_was_deleted_with_other_files(self, clock):
        """It is written again: nobody else claims the directory."""
        with _locked(clock) as lock:
            before = _claims()
            delete_file(f"{_PLAN}/{_own()[0]}")
            _beat(clock)
            assert list(_claims()) == list(before)
            lock.check()

    def test_a_store_that_cannot_be_written(self, clock, monkeypatch):
        """Nothing stays of a claim that may be there in part, and the error is told."""

        def fail(*_):
            raise OSError("no such bucket")

        monkeypatch.setattr(remote_lock, "write_bytes", fail)
        with pytest.raises(OSError, match="no such bucket"):
            _locked(clock).__enter__()


class TestTakingOver:
    @pytest.mark.parametrize("age_secs", [0, 179])
    def test_a_fresh_claim_is_respected(self, clock, age_secs):
        """Its owner may be at work."""
        _put(clock, age_secs=age_secs)
        with pytest.raises(UnavailableError, match=f"somebody, last seen {age_secs} s ago"):
            _locked(clock).__enter__()
        assert list(_claims()) == [_OTHER]

    @pytest.mark.parametrize(("age_secs", "take_over"), [(180, False), (0, True)])
    def test_the_claim_is_replaced(self, clock, age_secs, take_over):
        """If it is old, or somebody says that its owner is gone; the new one names it."""
        _put(clock, age_secs=age_secs)
        with _locked(clock, take_over=take_over):
            assert _own()[1]["replaces"] == [_OTHER]
            assert _OTHER not in _claims()
        assert _claims() == {}

    def test_who_starts_at_this_moment_is_not_gone(self, clock):
        """Of two that take over, the later one does not push out the first, whom nobody meant."""
        _put(clock, since_secs=1)
        with pytest.raises(UnavailableError, match="somebody"):
            _locked(clock, take_over=True).__enter__()

    @pytest.mark.parametrize("content", [b"", b"nobody", b"[]", b'{"owner": "a"}'])
    def test_what_is_no_claim(self, clock, content):
        """It may be somebody's, so it is for the user to say."""
        path = f"{_PLAN}/{_OTHER}"
        memory.put(path, content)
        with pytest.raises(UnavailableError, match=f"{path} .*--take_over"):
            _locked(clock).__enter__()
        with _locked(clock, take_over=True):
            assert _own()[1]["owner"]


class TestLosing:
    """Another launcher takes over: at its next refresh the holder knows."""

    def _lose(self, clock, **claim):
        clock.block_until_waiters(1)
        _put(clock, **claim)
        clock.advance(_BEAT_SECS)

    @pytest.mark.parametrize("is_deleted", [False, True])
    def test_the_job_is_stopped(self, clock, is_deleted):
        """At once, by what it registered; whatever it ends with, the loss is what is told."""
        stopped, reasons = threading.Event(), []

        def stop(reason):
            reasons.append(reason)
            stopped.set()

        def job():
            with _locked(clock) as lock, lock.stopping(stop):
                name, _ = _own()
                if is_deleted:  # by the new holder
                    delete_file(f"{_PLAN}/{name}")
                self._lose(clock, replaces=[] if is_deleted else [name])
                assert stopped.wait(_PATIENCE_SECS)
                raise ZeroDivisionError

        with pytest.raises(LockLostError) as caught:
            job()
        assert [str(caught.value)] == reasons
        assert f"--output={_OUTPUT} was taken over by somebody" in reasons[0]
        assert caught.value.code is Code.ABORTED
        assert isinstance(caught.value.__cause__, ZeroDivisionError)

    def test_the_new_claim_is_let_be(self, clock):
        """Neither a refresh nor the end of the old job touches it; what is the old one's goes."""
        taken = {}

        def job():
            with _locked(clock) as lock:
                self._lose(clock, replaces=[_own()[0]])
                _wait_until_lost(lock)
                taken.update({_OTHER: _claims()[_OTHER]})

        with pytest.raises(LockLostError):
            job()
        assert _claims() == taken != {}

    def test_a_loss_before_there_is_anything_to_stop(self, clock):
        """What is registered later is stopped at once."""
        reasons = []

        def job():
            with _locked(clock) as lock:
                self._lose(clock, replaces=[_own()[0]])
                _wait_until_lost(lock)
                with lock.stopping(reasons.append):
                    assert len(reasons) == 1

        with pytest.raises(LockLostError):
            job()
        assert len(reasons) == 1

    def test_a_launcher_that_will_withdraw_is_none(self, clock):
        """A claim that names no other has not won."""
        with _locked(clock) as lock:
            _put(clock, since_secs=0)
            _beat(clock)
            lock.check()


class _Turns:
    """Lets one of some threads go on at a time, in a given order, from one step to the next."""

    def __init__(self, seed):
        self._random = random.Random(seed)
        self._changed = threading.Condition()
        self._waiting = {}  # Guarded by _changed, as all below.
        self._num_threads = 0

    def run(self, functions):
        """Runs all functions to their ends."""
        self._num_threads = len(functions)
        threads = [threading.Thread(target=self._run, args=(each,)) for each in functions]
        for each in threads:
            each.start()
        for each in threads:
            each.join(_PATIENCE_SECS)
            assert not each.is_alive()

    def _run(self, function):
        try:
            self.step()
            function()
        finally:
            with self._changed:
                self._num_threads -= 1
                self._pass_on()

    def step(self):
        """Waits until it is this thread's turn."""
        number = threading.get_ident()
        with self._changed:
            self._waiting[number] = False
            self._pass_on()
            assert self._changed.wait_for(lambda: self._waiting[number], _PATIENCE_SECS)
            del self._waiting[number]

    def _pass_on(self):
        """Chooses who goes on, once all wait."""
        if self._waiting and len(self._waiting) == self._num_threads:
            self._waiting[self._random.choice(sorted(self._waiting))] = True
            self._changed.notify_all()


class _StandingClock(Clock):
    """Each launcher has its own, which may be wrong; a wait is a turn."""

    def __init__(self, turns, wall_secs):
        self._turns, self._wall_secs = turns, wall_secs

    def now(self):
        return 0.0

    def wall_time(self):
        return self._wall_secs

    def wait(self, condition, timeout_secs):
        if threading.current_thread().name == "output_lock_heartbeat":
            condition.wait()
            return
        condition.release()
        try:
            self._turns.step()
        finally:
            condition.acquire()


class TestTheSameInstant:
    @pytest.mark.parametrize("take_over", [False, True])
    @pytest.mark.parametrize("num_launchers", [2, 3])
    @pytest.mark.parametrize("skew_secs", [0.0, 2.0])
    @pytest.mark.parametrize("seed", range(15))
    def test_exactly_one_wins(self, clock, monkeypatch, seed, skew_secs, num_launchers, take_over):
        """In whatever order their requests reach the store, and also if both would take over."""
        turns = _Turns(seed)
        for name in ("write_bytes", "delete_file", "file_system_for"):
            monkeypatch.setattr(remote_lock, name, self._in_turns(turns, name))
        if take_over:
            _put(clock)
        outcomes = []

        def launch(number):
            own_clock = _StandingClock(turns, clock.wall_time() - number * skew_secs)
            try:
                with _locked(own_clock, take_over=take_over):
                    outcomes.append("won")
                    while len(outcomes) < num_launchers:
                        turns.step()
            except UnavailableError:
                outcomes.append("refused")

        turns.run([lambda number=number: launch(number) for number in range(num_launchers)])
        assert sorted(outcomes) == ["refused"] * (num_launchers - 1) + ["won"]
        assert _claims() == {}

    def _in_turns(self, turns, name):
        function = getattr(remote_lock, name)

        def in_turns(*args):
            turns.step()
            return function(*args)

        return in_turns

    def test_a_claim_of_a_launcher_that_died_while_it_started(self, clock):
        """The later one is refused at once, and gets the lock when that claim is old."""
        _put(clock, since_secs=0)
        with pytest.raises(UnavailableError, match="somebody"):
            _locked(clock).__enter__()
        clock.advance(180)
        with _locked(clock):
            assert list(_claims()) == [_own()[0]]

    def test_a_store_that_does_not_list_what_was_written(self, clock, monkeypatch):
        """There nobody could see anybody else's claim, so nobody gets the lock."""
        monkeypatch.setattr(remote_lock, "write_bytes", lambda *_: None)
        monkeypatch.setattr(clock, "wait", lambda *_: clock.advance(1))
        with pytest.raises(UnavailableError, match="does not list it"):
            _locked(clock).__enter__()
