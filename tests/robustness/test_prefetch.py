import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from transforms.byte_budget import ByteBudget
from transforms.prefetch import Prefetcher

_PATIENCE_SECS = 10.0


class _Source:
    """A generator of numbers that counts what it made and knows when it was closed."""

    def __init__(self, stop=None, error_at=None):
        self.num_made = 0
        self.changed = threading.Condition()
        self.was_closed = False
        self.thread = None
        self._stop = stop
        self._error_at = error_at

    def items(self):
        try:
            while self._stop is None or self.num_made < self._stop:
                if self.num_made == self._error_at:
                    raise OSError("the disk is gone")
                with self.changed:
                    self.thread = threading.current_thread()
                    self.num_made += 1
                    self.changed.notify_all()
                yield self.num_made - 1
        finally:
            self.was_closed = True

    def wait_for(self, num_made):
        with self.changed:
            assert self.changed.wait_for(lambda: self.num_made >= num_made, _PATIENCE_SECS)


def _prefetcher(source, max_bytes=3, size_bytes=lambda _item: 1, budget=None):
    return Prefetcher(
        source.items(),
        size_bytes=size_bytes,
        max_bytes=max_bytes,
        budget=budget or ByteBudget(1 << 40),
        name="reader",
    )


class TestOrder:
    def test_all_items_in_order(self):
        """Nothing is lost, repeated or reordered on the way between the threads."""
        source = _Source(stop=5_000)
        with _prefetcher(source, max_bytes=7) as items:
            assert list(items) == list(range(5_000))
        assert source.was_closed

    def test_an_empty_source(self):
        """A source without items ends the iteration at once."""
        with _prefetcher(_Source(stop=0)) as items:
            assert list(items) == []


class TestBound:
    def test_reads_ahead_to_the_bound_and_no_further(self):
        """Three bytes ready and one item in hand, whose room must come first."""
        source = _Source()
        with _prefetcher(source, max_bytes=3) as items:
            source.wait_for(4)
            with source.changed:
                assert not source.changed.wait_for(lambda: source.num_made > 4, 0.2)
            assert next(iter(items)) == 0
            source.wait_for(5)
            with source.changed:
                assert not source.changed.wait_for(lambda: source.num_made > 5, 0.2)

    def test_an_item_larger_than_the_bound_passes(self):
        """One item is always read ahead, however large, so nothing can block for ever."""
        with _prefetcher(_Source(stop=20), max_bytes=1, size_bytes=lambda _item: 1000) as items:
            assert list(items) == list(range(20))


class TestBudget:
    def test_is_shared(self):
        """Two readers have the budget between them, and one item more for who comes last."""
        budget = ByteBudget(6)
        one, other = _Source(), _Source()
        with _prefetcher(one, max_bytes=100, budget=budget) as ones:
            one.wait_for(7)  # the last one waits for room
            with _prefetcher(other, max_bytes=100, budget=budget):
                other.wait_for(2)
                assert (one.num_made, other.num_made, budget.held_bytes) == (7, 2, 7)
                for item in itertools.islice(ones, 2):
                    ones.give_back(item)
                one.wait_for(8)
                assert budget.held_bytes <= 6

    def test_a_consumer_that_gives_nothing_back_is_told(self):
        """None comes when its own items use the budget up: to wait for the next would be in vain."""
        budget = ByteBudget(3)
        with _prefetcher(_Source(), max_bytes=100, budget=budget) as items:
            iterator = iter(items)
            assert [next(iterator) for _ in range(5)] == [0, 1, 2, None, None]
            items.give_back(0)
            assert next(iterator) == 3
            assert next(iterator) is None

    def test_with_nothing_in_hand_it_is_never_told_so(self):
        """However small the budget, and however many use it, one item at a time gets through."""
        budget = ByteBudget(1)
        with (
            _prefetcher(_Source(stop=200), budget=budget, size_bytes=lambda _item: 9) as ones,
            _prefetcher(_Source(stop=200), budget=budget, size_bytes=lambda _item: 9) as others,
        ):
            for expected, (one, other) in enumerate(zip(ones, others, strict=True)):
                assert (one, other) == (expected, expected)
                ones.give_back(one)
                others.give_back(other)
        assert expected == 199

    def test_closing_gives_all_back(self):
        """Also what was read and never taken, and what was taken and never given back."""
        budget = ByteBudget(4)
        source = _Source()
        with _prefetcher(source, max_bytes=100, budget=budget) as items:
            source.wait_for(5)
            next(iter(items))
        assert budget.held_bytes == 0
        assert not source.thread.is_alive()


class TestErrors:
    def test_come_after_the_items_before_them(self):
        """The consumer sees every item that was read, then the error itself."""
        with _prefetcher(_Source(error_at=4)) as items:
            iterator = iter(items)
            assert [next(iterator) for _ in range(4)] == [0, 1, 2, 3]
            with pytest.raises(OSError, match="disk is gone"):
                next(iterator)

    def test_of_the_very_first_item(self):
        """An error before any item is raised, too, and not taken for an empty source."""
        with (
            _prefetcher(_Source(error_at=0)) as items,
            pytest.raises(OSError, match="disk is gone"),
        ):
            next(iter(items))

    def test_of_closing_the_source(self):
        """It is an error like any other, and not the reader's silent end."""

        def items():
            try:
                yield 1
            finally:
                raise OSError("the file cannot be closed")

        def fail(_item):
            raise ValueError("it has no size")

        reader = Prefetcher(
            items(), size_bytes=fail, max_bytes=3, budget=ByteBudget(10), name="reader"
        )
        with ThreadPoolExecutor(1) as pool, reader as found:
            consumed = pool.submit(list, found)
            with pytest.raises(OSError, match="cannot be closed"):
                consumed.result(_PATIENCE_SECS)


class TestClose:
    def test_stops_the_thread_and_closes_the_generator(self):
        """A consumer that leaves early leaves neither a thread nor an open file behind."""
        source = _Source()
        with _prefetcher(source) as items:
            assert next(iter(items)) == 0
            source.wait_for(4)
            assert source.thread.is_alive()
        assert not source.thread.is_alive()
        assert source.was_closed

    def test_when_the_consumer_fails(self):
        """An error of the consumer's passes through unchanged, and the source is closed."""
        source = _Source()

        def consume():
            with _prefetcher(source) as items:
                for _item in items:
                    raise KeyError("consumer")

        with pytest.raises(KeyError, match="consumer"):
            consume()
        assert source.was_closed
        assert not source.thread.is_alive()

    def test_twice(self):
        """Closing again changes nothing."""
        source = _Source()
        items = _prefetcher(source)
        items.close()
        items.close()
        assert source.was_closed
