import numpy as np
import pytest

from transforms.metrics import fixed_point
from transforms.metrics.sum_table import SumTable


def _table(values, cells, num_cells):
    table = SumTable(num_cells)
    table.add(cells, fixed_point.to_words(values), slice(None))
    return table


@pytest.mark.parametrize("scale", [1.0, 2.0**16, 2.0**40])
def test_groups_of_parts_have_the_sums_of_these(scale):
    rng = np.random.default_rng(0)
    cells, values = rng.integers(0, 6 * 4, 5000), rng.normal(size=5000) * scale
    groups = np.array([2, 0, 1, 0, 2, 2])
    found = _table(values, cells, 24).grouped(groups, 3)
    expected = _table(values, groups[cells // 4] * 4 + cells % 4, 12)
    sums = [fixed_point.normalise(each.words(np.arange(12))) for each in (found, expected)]
    assert sums[0].tolist() == sums[1].tolist()


def test_words_are_carried_where_a_group_would_be_too_much_for_one():
    largest = SumTable(8, [np.full(8, (1 << 62) - 1)])
    (found,) = largest.grouped(np.zeros(8, dtype=np.int64), 1).words(np.arange(1))
    assert found.size == 2
    total = sum(int(word) << (fixed_point.WORD_BITS * place) for place, word in enumerate(found))
    assert total == 8 * ((1 << 62) - 1)


def test_a_group_can_be_added_to():
    table = _table(np.ones(4), np.arange(4), 4).grouped(np.array([0, 0]), 1)
    table.add(np.array([1]), fixed_point.to_words(np.array([0.5])), slice(None))
    assert fixed_point.to_floats(table.words(np.arange(2))).tolist() == [2.0, 2.5]
