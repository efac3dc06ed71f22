import numpy as np
import pytest

from tests.transforms.metrics.evaluated import parquet_bytes
from transforms.metrics import NO_SLICE, fixed_point, slice_sums
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.slice_columns import slice_columns
from transforms.metrics.slice_sums import Additions, sum_slices

_LAYOUT = KeyLayout(names=("slice", "block"), sizes=(4,))
_ROWS = 3000


def _rows(has_gaps):
    rng = np.random.default_rng(0)
    country, device = rng.integers(0, 7, _ROWS), rng.integers(0, 3, _ROWS)
    slice_ids = np.stack(
        [np.zeros(_ROWS, int), 1 + country, 8 + device, 11 + 3 * country + device], axis=1
    )
    if has_gaps:
        slice_ids[rng.random(slice_ids.shape) < 0.2] = NO_SLICE
    values = rng.normal(size=(2, _ROWS)) * np.array([[1.0], [2.0**40]])
    return slice_ids, rng.integers(0, 4, _ROWS), values


def _sums(slice_ids, blocks, values, chunk=_ROWS):
    additions = (
        Additions(
            start,
            blocks[start : start + chunk],
            [fixed_point.to_words(each[start : start + chunk]) for each in values],
        )
        for start in range(0, _ROWS, chunk)
    )
    return sum_slices(_LAYOUT, ("a", "b"), slice_columns(slice_ids), additions)


@pytest.mark.parametrize("has_gaps", [False, True])
def test_each_slice_has_the_sum_of_its_rows(has_gaps):
    slice_ids, blocks, values = _rows(has_gaps)
    found = _sums(slice_ids, blocks, values, chunk=700)
    for slice_id in range(32):
        is_in = (slice_ids == slice_id).any(axis=1)
        expected = [
            [each[is_in & (blocks == block)].sum() for each in values] for block in range(4)
        ]
        assert found.dense(slice_id) == pytest.approx(np.array(expected), rel=1e-12)


@pytest.mark.parametrize("has_gaps", [False, True])
@pytest.mark.parametrize("is_dense", [False, True])
@pytest.mark.parametrize("chunk", [_ROWS, 512])
def test_however_rows_are_added_the_bytes_are_the_same(monkeypatch, has_gaps, is_dense, chunk):
    rows = _rows(has_gaps)
    whole = parquet_bytes(_sums(*rows).to_table())
    monkeypatch.setattr(slice_sums, "_DENSE_CELLS", 0)
    monkeypatch.setattr(slice_sums, "_DENSE_CELLS_PER_ROW", 4 if is_dense else 0)
    assert parquet_bytes(_sums(*rows, chunk=chunk).to_table()) == whole


@pytest.mark.parametrize("cells", [4, 1 << 13], ids=["as a cross", "too large a table"])
def test_small_columns_have_the_same_sums_in_a_cross(monkeypatch, cells):
    layout = KeyLayout(names=("slice", "cell"), sizes=(cells,))
    rng = np.random.default_rng(0)
    rows = 1 << 18
    country, device = rng.integers(0, 9, rows), rng.integers(0, 8, rows) // 2 * 2
    slice_ids = np.stack([np.zeros(rows, int), 1 + country, 20 + device, 30 + country // 3], axis=1)
    columns = slice_columns(slice_ids)
    assert [each.column.ids.size for each in columns.crossed] == [36]
    values = rng.normal(size=(2, rows)) * np.array([[1.0], [2.0**40]])
    of_rows = rng.integers(0, cells, rows)
    words = [fixed_point.to_words(each) for each in values]

    def sums(columns):
        added = [Additions(0, of_rows, words)]
        return parquet_bytes(sum_slices(layout, ("a", "b"), columns, added).to_table())

    found = sums(columns)
    monkeypatch.setattr(slice_sums, "_DENSE_CELLS", 0)
    monkeypatch.setattr(slice_sums, "_DENSE_CELLS_PER_ROW", 1)
    assert sums(columns) == found
    monkeypatch.setattr("transforms.metrics.slice_columns._MAX_CROSSED", 0)
    assert sums(slice_columns(slice_ids)) == found


def test_sums_of_very_many_cells_are_merged_in_parts(monkeypatch):
    from transforms.metrics import fixed_sums

    rows = _rows(has_gaps=False)
    halves = [_sums(rows[0], rows[1], rows[2] * sign) for sign in (1, 3)]
    whole = parquet_bytes(type(halves[0]).merge(halves).to_table())
    monkeypatch.setattr(fixed_sums, "_MAX_MERGED", 16)
    assert parquet_bytes(type(halves[0]).merge(halves).to_table()) == whole


@pytest.mark.parametrize("given", [1, 3])
def test_each_name_has_its_words(given):
    slice_ids, blocks, values = _rows(has_gaps=False)
    words = [fixed_point.to_words(values[0])] * given
    with pytest.raises(ValueError, match="zip"):
        sum_slices(_LAYOUT, ("a", "b"), slice_columns(slice_ids), [Additions(0, blocks, words)])
