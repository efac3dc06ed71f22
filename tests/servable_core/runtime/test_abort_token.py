import pickle
import threading

import pytest

from servable_core.errors import AbortedError
from servable_core.runtime.abort_token import AbortToken
from servable_core.runtime.executor import start_thread


def test_unset():
    """A token that nobody set stops nobody."""
    token = AbortToken()
    token.check()
    assert not token.is_set
    assert token.reason == ""
    assert not token.wait(0)


def test_the_first_reason_wins():
    """The failure that came first is the one that is told."""
    token = AbortToken()
    token.set("unit 3 failed")
    token.set("unit 4 failed")
    assert token.is_set
    assert token.reason == "unit 3 failed"
    with pytest.raises(AbortedError, match=r"^stopped: unit 3 failed$"):
        token.check()


def test_waiting_ends_when_it_is_set():
    """Who waits is woken at once."""
    token = AbortToken()
    results = []
    thread = start_thread(lambda: results.append(token.wait(60)), name="waiter")
    token.set("SIGINT")
    thread.join(10)
    assert results == [True]
    assert token.wait(60)


def test_many_threads_agree_on_the_reason():
    """Of many threads that fail together one is first, for all."""
    token = AbortToken()
    barrier = threading.Barrier(8)

    def fail(index):
        barrier.wait(10)
        token.set(f"unit {index} failed")
        reasons.append(token.reason)

    reasons = []
    threads = [start_thread(fail, index, name=f"unit_{index}") for index in range(8)]
    for thread in threads:
        thread.join(10)
    assert len(reasons) == 8
    assert set(reasons) == {token.reason}


def test_the_error_crosses_processes():
    """Workers elsewhere report it as what it is."""
    error = pickle.loads(pickle.dumps(AbortedError("stopped: SIGINT")))
    assert isinstance(error, AbortedError)
    assert str(error) == "stopped: SIGINT"
