import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.byte_budget import ByteBudget

_PATIENCE_SECS = 10.0


@pytest.fixture(name="pool")
def _pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool


def _start(pool, budget, holder, num_bytes):
    """Returns the outcome to come of a claim that waits."""
    waits = threading.Event()
    claim = pool.submit(budget.acquire, holder, num_bytes, waits.set)
    assert waits.wait(_PATIENCE_SECS)
    assert budget.is_waiting(holder)
    return claim


class TestGrants:
    def test_what_fits_is_granted_at_once(self):
        """Several holders share the bound."""
        budget = ByteBudget(10)
        assert budget.acquire("a", 6)
        assert budget.acquire("b", 3)
        assert budget.acquire("a", 1)
        assert budget.held_bytes == 10

    @pytest.mark.parametrize("num_bytes", [0, 5, 1000])
    def test_who_has_nothing_never_waits(self, num_bytes):
        """Each holder gets one claim, whatever the others have."""
        budget = ByteBudget(10)
        assert budget.acquire("a", 100)
        assert budget.acquire("b", num_bytes)
        assert budget.held_bytes == 100 + num_bytes

    def test_trying_never_goes_beyond(self, pool):
        """What does not fit is refused at once, also to who has nothing, and while others wait."""
        budget = ByteBudget(10)
        assert budget.try_acquire("a", 6)
        assert not budget.try_acquire("b", 5)
        assert budget.try_acquire("b", 4)
        assert (budget.held_bytes, budget.is_waiting("b")) == (10, False)
        budget.release("b", 2)
        claim = _start(pool, budget, "a", 3)
        assert not budget.try_acquire("c", 1)
        budget.forget("b")
        assert claim.result(_PATIENCE_SECS)
        assert budget.try_acquire("c", 1)
        assert budget.held_bytes == 10

    def test_waits_for_others(self, pool):
        """Room that another holder gives back is used."""
        budget = ByteBudget(10)
        budget.acquire("a", 9)
        budget.acquire("b", 1)
        claim = _start(pool, budget, "b", 4)
        budget.release("a", 3)
        assert budget.is_waiting("b")
        budget.release("a", 1)
        assert claim.result(_PATIENCE_SECS)
        assert not budget.is_waiting("b")
        assert budget.held_bytes == 10

    def test_who_has_given_all_back_waits_no_longer(self, pool):
        """The holder's own bytes are enough to wait for."""
        budget = ByteBudget(10)
        budget.acquire("a", 10)
        budget.acquire("b", 2)
        claim = _start(pool, budget, "b", 7)
        budget.release("b", 2)
        assert claim.result(_PATIENCE_SECS)
        assert budget.held_bytes == 17

    def test_in_the_order_of_asking(self, pool):
        """A large claim is not passed by smaller ones for ever."""
        budget = ByteBudget(10)
        for holder, num_bytes in (("a", 6), ("b", 2), ("c", 2)):
            budget.acquire(holder, num_bytes)
        large = _start(pool, budget, "b", 5)
        small = _start(pool, budget, "c", 1)
        budget.release("a", 2)
        assert budget.is_waiting("c")
        budget.release("a", 4)
        assert large.result(_PATIENCE_SECS)
        assert small.result(_PATIENCE_SECS)

    @given(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), max_size=60),
        st.integers(1, 20),
    )
    def test_bound(self, steps, max_bytes):
        """Without claims of those who have nothing, all together never have more than the bound."""
        budget = ByteBudget(max_bytes)
        held = dict.fromkeys(range(4), 0)
        for holder, num_bytes in steps:
            fits = sum(held.values()) + num_bytes <= max_bytes
            if fits or not held[holder]:
                assert budget.acquire(holder, num_bytes)
                held[holder] += num_bytes
            else:
                budget.release(holder, held[holder])
                held[holder] = 0
            assert budget.held_bytes == sum(held.values())


class TestForget:
    def test_ends_the_waiting(self, pool):
        """Whoever waits learns that it is over."""
        budget = ByteBudget(1)
        budget.acquire("a", 1)
        claim = _start(pool, budget, "a", 1)
        budget.forget("a")
        assert claim.result(_PATIENCE_SECS) is False
        assert budget.held_bytes == 0

    def test_makes_room(self, pool):
        """What a unit that failed had, others get."""
        budget = ByteBudget(10)
        budget.acquire("a", 9)
        budget.acquire("b", 1)
        claim = _start(pool, budget, "b", 9)
        budget.forget("a")
        assert claim.result(_PATIENCE_SECS)

    def test_nothing_is_taken_back_twice(self):
        """A late release of a holder that is forgotten makes no room that is not there."""
        budget = ByteBudget(10)
        budget.acquire("a", 5)
        budget.forget("a")
        budget.release("a", 5)
        assert budget.held_bytes == 0

    def test_a_late_release_keeps_no_holder(self):
        """Nothing of a unit that is over stays in memory."""

        class Holder:
            pass

        holder = Holder()
        budget = ByteBudget(10)
        budget.acquire(holder, 5)
        budget.forget(holder)
        budget.release(holder, 5)
        gone = weakref.ref(holder)
        del holder
        gc.collect()
        assert gone() is None
