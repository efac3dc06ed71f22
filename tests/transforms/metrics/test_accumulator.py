import numpy as np
import pytest

from tests.transforms.metrics.evaluated import batch_of, evaluation_of, parquet_bytes, two_models
from transforms.metrics import Accumulator, accumulator

_ROWS = 600


def _parts(evaluation):
    labels, scores = two_models(np.random.default_rng(0), _ROWS)
    slices = np.random.default_rng(1).integers(1, 9, (_ROWS, 1))
    for rows in np.array_split(np.arange(_ROWS), 12):
        yield evaluation.update(batch_of(scores[:, rows], labels[rows], slices=slices[rows]))


def _bytes(evaluation, states):
    return {name: parquet_bytes(each) for name, each in evaluation.to_tables(states).items()}


@pytest.mark.parametrize(("few", "many"), [(0, 0), (0, 1 << 30), (1 << 30, 0), (20_000, 10_000)])
def test_however_seldom_it_merges_the_sum_is_the_same(monkeypatch, few, many):
    monkeypatch.setattr(accumulator, "_FEW_BYTES", few)
    monkeypatch.setattr(accumulator, "_MANY_BYTES", many)
    evaluation = evaluation_of(max_distinct=100)
    found = Accumulator(evaluation)
    for each in _parts(evaluation):
        found.add(each)
    whole = _bytes(evaluation, evaluation.merge(_parts(evaluation)))
    assert _bytes(evaluation, found.merged()) == whole
    assert _bytes(evaluation, found.merged()) == whole


def test_what_was_taken_out_stays_as_it_is():
    evaluation = evaluation_of()
    found = Accumulator(evaluation)
    first, second, *_ = _parts(evaluation)
    found.add(first)
    early = found.merged()
    before = _bytes(evaluation, early)
    found.add(second)
    assert _bytes(evaluation, found.merged()) != before
    assert _bytes(evaluation, early) == before


@pytest.mark.parametrize(("few", "many"), [(30_000, 30_000), (0, 30_000)])
def test_no_more_waits_than_may(monkeypatch, few, many):
    monkeypatch.setattr(accumulator, "_FEW_BYTES", few)
    monkeypatch.setattr(accumulator, "_MANY_BYTES", many)
    evaluation = evaluation_of()
    found = Accumulator(evaluation)
    assert found.nbytes == 0
    whole = evaluation.merge(_parts(evaluation))
    of_all = sum(each.nbytes for each in whole.values())
    waited = []
    for each in _parts(evaluation):
        found.add(each)
        waited.append(found.nbytes)
        assert found.nbytes <= of_all + max(few, many)
    assert sorted(waited) != waited  # it merged


def test_nothing_added_is_the_states_of_no_rows():
    evaluation = evaluation_of()
    found = Accumulator(evaluation).merged()
    assert _bytes(evaluation, found) == _bytes(evaluation, evaluation.create())
