"""Rows are measured many at a time, whatever the sizes of the models' batches."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.evaluation.evaluate_unit import pooled
from transforms.evaluation.predicted_rows import PredictedRows


def _rows(ids, *, has_second=True, type_="float32"):
    columns = pa.record_batch(
        {"id": pa.array(ids, pa.int64()), "unused": pa.array(ids, pa.int64())}
    )
    scores = pa.record_batch(
        {"score": pa.array([each / 2 for each in ids], pa.type_for_alias(type_))}
    )
    return PredictedRows(columns=columns, outputs=(scores, scores if has_second else None))


def _ids(rows):
    return [each.columns["id"].to_pylist() for each in rows]


@given(sizes=st.lists(st.integers(0, 5), max_size=20), num_rows=st.integers(1, 12))
def test_no_row_is_lost_and_none_moves(sizes, num_rows):
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    rows = [
        _rows(list(range(start, start + size))) for start, size in zip(starts, sizes, strict=True)
    ]
    found = list(pooled(rows, ["id"], num_rows, 1 << 30))
    assert [each for ids in _ids(found) for each in ids] == list(range(sum(sizes)))
    assert all(len(ids) >= num_rows for ids in _ids(found)[:-1])
    for each in found:
        assert each.columns.schema.names == ["id"]
        assert each.outputs[0]["score"].to_pylist() == [one / 2 for one in _ids([each])[0]]


def test_few_large_rows_are_measured_at_a_time():
    """A row has 8 bytes of its key and 4 of each score; what is not needed does not count."""
    found = pooled([_rows([each]) for each in range(7)], ["id"], 100, num_bytes=3 * 16)
    assert _ids(found) == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize("other", [{"has_second": False}, {"type_": "float64"}])
def test_rows_with_other_outputs_are_not_joined(other):
    found = list(
        pooled([_rows([1]), _rows([2], **other), _rows([3], **other)], ["id"], 10, 1 << 30)
    )
    assert _ids(found) == [[1], [2, 3]]
