"""Counts and sums of equal keys, against those of numpy; parts of them are counted at a time."""

import numpy as np
import pytest

from transforms.metrics import cell_keys

_ROWS = 3 * cell_keys._CHUNK_KEYS + 17


def _keys(kind, largest, first=0):
    """Returns keys from 0 to `largest`, the one that occurs most beyond a border of parts."""
    source = np.random.default_rng(0)
    keys = source.integers(0, largest + 1, _ROWS)
    keys[: _ROWS // 2] = largest // 3
    return (source.permutation(keys) + first).astype(kind)


@pytest.mark.parametrize("kind", [np.uint32, np.uint64])
@pytest.mark.parametrize("largest", [0, 5, 2 * cell_keys._CHUNK_KEYS, 10 * _ROWS, (1 << 32) - 5])
def test_keys_are_counted(kind, largest):
    keys = _keys(kind, largest, first=4)
    distinct, sizes = np.unique(keys, return_counts=True)
    found, counts = cell_keys.count_equal(keys.copy())
    assert found.dtype == kind
    assert found.tolist() == distinct.tolist()
    assert counts.tolist() == sizes.tolist()


@pytest.mark.parametrize("largest", [5, 2 * cell_keys._CHUNK_KEYS, 10 * _ROWS, 1 << 50])
@pytest.mark.parametrize("is_sorted", [False, True])
def test_amounts_of_equal_keys_are_summed(largest, is_sorted):
    keys = _keys(np.uint64, largest, first=1 << 12)
    keys = np.sort(keys) if is_sorted else keys
    amounts = np.random.default_rng(1).integers(1, 1 << 40, _ROWS)
    distinct, places = np.unique(keys, return_inverse=True)
    expected = np.zeros(distinct.size, dtype=np.int64)
    np.add.at(expected, places, amounts)
    found, sums = cell_keys.sum_equal(keys, amounts)
    assert found.tolist() == distinct.tolist()
    assert sums.tolist() == expected.tolist()
