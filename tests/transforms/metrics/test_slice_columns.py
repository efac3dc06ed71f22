import numpy as np
import pytest

from transforms.metrics import NO_SLICE
from transforms.metrics.slice_columns import slice_columns


def _members(columns, rows):
    """Returns for each slice which rows are in it."""
    found = {}
    for column in columns:
        of_column = np.arange(rows)[column.rows]
        for place, slice_id in enumerate(column.ids.tolist()):
            found.setdefault(slice_id, set()).update(of_column[column.places == place].tolist())
    return found


def _expected(slice_ids):
    return {
        slice_id: set(np.flatnonzero((slice_ids == slice_id).any(axis=1)).tolist())
        for slice_id in np.unique(slice_ids[slice_ids != NO_SLICE]).tolist()
    }


def _counted(slice_ids):
    """Returns the columns that are counted: how many slices they have, and of how many columns.

    First as they are, then as crosses of the small ones.
    """
    columns = slice_columns(slice_ids)
    for many in (columns.counted, columns.crossed):
        for counted in many:
            for column, parents in counted.derived:
                places = counted.column.places
                assert ((places if parents is None else parents[places]) == column.places).all()
        derived = [each.column.position for one in many for each in one.derived]
        assert sorted(derived) == [each.position for each in columns]
    return [
        sorted((each.column.ids.size, len(each.derived)) for each in many)
        for many in (columns.counted, columns.crossed)
    ]


def _crossed(rows=5000):
    rng = np.random.default_rng(0)
    country, device = rng.integers(0, 7, rows), rng.integers(0, 3, rows)
    cross = 11 + 3 * country + device
    return np.stack([np.zeros(rows, int), 1 + country, 8 + device, cross], axis=1)


@pytest.mark.parametrize("has_gaps", [False, True])
def test_rows_are_in_the_slices_that_were_given(has_gaps):
    slice_ids = _crossed()
    if has_gaps:
        slice_ids[np.random.default_rng(1).random(slice_ids.shape) < 0.2] = NO_SLICE
    assert _members(slice_columns(slice_ids), 5000) == _expected(slice_ids)


def test_what_a_cross_is_made_of_follows_from_it():
    assert _counted(_crossed()) == [[(21, 4)]] * 2


def test_one_row_is_enough_for_a_column_not_to_follow():
    slice_ids = _crossed()
    slice_ids[-1, 1] = 1 + (slice_ids[-1, 1] % 7)
    assert _counted(slice_ids) == [[(7, 1), (21, 3)]] * 2


def test_a_column_with_gaps_follows_from_none():
    slice_ids = _crossed()
    slice_ids[3, 2] = NO_SLICE
    assert _counted(slice_ids) == [[(3, 1), (21, 3)]] * 2


@pytest.mark.parametrize(
    ("sizes", "rows", "counted"),
    [
        ((7, 3, 5), 300_000, [(105, 4)]),
        ((40, 3, 7, 100), 300_000, [(21, 2), (40, 1), (100, 2)]),
        ((7, 3, 5), 100_000, [(7, 2), (15, 2)]),
        ((7, 3, 5), 1000, [(3, 1), (5, 1), (7, 2)]),
    ],
    ids=["all", "as many as are small", "as many as rows allow", "none"],
)
def test_small_columns_are_counted_as_their_cross(sizes, rows, counted):
    rng = np.random.default_rng(0)
    columns = [100 * i + rng.integers(0, size, rows) for i, size in enumerate(sizes, start=1)]
    apart, crossed = _counted(np.stack([np.zeros(rows, int), *columns], axis=1))
    assert sorted(size for size, _ in apart) == sorted(sizes)
    assert crossed == counted


def test_columns_follow_from_whichever_is_fine_enough():
    """Such as one of two crosses that have nothing to do with each other."""
    slice_ids = np.concatenate([_crossed(), _crossed()[::-1, 1:] + 100], axis=1)
    assert _counted(slice_ids)[0] == [(21, 3), (21, 4)]


def test_no_slices_are_no_columns():
    assert list(slice_columns(np.full((3, 2), NO_SLICE))) == []
    assert list(slice_columns(np.zeros((3, 0), int))) == []


def test_a_part_of_the_rows_has_their_places():
    slice_ids = _crossed()
    slice_ids[::3, 2] = NO_SLICE
    for column in slice_columns(slice_ids):
        rows, places = column.within(1000, 2500)
        there = np.arange(1000, 2500)[rows]
        assert (
            np.arange(5000)[column.rows][np.isin(np.arange(5000)[column.rows], there)] == there
        ).all()
        assert all((slice_ids[there] == column.ids[places][:, None]).any(axis=1))


def test_some_rows_of_a_column_have_their_slices_alone():
    slice_ids = _crossed()
    slice_ids[::3, 1] = NO_SLICE
    for column in slice_columns(slice_ids):
        is_kept = column.places == column.places[0]
        found = column.where(is_kept)
        assert found.ids.tolist() == [column.ids[column.places[0]]]
        assert (found.places == 0).all()
        rows = np.arange(5000)[column.rows][is_kept]
        assert (np.arange(5000)[found.rows] == rows).all()


@pytest.mark.parametrize("ids", [[4], [4, 5], [4, 9_000_000]])
def test_columns_share_nothing_with_the_slices_of_the_rows(ids):
    slice_ids = np.resize(ids, (50, 1))
    (column,) = slice_columns(slice_ids)
    expected = column.ids.tolist(), column.places.tolist()
    slice_ids[:] = 7
    assert (column.ids.tolist(), column.places.tolist()) == expected
