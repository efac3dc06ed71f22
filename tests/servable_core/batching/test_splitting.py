"""Sizes of the parts of a task."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.batching import split_sizes


@pytest.mark.parametrize(
    ("num_rows", "open_room", "max_batch_size", "expected"),
    [
        (3, 5, 10, [3]),
        (5, 5, 10, [5]),
        (6, 5, 10, [5, 1]),
        (10, 0, 10, [10]),
        (25, 0, 10, [10, 10, 5]),
        (25, 5, 10, [5, 10, 10]),
        (26, 5, 10, [5, 10, 10, 1]),
    ],
)
def test_parts_fill_the_open_batch_first(num_rows, open_room, max_batch_size, expected):
    """The open room, then full batches, then the tail."""
    assert split_sizes(num_rows, open_room, max_batch_size) == expected


@given(st.integers(1, 500), st.integers(1, 50), st.data())
def test_parts_add_up_and_fit(num_rows, max_batch_size, data):
    """No part is empty or too large, and only the first and the last are not full."""
    open_room = data.draw(st.integers(0, max_batch_size - 1))
    sizes = split_sizes(num_rows, open_room, max_batch_size)
    assert sum(sizes) == num_rows
    assert min(sizes) >= 1
    assert max(sizes) <= max_batch_size
    assert sizes[0] <= (open_room or max_batch_size)
    assert set(sizes[1:-1]) <= {max_batch_size}
