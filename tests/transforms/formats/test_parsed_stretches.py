import bisect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.formats.parsed_stretches import parse_stretches


class _Parser:
    """Refuses stretches with a bad row, and counts what it is asked."""

    def __init__(self, bad):
        self._bad = bad
        self.num_calls = self.num_rows = 0

    def __call__(self, start, stop):
        self.num_calls += 1
        self.num_rows += stop - start
        first = bisect.bisect_left(self._bad, start)
        if first < len(self._bad) and self._bad[first] < stop:
            raise ValueError(self._bad[first])
        return range(start, stop)


@given(st.lists(st.booleans(), max_size=70))
def test_each_bad_row_is_told(is_bad):
    """All rows come in order, bad ones by themselves and with their own error."""
    bad = np.flatnonzero(is_bad).tolist()
    found = list(parse_stretches(_Parser(bad), len(is_bad), (ValueError,)))
    rows = [row for each in found for row in range(each.start, each.stop)]
    assert rows == list(range(len(is_bad)))
    assert [each.start for each in found if each.error is not None] == bad
    for each in found:
        if each.error is None:
            assert each.result == range(each.start, each.stop)
        else:
            assert (each.error.args, each.stop) == ((each.start,), each.start + 1)


@pytest.mark.parametrize(
    ("step", "max_calls", "max_rows"), [(1, 1.1, 3), (2, 3, 5), (10, 2, 6), (1000, 0.1, 6)]
)
def test_calls(step, max_calls, max_rows):
    """However many rows are bad, neither calls nor rows parsed grow faster than the rows."""
    num_rows = 10_000
    parse = _Parser(list(range(0, num_rows, step)))
    for _ in parse_stretches(parse, num_rows, (ValueError,)):
        pass
    assert parse.num_calls <= max_calls * num_rows
    assert parse.num_rows <= max_rows * num_rows


def test_other_errors_pass():
    """What says nothing of rows ends it."""

    def parse(_start, _stop):
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        next(parse_stretches(parse, 5, (ValueError,)))
