import itertools

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.input_batch import InputBatch
from transforms.rebatch import rebatch_cheaply

_MIB = 1 << 20


def _batches(sizes):
    starts = itertools.accumulate(sizes, initial=0)
    return [
        InputBatch(columns=pa.record_batch({"id": range(start, start + size)}))
        for start, size in zip(starts, sizes, strict=False)
    ]


def _rebatched(sizes, rows):
    """Returns the sizes of the batches; `rows` is what the target is for each batch read."""
    targets = iter(rows)
    found = list(rebatch_cheaply(_batches(sizes), lambda: next(targets), _MIB))
    ids = [value for each in found for value in each.columns["id"].to_pylist()]
    assert ids == list(range(sum(sizes)))
    return [each.num_rows for each in found]


class TestChangingSize:
    @pytest.mark.parametrize(
        ("sizes", "rows", "expected"),
        [
            ([8, 8, 8], [8, 4, 8], [8, 4, 4, 8]),  # smaller: cut
            ([4, 4, 4, 4], [4, 8, 8, 8], [4, 8, 4]),  # larger: joined
            ([4, 4, 4, 4], [16, 16, 16, 16], [16]),
            ([6, 6], [16, 4], [6, 4, 2]),  # what was kept for a larger batch goes as it is
            ([100], [1], [1] * 100),
        ],
    )
    def test_from_one_batch_to_the_next(self, sizes, rows, expected):
        """From the next batch read on the new size holds, and no row is lost or moved."""
        assert _rebatched(sizes, rows) == expected

    @given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30)), max_size=40))
    def test_no_batch_is_larger_than_any_size_said(self, pieces):
        """However the size changes, rows keep their order, and batches are within the largest."""
        sizes, rows = [each for each, _ in pieces], [each for _, each in pieces]
        found = _rebatched(sizes, rows)
        assert all(0 < each <= max(rows) for each in found)
