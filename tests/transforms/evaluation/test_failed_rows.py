"""Rows without a prediction are counted, by version and stage."""

import pytest

from transforms.bad_records import BadRecord, Stage
from transforms.evaluation.failed_rows import FailedRows
from transforms.metrics import EvaluationOptions, Task, create_evaluation

VERSIONS = {("m", 1): 0, ("m", 2): 1}


def _record(stage, model=None):
    return BadRecord(
        source_file="f",
        source_row=1,
        byte_offset=None,
        stage=stage,
        code="X",
        message="",
        model=model,
    )


@pytest.fixture(name="family")
def _family():
    return FailedRows(num_versions=2)


def test_a_record_fails_for_its_version_or_for_all(family):
    states = family.of_records(
        [_record(Stage.READ), _record(Stage.PREDICT, ("m", 2)), _record(Stage.PREDICT, ("m", 2))],
        VERSIONS,
    )
    assert family.numbers(states) == [1, 3]
    found = {
        (each.version, each.sub_key): each.estimate.value
        for each in family.finalise(states, slice_id=0)
    }
    assert found == {
        (0, ""): 1,
        (0, "stage=read"): 1,
        (1, ""): 3,
        (1, "stage=read"): 1,
        (1, "stage=predict"): 2,
    }
    assert list(family.finalise(states, slice_id=1)) == []


def test_counts_of_units_add_up(family):
    options = EvaluationOptions(task=Task.BINARY, num_versions=2, families=(family,))
    evaluation = create_evaluation(options)
    one = {**evaluation.create(), **family.of_records([_record(Stage.READ)], VERSIONS)}
    merged = evaluation.merge([one, one, evaluation.create()])
    again = evaluation.from_tables(evaluation.to_tables(merged))
    assert family.numbers(again) == [2, 2]
