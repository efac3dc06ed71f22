import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.metrics.narrow_numbers import narrowed
from transforms.metrics.packed_counts import PackedCounts


def _summed(counts, flags):
    """Returns the columns of the sums over all rows."""
    totals = [sum(int(part.values.sum()) for part in words) for words in counts.words(flags)]
    return [narrowed(np.array([[each]])) for each in totals]


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(0, 1 << 22),
    st.integers(0, 2**32 - 1),
)
def test_counts_are_those_of_each_flag(rows, names, more_rows, seed):
    source = np.random.default_rng(seed)
    flags = [source.integers(0, 2, rows).astype(np.float64) for _ in range(names)]
    flags[source.integers(names)] = np.zeros(0)  # as of a metric that is always defined
    counts = PackedCounts(tuple(f"n{each}" for each in range(names)), rows + more_rows)
    found = counts.unpacked(_summed(counts, flags))
    assert {name: int(each[0]) for name, each in found.items()} == {
        f"n{each}": int(flag.sum()) for each, flag in enumerate(flags)
    }


@pytest.mark.parametrize("bits", [1, 5, 20, 21, 31, 40, 53])
def test_each_count_has_room_for_all_rows(bits):
    most = (1 << bits) - 1
    counts = PackedCounts(("a", "b", "c", "d"), most)
    flags = [np.ones(1)] * 4
    # As many rows as there may be: the sum of equal numbers is their product.
    sums = [sum(int(part.values[0]) * most for part in words) for words in counts.words(flags)]
    assert max(sums) < 1 << 62
    found = counts.unpacked([narrowed(np.array([[each]])) for each in sums])
    assert [int(each[0]) for each in found.values()] == [most] * 4


def test_there_are_fewer_numbers_than_counts():
    counts = PackedCounts(("a", "b", "c", "d"), 1 << 19)
    assert len(counts.packed_names) == 2


def test_no_counts_are_no_numbers():
    counts = PackedCounts((), 10)
    assert counts.packed_names == ()
    assert list(counts.words([])) == []
    assert counts.unpacked([]) == {}
