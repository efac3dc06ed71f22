"""States that travel as files."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from servable_core.errors import DataLossError
from tests.transforms.metrics.evaluated import batch_of, evaluation_of, two_models
from transforms.evaluation.spilled_states import SpilledStates, SpillingAccumulator, spill

_ROWS, _PARTS = 600, 7


@pytest.fixture(scope="module", name="evaluation")
def _evaluation():
    return evaluation_of()


@pytest.fixture(scope="module", name="parts")
def _parts(evaluation):
    rng = np.random.default_rng(3)
    labels, scores = two_models(rng, _ROWS)
    slices = np.stack([rng.integers(1, 9, _ROWS), rng.integers(9, 17, _ROWS)], axis=1)
    return [
        evaluation.update(batch_of(scores[:, rows], labels[rows], slices=slices[rows], keys=rows))
        for rows in np.array_split(np.arange(_ROWS), _PARTS)
    ]


def _places(scratch):
    return [each for each in (Path(scratch) / "spilled_states").iterdir() if any(each.iterdir())]


@pytest.mark.parametrize(
    ("max_held_bytes", "max_places", "num_places"),
    [(1 << 40, 8, 1), (0, 8, _PARTS), (0, 2, 1), (0, 3, 1)],
    ids=["held", "written", "merged in threes", "merged in fours"],
)
def test_states_are_the_same_however_they_were_spilled(
    evaluation, parts, tmp_path, max_held_bytes, max_places, num_places
):
    accumulator = SpillingAccumulator(
        evaluation, str(tmp_path), max_held_bytes=max_held_bytes, max_places=max_places
    )
    for each in parts:
        accumulator.add(each)
    places = accumulator.finish()
    assert len(places) == len(_places(tmp_path)) == num_places  # others are gone
    found = SpilledStates(evaluation, places)
    expected = evaluation.to_tables(evaluation.merge(parts))
    assert list(found) == list(expected)
    for name, table in expected.items():
        assert found[name].to_table().equals(table, check_metadata=True), name


def test_many_parts_of_a_state_are_merged_a_few_at_a_time(evaluation, parts, tmp_path, monkeypatch):
    monkeypatch.setattr("transforms.evaluation.spilled_states._FEW_BYTES", 0)
    places = [spill(each, str(tmp_path)) for each in [*parts, *parts[:2]]]
    found = SpilledStates(evaluation, places)
    expected = evaluation.to_tables(evaluation.merge([*parts, *parts[:2]]))
    assert all(found[name].to_table().equals(table) for name, table in expected.items())


def test_no_rows_leave_no_files(evaluation, tmp_path):
    assert SpillingAccumulator(evaluation, str(tmp_path)).finish() == []
    found, empty = SpilledStates(evaluation, []), evaluation.create()
    assert len(found) == len(empty)
    assert all(found[name].to_table().equals(each.to_table()) for name, each in empty.items())


def test_files_that_are_gone_are_told(evaluation, parts, tmp_path):
    place = spill(parts[0], str(tmp_path))
    shutil.rmtree(place)
    with pytest.raises(DataLossError, match=r"rows\.arrow is gone.*run it again"):
        SpilledStates(evaluation, [place])["rows"]
