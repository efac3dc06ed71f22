import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.metrics import NO_SLICE
from transforms.metrics.joined_columns import join_columns
from transforms.metrics.slice_columns import slice_columns

_ROWS = 5000
_CUTS = [1000, 2000]


def _crossed():
    """Returns all rows, 7 countries, 3 devices, and both."""
    source = np.random.default_rng(0)
    country, device = source.integers(0, 7, _ROWS), source.integers(0, 3, _ROWS)
    cross = 11 + 3 * country + device
    return np.stack([np.zeros(_ROWS, int), 1 + country, 8 + device, cross], axis=1)


def _joined(slice_ids, cuts=_CUTS):
    """Returns the columns of rows that came in batches, after a look at each of them."""
    parts = np.split(slice_ids, cuts)
    joined = join_columns([(slice_columns(each), len(each)) for each in parts])
    rows = np.arange(len(slice_ids))
    for counted in joined:
        for column, parents in counted.derived:
            found = np.full(len(slice_ids), NO_SLICE)
            found[rows[column.rows]] = column.ids[column.places]
            assert (found == slice_ids[:, column.position]).all()
            assert column.sizes.tolist() == np.bincount(column.places).tolist()
            assert (parents is None) == (column is counted.column)
            if parents is not None:
                assert (parents[counted.column.places] == column.places).all()
    return joined


def _families(joined):
    """Returns the positions of columns, those together that follow from one."""
    return sorted(sorted(each.column.position for each in one.derived) for one in joined)


def test_columns_follow_from_their_cross():
    assert _families(_joined(_crossed())) == [[0, 1, 2, 3]]


def test_columns_with_gaps_follow_from_none():
    slice_ids = _crossed()
    slice_ids[np.random.default_rng(1).random(slice_ids.shape) < 0.2] = NO_SLICE
    assert _families(_joined(slice_ids)) == [[0], [1], [2], [3]]


def test_a_batch_without_slices_of_a_column_keeps_it_alone():
    slice_ids = _crossed()
    slice_ids[:1000, 1] = NO_SLICE
    assert _families(_joined(slice_ids)) == [[0, 2, 3], [1]]


def test_a_batch_of_one_country_follows_from_the_cross_too():
    slice_ids = _crossed()
    slice_ids[:1000, 1] = 4
    slice_ids[:1000, 3] = 11 + 3 * 3 + slice_ids[:1000, 2] - 8
    assert _families(_joined(slice_ids)) == [[0, 1, 2, 3]]


@pytest.mark.parametrize(("position", "left"), [(1, [0, 2, 3]), (2, [0, 1, 3])])
def test_a_column_that_follows_in_each_batch_but_not_alike_is_alone(position, left):
    slice_ids = _crossed()
    of_batch = slice_ids[1000:2000, position]
    first = slice_ids[:, position].min()
    of_batch[:] = first + (of_batch - first + 1) % np.unique(of_batch).size
    assert _families(_joined(slice_ids)) == sorted([left, [position]])


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(1, 29), max_size=4),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_whatever_follows_is_right(seed, cuts, countries, devices):
    source = np.random.default_rng(seed)
    country, device = source.integers(0, countries, 30), source.integers(0, devices, 30)
    cross = 20 + devices * country + device
    cross[source.integers(30)] = source.integers(20, 40)  # which may belong to another country
    slice_ids = np.stack([np.zeros(30, int), 1 + country, 8 + device, cross], axis=1)
    families = _families(_joined(slice_ids, sorted(cuts)))
    assert sorted(position for each in families for position in each) == [0, 1, 2, 3]


def test_no_batches_have_no_columns():
    assert join_columns([]) == []
