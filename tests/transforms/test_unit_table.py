"""Units as columns: what comes out is what went in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.unit_table import UNIT_COLUMNS, Unit, UnitRange, UnitTable

_INTEGERS = st.integers(min_value=-1, max_value=2**63 - 1)
_RANGES = st.builds(UnitRange, **dict.fromkeys(UnitRange.__slots__, _INTEGERS))
_UNITS = st.lists(st.lists(_RANGES, min_size=1, max_size=3), max_size=5).map(
    lambda ranges: [Unit(index=i, ranges=tuple(each)) for i, each in enumerate(ranges)]
)


def _unit(index, *sizes):
    """Returns a unit with a range for each of `sizes`, which are its rows and its bytes."""
    ranges = [
        UnitRange(
            file_index=0,
            first_group=i,
            end_group=i + 1,
            first_row=0,
            num_rows=size,
            size_bytes=size,
        )
        for i, size in enumerate(sizes)
    ]
    return Unit(index=index, ranges=tuple(ranges))


@given(_UNITS)
def test_is_the_sequence_of_its_units(units):
    """However they are asked for."""
    table = UnitTable.of(units)
    assert len(table) == len(units)
    assert list(table) == units
    assert [table[index] for index in range(-len(units), len(units))] == units * 2
    assert table[1:] == tuple(units[1:])
    assert table == UnitTable.of(units)
    assert UnitTable(table.columns) == table
    with pytest.raises(IndexError):
        table[len(units)]


def test_iterates_over_many():
    """Also beyond what is made at a time."""
    units = [_unit(index, *range(index % 3 + 1)) for index in range(10_000)]
    assert all(one == two for one, two in zip(UnitTable.of(units), units, strict=True))


def test_totals():
    """Rows and bytes are those of all ranges; rows are unknown if those of one range are."""
    units = [_unit(0, 5, 7), _unit(1, 11)]
    table = UnitTable.of(units)
    assert (table.num_rows, table.size_bytes) == (23, 23)
    assert UnitTable.of([*units, _unit(2, -1)]).num_rows is None
    assert (UnitTable.of([]).num_rows, UnitTable.of([]).size_bytes) == (0, 0)


def test_differs_in_any_number():
    """Tables are equal if all their numbers are."""
    columns = UnitTable.of([_unit(0, 5), _unit(1, 6)]).columns
    for name in UNIT_COLUMNS[1:]:
        changed = {**columns, name: columns[name] + np.array([0, 1])}
        assert UnitTable(changed) != UnitTable(columns)


@pytest.mark.parametrize("indices", [(1, 2), (0, 2), (1, 0), (0, 1, 0)])
def test_wrong_numbers(indices):
    """A table that is not in order, or leaves out a unit, is refused."""
    units = [_unit(index, 5) for index in indices]
    with pytest.raises(ValueError, match="numbered from 0"):
        UnitTable.of(units)
